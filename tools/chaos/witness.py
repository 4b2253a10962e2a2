"""What is known from the messages that pass the proxy: rounds under way, hubs that came online, messages that were lost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tools.chaos.outages import Outages
from tools.chaos.traffic import Traffic
from tools.rig.lane import Disturbance
from tools.rig.packets import Publish


class Witness:
    """Told by the proxy's thread about messages, and by the main thread about hubs that it starts."""

    def __init__(self, hubs: Sequence[str]) -> None:
        self.outages = Outages(hubs)
        self.traffic = Traffic()
        self.loading: set[str] = set()  # hubs that were started and have not said yet that they are online

    def passed(self, lane: str, upward: bool, publish: Publish) -> None:
        """The proxy has carried a message."""
        self.traffic.passed(lane, upward, publish)
        is_status = upward and lane in self.loading and publish.topic.endswith(f"/{lane}/status")
        if is_status and json.loads(publish.payload or b"{}").get("online") is True:
            self.loading.discard(lane)
            self.outages.up(lane)

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None:
        """The proxy has disturbed a message."""
        if disturbance is Disturbance.DROP:
            self.outages.lost(publish.topic)
