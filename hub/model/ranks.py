"""The processes that share a target: rank 0 is the hub's own, the others are started by it and do what it tells them.

One group sums what layers give, by gloo on a CPU and NCCL on GPUs; another, of gloo, tells the ranks what comes next, as pickled objects: all of them
run on this machine, under one user, and the socket is on its loopback device.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hub.kv.kv_cache import KVCache
from hub.model.attention import Span
from hub.settings import HubSettings
from shared.errors import RankLost, SettingsError, brief

_SUM_S = 120  # seconds after which a rank that does not take part in a sum is lost
_QUIET = timedelta(days=3650)  # for which nothing need be asked of a hub
_START_S = 300
_NOTED_S = 2.0  # in which the end of a process is seen, behind the error that it brings about
_ENDED_S = 10.0  # seconds in which the others have ended, once they are told to


@dataclass(frozen=True)
class Part:
    """What a rank must know to load its part: the checkpoint, and how it computes."""

    checkpoint: str
    device: str
    dtype: str
    exact: str
    threads: int
    count: int
    store: str  # a file by which the ranks find each other

    def join(self, rank: int) -> None:
        """Become that rank. Raises RankLost when the others don't come."""
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        if self.device == "cuda":
            torch.cuda.set_device(rank)
        try:
            dist.init_process_group(
                "nccl" if self.device == "cuda" else "gloo",
                init_method=f"file://{self.store}",
                rank=rank,
                world_size=self.count,
                timeout=timedelta(seconds=_START_S),
            )
        except Exception as error:
            raise RankLost(f"the target's {self.count} processes do not find each other ({error})") from None

    def device_of(self, rank: int) -> torch.device:
        """A GPU for each rank, or the CPU for all."""
        return torch.device("cuda", rank) if self.device == "cuda" else torch.device("cpu")


@dataclass(frozen=True)
class Room:
    """Make room for so many pages of K/V; texts have at most `context` ids."""

    pages: int
    context: int


@dataclass(frozen=True)
class Clear:
    """Make what the pages hold zero."""

    pages: tuple[int, ...]


@dataclass(frozen=True)
class Copy:
    """Copy a page."""

    source: int
    destination: int


@dataclass(frozen=True)
class Forward:
    """Compute a batch of these ids at these positions; the spans tell its rows."""

    ids: list[int]
    positions: list[int]
    spans: tuple[Span, ...]


Order = Room | Clear | Copy | Forward


class Group:
    """What a rank and the others say to each other; used by the thread that computes."""

    def __init__(self, rank: int, count: int) -> None:
        """The process must have joined."""
        self.rank, self.count = rank, count
        self._orders = dist.new_group(backend="gloo", timeout=_QUIET)
        self._sums = dist.new_group(timeout=timedelta(seconds=_SUM_S))

    def add_up(self, tensor: torch.Tensor) -> None:
        """Sum a tensor over all ranks, in place."""
        dist.all_reduce(tensor, group=self._sums)

    def tell(self, order: Order | None) -> None:
        """Rank 0's part: say what comes next; None is the end."""
        dist.broadcast_object_list([order], src=0, group=self._orders)

    def heard(self) -> Order | None:
        """The others' part of `tell`."""
        heard: list[Order | None] = [None]
        dist.broadcast_object_list(heard, src=0, group=self._orders)
        return heard[0]


class Ranks:
    """Rank 0, and the other processes as long as it lives."""

    def __init__(self, part: Part, folder: tempfile.TemporaryDirectory[str]) -> None:
        """Use `Ranks.start`."""
        self.lost = ""  # the sentence, once a process is lost
        self._noted = threading.Event()  # whether it is
        self.on_lost: Callable[[], None] = lambda: None  # called on another thread then
        self.part = part
        self._folder = folder
        self._ends = False
        self.others = [_started(part, rank) for rank in range(1, part.count)]
        for rank, process in enumerate(self.others, start=1):
            threading.Thread(target=self._watch, args=(rank, process), name=f"rank-{rank}", daemon=True).start()
        part.join(0)
        self.group = Group(0, part.count)

    @classmethod
    def start(cls, checkpoint: str, device: str, dtype: str, exact: str, threads: int, count: int) -> Ranks:
        """Start the others; they load their parts while this process loads its own. Raises RankLost."""
        folder = tempfile.TemporaryDirectory(prefix="sled-ranks-")
        return cls(Part(checkpoint, device, dtype, exact, threads, count, str(Path(folder.name, "store"))), folder)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All ranks do what is in the block. Raises RankLost where that fails in any way: they would no longer be at the same place."""
        try:
            yield
        except Exception as error:
            self._noted.wait(_NOTED_S)  # a process that is gone is told of by its name
            raise RankLost(self.lost or f"the target's processes can't go on together ({brief(error)})") from error

    def tell(self, order: Order) -> None:
        """Say what comes next. Raises RankLost."""
        with self.together():
            self.group.tell(order)

    def close(self) -> None:
        """End the others."""
        self._ends = True
        if not self.lost:
            try:
                self.group.tell(None)
            except Exception:  # they are gone, each with a sentence of its own
                self.lost = "they ended by themselves"
        for process in self.others:
            try:
                process.wait(0.0 if self.lost else _ENDED_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not self.lost:
            dist.destroy_process_group()
        self._folder.cleanup()

    def _watch(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        if not self._ends:
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            self.lost = f"process {rank} of the target's {self.part.count} has ended ({how}); the hub can't go on without its part"
            self._noted.set()
            self.on_lost()


def ranks_of(settings: HubSettings, checkpoint: str, device: torch.device, dtype: str) -> Ranks | None:
    """The processes over which a hub's settings split its target; None for one. Raises SettingsError and RankLost."""
    count = settings.ranks
    if count == 1:
        return None
    if device.type == "cuda" and (there := torch.cuda.device_count()) < count:
        raise SettingsError(
            f"{count} ranks need as many GPUs, and there are {there}; choose other --ranks, or --device cpu"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.threads or max(1, cores // count)
    return Ranks.start(checkpoint, device.type, dtype, settings.exact.value, threads, count)


class SharedCache(KVCache):
    """The K/V of rank 0, whose pages the others clear and copy too."""

    def __init__(self, ranks: Ranks, *shape: Any) -> None:
        super().__init__(*shape)
        self._ranks = ranks

    def copy_page(self, source: int, destination: int) -> None:
        """See `KVCache`."""
        self._ranks.tell(Copy(source, destination))
        super().copy_page(source, destination)

    def clear(self, pages: Sequence[int]) -> None:
        """See `KVCache`."""
        self._ranks.tell(Clear(tuple(pages)))
        super().clear(pages)


def _started(part: Part, rank: int) -> subprocess.Popen[bytes]:
    """Another process, in a session of its own: what ends the hub by a signal is not for it, as it ends with the hub."""
    command = [sys.executable, "-m", "hub.follower", str(rank), json.dumps(asdict(part))]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)  # noqa: S603
