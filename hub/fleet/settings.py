"""The settings of who looks at a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.fleet.order import Sort
from shared.settings import BrokerSettings, default_name


@dataclass(frozen=True)
class FleetSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=lambda: default_name("-desk"))
    """The user at the broker, where there is a password and no other name is given for it."""
    sort: Sort = Sort.LOAD
    """What is shown first: load (who has the most to do), name, or state (who is silent, then who is offline)."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
