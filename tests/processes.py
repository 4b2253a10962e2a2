"""Processes that tests start."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Sequence
from typing import Any


def start_as_in_a_terminal(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """`command` in a session of its own that SIGINT ends: a test run in a shell's background would hand it down ignored.

    Where its input is a terminal, that is the session's, and its Ctrl-C reaches the command.
    """
    return subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=_begin,  # noqa: PLW1509 - it sets a signal and a terminal and no more
        **options,
    )


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
