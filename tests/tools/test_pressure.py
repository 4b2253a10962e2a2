"""One hostile credential can neither end the broker nor make it grow past what docs/security.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.access.pressure import ATTACKS, pressure

MOST_MB = 300


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=[attack.__name__ for attack in ATTACKS])
def test_the_broker_is_bounded_and_serves_on(number: int, tmp_path: Path) -> None:
    found = pressure(ATTACKS[number], tmp_path, limit_s=6.0)
    assert found.sent > 100
    assert found.alive
    assert found.peak_rss_mb <= MOST_MB
    assert found.echoes > 0
    assert found.echoes_lost == 0
