"""Processes that tests start."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import Any


def start_as_in_a_terminal(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """`command` in a session of its own that SIGINT ends: a test run in a shell's background would hand it down ignored."""
    return subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it sets a signal and no more
        **options,
    )
