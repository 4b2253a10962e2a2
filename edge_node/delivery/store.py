"""The pairs that were fetched: versions of each in folders beside each other, and a link that says which one is used.

NAME/current           link to the version in use; the switch is one rename of it
NAME/before            link to the version that answered last, for as long as the current one has not
NAME/VERSION/          a pair's folder, whole
NAME/parts/*.part      files that are on their way
NAME/failed            versions that could not answer, a line for each
NAME/lock              held by the program that fetches
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_node.delivery.offer import OfferedDraft, OfferedFile
from edge_node.delivery.part import hash_of
from shared.errors import DeliveryError
from shared.pair import CURRENT, pulled_folder

_BEFORE, _PARTS, _FAILED, _LOCK = "before", "parts", "failed", "lock"
_MOST_FAILED = 32  # versions that are remembered
_VERSION = re.compile(r"\.?[0-9a-f]{16}")  # a folder's name, with a dot while it is made
_SPARE = 16 * 2**20  # bytes that a disk must have besides


class PairStore:
    """The versions of one pair."""

    def __init__(self, pair: str) -> None:
        self.pair = pair
        self.folder = pulled_folder() / pair
        self.parts = self.folder / _PARTS

    @classmethod
    def of(cls, pair_folder: Path) -> PairStore | None:
        """The store in which a pair's folder is a version; None for other folders."""
        home = pulled_folder().resolve()
        folder = pair_folder.resolve()
        return cls(folder.parent.name) if folder.parent.parent == home else None

    @property
    def current(self) -> Path | None:
        """The version in use."""
        return self._linked(CURRENT)

    @property
    def is_proven(self) -> bool:
        """Whether the version in use has answered, or there is none to go back to."""
        return self._linked(_BEFORE) in (None, self.current)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one program that fetches. Raises DeliveryError when another does."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._trouble(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise DeliveryError(
                f"another program fetches the pair {self.pair!r} just now; wait until it has ended"
            ) from None
        finally:
            os.close(descriptor)

    def has(self, draft: OfferedDraft) -> bool:
        """Whether that version is the one in use."""
        return self.current == self._version(draft)

    def find(self, file: OfferedFile) -> Path | None:
        """The same file in a version that is there."""
        for version in self._versions():
            path = version / file.path
            if path.is_file() and path.stat().st_size == file.size and hash_of(path) == file.sha256:
                return path
        return None

    def require_room(self, missing: int) -> None:
        """Raise DeliveryError unless the disk has room for so many bytes more."""
        try:
            room = room_on_disk(self.folder)
        except OSError as error:
            raise self._trouble(error) from None
        if missing > room:
            raise DeliveryError(
                f"{missing / 1e6:.0f} MB are to come and {self.folder} has room for {room / 1e6:.0f} MB; "
                "make room, or choose a smaller one with --draft"
            )

    def install(self, draft: OfferedDraft, files: Mapping[str, Path]) -> None:
        """Make a version of whole files, which must be on this disk, and switch to it. Raises DeliveryError.

        What was in use stays beside it until `prove`.
        """
        version = self._version(draft)
        fresh = self.folder / f".{version.name}"
        try:
            if not version.is_dir():
                shutil.rmtree(fresh, ignore_errors=True)
                for name, path in files.items():
                    place = fresh / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _have_also(path, place)
                _sync_folders(fresh)
                fresh.rename(version)
            if self.current is not None and self.current != version and self.is_proven:
                self._link(_BEFORE, self.current)
            self._link(CURRENT, version)
            shutil.rmtree(self.parts, ignore_errors=True)
            self._tidy()
        except OSError as error:
            raise self._trouble(error) from None

    def prove(self) -> None:
        """The version in use has answered: the one before is not needed any more."""
        with suppress(OSError, DeliveryError), self.locked():  # else it is tried again after the next answer
            (self.folder / _BEFORE).unlink(missing_ok=True)
            self._tidy()

    def go_back(self) -> None:
        """Use the version before again, and remember which one could not answer. Raises DeliveryError."""
        failed = self.current
        try:
            (self.folder / _BEFORE).rename(self.folder / CURRENT)
            if failed is not None:
                kept = [*self._failed(), failed.name][-_MOST_FAILED:]
                (self.folder / _FAILED).write_text("".join(f"{each}\n" for each in kept), encoding="ascii")
        except OSError as error:
            raise self._trouble(error) from None
        with suppress(OSError, DeliveryError), self.locked():  # else the next download does it
            self._tidy()

    def has_failed(self, draft: OfferedDraft) -> bool:
        """Whether that version could not answer on this device."""
        return self._version(draft).name in self._failed()

    def forgive(self) -> None:
        """Forget which versions could not answer: somebody asks for one."""
        (self.folder / _FAILED).unlink(missing_ok=True)

    def _failed(self) -> list[str]:
        try:
            return (self.folder / _FAILED).read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return []

    def _version(self, draft: OfferedDraft) -> Path:
        return self.folder / draft.version

    def _versions(self) -> list[Path]:
        return [version for name in (CURRENT, _BEFORE) if (version := self._linked(name)) is not None]

    def _linked(self, name: str) -> Path | None:
        try:
            version = self.folder / Path(os.readlink(self.folder / name)).name  # noqa: PTH115 - as it is written
        except OSError:
            return None
        return version if version.is_dir() else None

    def _link(self, name: str, version: Path) -> None:
        fresh = self.folder / f".{name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(version.name)
        fresh.rename(self.folder / name)
        _sync(self.folder)

    def _tidy(self) -> None:
        """Remove the versions that nothing leads to, and what was left of making one."""
        kept = self._versions()
        for path in self.folder.iterdir():
            if _VERSION.fullmatch(path.name) and path.is_dir() and not path.is_symlink() and path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _trouble(self, error: OSError) -> DeliveryError:
        return DeliveryError(f"cannot write below {self.folder}: {error.strerror}; see to it, and run it again")


def room_on_disk(folder: Path) -> int:
    """Bytes of pairs that the disk has room for where `folder` is or would be. Raises OSError."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return max(0, shutil.disk_usage(there).free - _SPARE)


def _have_also(path: Path, place: Path) -> None:
    """The same file at another place, without a copy where the disk's format can do that."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def _sync_folders(top: Path) -> None:
    for folder, _, _ in os.walk(top):
        _sync(Path(folder))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
