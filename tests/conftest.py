from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator

if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # must be there before torch is: kernels then run without a GPU

# What nodes learn of their drafters is kept from run to run, but not from test to user.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="sled-test-cache-")
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="sled-test-data-")  # pairs that were fetched

import pytest
import torch

from tools.rig.testbed import HubBed, running_hub

# Matrices this small are slower on two threads than on one, many times so while the machine is busy.
torch.set_num_threads(1)

NODES = ["pi", "jetson", "stranger", *(f"node-{i}" for i in range(4))]


@pytest.fixture(scope="session")
def bed() -> Iterator[HubBed]:
    """A real mosquitto and a hub with the built-in pair, shared by the tests that leave it as it was."""
    with running_hub(NODES, homes=["house"], crowds=["guest"], observers=["desk"]) as running:
        yield running


@pytest.fixture
def failing_handshakes() -> Iterator[None]:
    """For tests in which TLS fails: paho leaves the socket of a failed handshake to the garbage collector.

    It is collected here, where the test's own filter of warnings holds, and not in the middle of another test.
    """
    yield
    gc.collect()
