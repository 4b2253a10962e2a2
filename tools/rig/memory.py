"""What processes take of the memory, from /proc."""

from __future__ import annotations

from pathlib import Path


def rss_mb(pid: int) -> float:
    """Megabytes that the process holds now."""
    return _field(pid, "VmRSS")


def peak_rss_mb(pid: int) -> float:
    """Megabytes that the process has held at most."""
    return _field(pid, "VmHWM")


def _field(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6
