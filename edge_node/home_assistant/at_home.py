"""What a service has of Home Assistant, put together: the home is followed, calls are carried out, and Assist is answered."""

from __future__ import annotations

from edge_node.home_assistant.agent import HomeAgent
from edge_node.home_assistant.follower import HomeFollower
from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.settings import HomeAssistantSettings


class AtHome:
    """The home that the settings name."""

    def __init__(self, settings: HomeAssistantSettings) -> None:
        """Raises SettingsError."""
        token = settings.token()
        rest = HomeAssistantRest(settings.url, token)
        self.follower = HomeFollower(settings.url, token)
        self.agent = HomeAgent(self.follower, rest, unasked=settings.allowed, most_listed=settings.listed)
        self.follower.start()

    def close(self) -> None:
        """Follow no more."""
        self.follower.close()
