"""Where a program's figures can be read by Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from shared.settings import require, require_text


@dataclass(frozen=True)
class MetricsSettings:
    """The HTTP endpoint of a hub, or of a node that runs as a service."""

    port: int = 0
    """Port at which Prometheus reads this program's figures, from 1 to 65535; usual are 9820 for a hub and 9821 for a node. 0 opens none."""
    host: str = "127.0.0.1"
    """Address on which it listens; 0.0.0.0 for a Prometheus on another machine. Whoever reaches it can read the figures."""

    def __post_init__(self) -> None:
        require("metrics_port", self.port, 0, 65_535)
        require_text("metrics_host", self.host, 253)
