"""A short storm harms nobody, what is fuzzed by coverage holds, and the tools find what they look for."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from shared.codec import decode
from shared.errors import ProtocolError
from tools.fuzz.cost import worst_decode
from tools.fuzz.frames import LIMIT, Frames, costly, size
from tools.fuzz.targets import TARGETS
from tools.fuzz.ward import Report, disturbance


def test_frames_are_of_all_sorts_and_the_same_for_a_seed() -> None:
    def drawn(seed: int) -> list[bytes]:
        frames = Frames(random.Random(seed), "home", bytes(16))
        return [frames.of((frames.open, frames.draft, frames.close)) for _ in range(400)]

    payloads = drawn(1)
    assert payloads == drawn(1) != drawn(2)
    readable = 0
    for payload in payloads:
        try:
            decode(payload)
            readable += 1
        except ProtocolError:
            pass
    assert 40 < readable < 200
    rng = random.Random(1)
    sizes = [size(rng) for _ in range(5000)]
    assert max(sizes) == LIMIT
    assert sorted(sizes)[2500] < 1000
    assert all(len(costly(rng, length)) <= LIMIT for length in sizes[:200])


def test_sessions_are_disturbed_by_what_they_say() -> None:
    quiet = Report([(0, "on", 0.1), (1, "off", 0.2)], [])
    assert disturbance(quiet, Report([(0, "on", 0.5), (1, "off", 0.59)], [])) is None
    cases = {
        "slow": Report([(0, "on", 0.7)], []),
        "wrong": Report([(1, "on", 0.1)], []),
        "failed": Report([(0, "on", 0.1)], ["HubSilent: …"]),
    }
    for kind, stormy in cases.items():
        found = disturbance(quiet, stormy)
        assert found is not None
        assert found.kind == kind
    silent = disturbance(quiet, Report([], []))
    assert silent is not None
    assert silent.kind == "failed"


def test_the_costliest_frame_is_looked_for() -> None:
    cost, frame = worst_decode(0.5, seed=1)
    assert cost > 0
    assert len(frame) >= 4096


@pytest.mark.parametrize("name", TARGETS)
def test_targets_hold_for_what_chance_gives_them(name: str) -> None:
    rng = random.Random(1)
    body = TARGETS[name].body()
    for data in TARGETS[name].seeds():
        body(data)
    for _ in range(300):
        body(rng.randbytes(rng.randrange(300)))


@pytest.mark.slow
def test_what_coverage_leads_to_holds() -> None:
    pytest.importorskip("atheris", reason="there is no atheris for this machine")
    from tools.fuzz.guided import run

    for target in TARGETS.values():
        found = run(target, 1, seed=1)
        assert not found.finding
        assert found.executions > 100
        assert found.covered > 20


@pytest.mark.slow
def test_a_short_storm_harms_nobody() -> None:
    command = [
        sys.executable,
        "-m",
        "tools.fuzz",
        "--messages",
        "3000",
        "--rate",
        "600",
        "--search-seconds",
        "0",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures = json.loads(done.stdout.splitlines()[-1])
    harm = ("crashes", "sessions_failed", "sessions_wrong")  # how slow they were is this machine's doing too
    assert all(figures[key] == 0 for key in harm), done.stderr
    assert figures["sent"] >= 3000
    assert figures["malformed"] > 1000
    assert {"unknown_session", "unknown_pair", "wrong_tokenizer", "too_long"} <= set(figures["faults_by_code"])
    assert figures["log_lines"] < 10
