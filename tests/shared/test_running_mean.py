"""A mean in which newer measurements count more."""

from __future__ import annotations

import pytest

from shared.running_mean import RunningMean


def test_the_first_measurements_count_alike_and_later_ones_by_the_rate() -> None:
    mean = RunningMean(rate=0.25)
    for value, expected in ((8.0, 8.0), (4.0, 6.0), (3.0, 5.0), (1.0, 4.0), (0.0, 3.0), (0.0, 2.25)):
        mean.add(value)
        assert mean.value == pytest.approx(expected)
    assert mean.count == 6


def test_a_believed_value_counts_as_so_many_measurements() -> None:
    mean = RunningMean(0.8, rate=0.01, believed=3)
    mean.add(0.0)
    assert mean.value == pytest.approx(0.6)
    assert mean.count == 1, "what was believed is no measurement"
