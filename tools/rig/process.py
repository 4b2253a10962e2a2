"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_GRACE_S = 10.0


@contextmanager
def started(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a session of its own, so that a Ctrl-C in the terminal is ours to pass on; end it afterwards."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 - before any thread runs
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def dying_with_parent() -> Callable[[], None] | None:
    """What a child has to run before its program, so that it ends when this process does (on Linux)."""
    return partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None


def _die_with_parent(parent: int) -> None:
    """In the child: even a parent that is killed outright leaves nothing behind, be it in this very moment."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
