"""The settings of who looks at a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub.fleet.order import Sort
from shared.errors import SettingsError
from shared.settings import LOOPBACK, BrokerSettings, default_name, require, require_text, secret


@dataclass(frozen=True)
class UiSettings:
    """The web page of `sled-hub ui`."""

    port: int = 8012
    """Port of the web page, from 1 to 65535."""
    host: str = "127.0.0.1"
    """Address on which the web page is served; 0.0.0.0 for browsers on other machines, which needs a password then."""
    password_file: Path | None = None
    """File with mode 0600 that holds the password of who may ask nodes on the web page. Without one nobody can."""

    def __post_init__(self) -> None:
        require("ui_port", self.port, 1, 65_535)
        require_text("ui_host", self.host, 253)

    def password(self) -> str | None:
        """The password. Raises SettingsError for a file that others could read, and where one is needed and none is named."""
        if self.password_file is not None:
            return secret(self.password_file, "password")
        if self.host not in LOOPBACK:
            raise SettingsError(
                "the setting 'ui_host' opens the web page to other machines, so 'ui_password_file' must name a file with a "
                "password for who asks there"
            )
        return None


@dataclass(frozen=True)
class FleetSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=lambda: default_name("-desk"))
    """The user at the broker, where there is a password and no other name is given for it."""
    sort: Sort = Sort.LOAD
    """What is shown first: load (who has the most to do), name, or state (who is silent, then who is offline)."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    ui: UiSettings = field(default_factory=UiSettings)
