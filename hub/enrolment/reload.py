"""Telling a running mosquitto that its files have changed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from shared.errors import SettingsError
from shared.text_file import read_text

_MOST_BYTES = 64  # of a process id


def reload_broker(pid_file: Path) -> str:
    """Send SIGHUP to the mosquitto of that file, if there is one; a sentence on what was done or is to be done."""
    try:
        pid = int(read_text(pid_file, "the process id", SettingsError, most=_MOST_BYTES))
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "mosquitto":
            raise ValueError
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError, SettingsError):
        return "let mosquitto read the files: systemctl reload mosquitto, or send it SIGHUP"
    return f"mosquitto (process {pid}) reads the files anew"
