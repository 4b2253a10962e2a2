"""Home Assistant's REST API: intents to be handled, and the states of entities."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from shared.errors import HomeAssistantError, HomeAssistantSilent, SettingsError

_TIMEOUT_S = 10.0
_MOST = 32 * 2**20  # bytes of an answer
_REFUSED = {
    401: "it does not know the token; make a new long-lived token on your profile's page and write it into the token file",
    404: "it has no intent API; add a line `intent:` to its configuration.yaml and restart it",
}


def address(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of Home Assistant. Raises SettingsError for what is no such URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise SettingsError(
            f"the setting 'home_assistant_url' must be like http://homeassistant.local:8123, not {url:.80}"
        )
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme]


class HomeAssistantRest:
    """Each request has a connection of its own: on one that was kept, nobody could tell whether a request arrived before it broke."""

    def __init__(self, url: str, token: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Raises SettingsError for a URL that is none."""
        self._scheme, self._host, self._port = address(url)
        self._token, self._timeout_s = token, timeout_s

    def states(self) -> list[dict[str, Any]]:
        """The states of all entities, each with `entity_id`, `state` and `attributes`. Raises HomeAssistantError."""
        states = self._request("GET", "/api/states")
        if not isinstance(states, list):
            raise HomeAssistantError("Home Assistant's list of states is none")
        return [state for state in states if isinstance(state, dict)]

    def handle(self, intent: str, data: dict[str, Any]) -> dict[str, Any]:
        """Have an intent carried out once, and say what came of it.

        Raises HomeAssistantError where it was not carried out, HomeAssistantSilent where that is unknown.
        """
        answer = self._request("POST", "/api/intent/handle", {"name": intent, "data": data})
        if not isinstance(answer, dict):
            raise HomeAssistantSilent("Home Assistant's answer to an intent is none")
        return answer

    def _request(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        connection: http.client.HTTPConnection
        if self._scheme == "https":
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise HomeAssistantError(
                    f"Home Assistant can't be reached at {self._host}:{self._port}: {error.strerror or error}"
                ) from None
            try:
                body = None if content is None else json.dumps(content)
                headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer = response.read(_MOST + 1)
            except (OSError, http.client.HTTPException) as error:
                raise HomeAssistantSilent(f"Home Assistant has not answered: {error!r}") from None
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            why = _REFUSED.get(response.status, f"it answers with status {response.status}; its log says why")
            raise HomeAssistantError(f"Home Assistant does not do that: {why}")
        try:
            if len(answer) > _MOST:
                raise ValueError
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise HomeAssistantSilent("Home Assistant's answer can't be read") from None
