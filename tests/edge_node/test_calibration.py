"""What is learnt of drafters: chances by confidence, apart for each drafter, and kept in a file that may be anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_node.drafting.calibration import Calibration, kept_in
from edge_node.drafting.drafter import Guess


def guess(confidence: float, source: str = "model", aside: Guess | None = None) -> Guess:
    return Guess(1, confidence, source, aside=aside)


def test_a_confidence_is_believed_until_verdicts_tell_otherwise() -> None:
    calibration = Calibration()
    assert calibration.chance(guess(0.95)) == pytest.approx(0.95)
    for number in range(400):
        calibration.learn(guess(0.95), written=1 if number % 2 else 2)
        calibration.learn(guess(0.25, "ngram"), written=1)
    assert calibration.chance(guess(0.95)) == pytest.approx(0.5, abs=0.02)
    assert calibration.chance(guess(0.96)) == pytest.approx(0.5, abs=0.02)
    assert calibration.chance(guess(0.75)) == pytest.approx(0.75), "of others of its own nothing is known"
    assert calibration.chance(guess(0.95, "ngram")) == pytest.approx(0.95)
    assert calibration.rate("ngram") > 0.95
    assert calibration.rate("model") < 0.55


def test_what_another_drafter_says_is_judged_beside() -> None:
    calibration = Calibration()
    for _ in range(50):
        calibration.learn(guess(0.5, aside=Guess(2, 0.5, "ngram")), written=2)
    assert calibration.rate("ngram") > 0.9
    assert calibration.rate("model") < 0.2


def test_what_is_new_counts_more_than_what_is_long_past() -> None:
    calibration = Calibration()
    for _ in range(5000):
        calibration.learn(guess(0.5), written=1)
    for _ in range(3000):
        calibration.learn(guess(0.5), written=2)
    assert calibration.chance(guess(0.5)) < 0.4


def test_it_is_kept_from_run_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = kept_in("home-auto")
    assert file.is_relative_to(tmp_path)
    first = Calibration.load(file)
    for _ in range(100):
        first.learn(guess(0.9), written=2)
    first.save(file)
    again = Calibration.load(file)
    assert again.chance(guess(0.9)) == first.chance(guess(0.9)) < 0.1
    assert [each.name for each in file.parent.iterdir()] == [file.name], "nothing is left beside"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2",
        "[]",
        "7",
        '{"model": 3}',
        '{"model": [[1, 2]]}',
        json.dumps({"model": [[5, 3]] * 10}),
        json.dumps({"model": [[1, 1e9]] * 10}),
        json.dumps({"model": [["a", "b"]] * 10}),
        "[" * 5000,
        '{"model": [[NaN, NaN], ' + ", ".join(["[0, 0]"] * 9) + "]}",
        " " * 100_000,
    ],
)
def test_a_file_of_something_else_is_passed_over(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text)
    assert Calibration.load(file).chance(guess(0.9)) == pytest.approx(0.9)
    assert "is not read from" in caplog.text


def test_a_device_without_room_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    Calibration().save(tmp_path / "file" / "below.json")
    assert "is not kept in" in caplog.text
