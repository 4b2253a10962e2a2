"""A broker for commands that look at it before they look at anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.rig.broker import private_broker


@pytest.fixture(scope="package")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The words of a `sled-hub serve` that a real mosquitto knows."""
    folder: Path = tmp_path_factory.mktemp("broker")
    with private_broker(folder, ["den"], []) as broker:
        where = ("--broker-host=127.0.0.1", f"--broker-port={broker.port}")
        who = ("--name=den", f"--broker-password-file={broker.password_file('den')}")
        yield ("serve", *where, *who, "--threads=1", "--kv-memory=8M")
