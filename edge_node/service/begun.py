"""Which requests' calls were being carried out when a service ended: whoever repeats such a request must not have them carried out twice."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from shared.errors import SettingsError
from shared.private_file import PRIVATE, write_file
from shared.text_file import read_text

log = logging.getLogger(__name__)

_MOST = 512  # requests that are known


class BegunRequests:
    """Kept in a file, a line for each request. `had_begun` is for the service's thread, `begin` for any."""

    def __init__(self, file: Path) -> None:
        """Read what an earlier service has left, and keep the last of it."""
        self._file = file
        self._before: frozenset[str] = frozenset()
        try:
            if os.path.lexists(file):
                lines = read_text(file, "the list of begun requests", SettingsError).split()[-_MOST:]
                self._before = frozenset(lines)
                write_file(file, "".join(f"{line}\n" for line in lines))
        except (OSError, SettingsError) as error:
            log.warning("it is not known which requests were carried out before: %s", error)

    def had_begun(self, asker: str, request_id: str) -> bool:
        """Whether an earlier service has begun to carry out that request's calls."""
        return _digest(asker, request_id) in self._before

    def begin(self, asker: str, request_id: str) -> None:
        """Note that a request's calls are about to be carried out."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
            try:
                os.write(descriptor, f"{_digest(asker, request_id)}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("a restart may have a repeated request carried out twice: %s", error)


def _digest(asker: str, request_id: str) -> str:
    return hashlib.sha256(f"{asker}\0{request_id}".encode()).hexdigest()[:32]
