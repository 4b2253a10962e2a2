"""One Home Assistant that runs: set up by its own API, as a person sets it up in the browser."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.home_assistant.socket import HomeAssistantSocket
from shared.private_file import write_file
from shared.settings import BrokerSettings
from tools.rig.broker import free_port
from tools.rig.process import started

_READY_S = 120.0
USER, PASSWORD = "owner", secrets.token_hex(8)
_CONFIGURATION = """\
homeassistant:
  name: House
  unit_system: metric
  time_zone: Europe/Berlin
  latitude: 52.5
  longitude: 13.4
  elevation: 40
  country: DE
  currency: EUR
http:
  server_host: 127.0.0.1
  server_port: {port}
logger:
  default: warning
config:
frontend:
conversation:
intent:
demo:
"""


class Instance:
    """A Home Assistant whose owner has logged in."""

    def __init__(self, url: str, folder: Path) -> None:
        """Create the owner, and a long-lived token of theirs."""
        self.url = url
        client = f"{url}/"
        told = self._post(
            "/api/onboarding/users",
            {"client_id": client, "name": "Owner", "username": USER, "password": PASSWORD, "language": "en"},
        )
        form = {"grant_type": "authorization_code", "code": told["auth_code"], "client_id": client}
        self.tokens = self._post("/auth/token", form, as_form=True)
        self._token = self.tokens["access_token"]
        for step in ("core_config", "analytics"):
            self._post(f"/api/onboarding/{step}", {})
        self._post("/api/onboarding/integration", {"client_id": client, "redirect_uri": client})
        with closing(HomeAssistantSocket(url, self._token)) as socket:
            self._token = socket.ask("auth/long_lived_access_token", client_name="SLED", lifespan=1)
        self.token_file = folder / "token"
        write_file(self.token_file, self._token)
        self._rest = HomeAssistantRest(url, self._token)

    def ask(self, command: str, **fields: Any) -> Any:
        """A command of the WebSocket API."""
        with closing(HomeAssistantSocket(self.url, self._token)) as socket:
            return socket.ask(command, **fields)

    def states(self) -> dict[str, dict[str, Any]]:
        """All states by entity id."""
        return {state["entity_id"]: state for state in self._rest.states()}

    def call(self, domain: str, service: str, **data: Any) -> None:
        """Call a service, as a person does by a button."""
        self._post(f"/api/services/{domain}/{service}", data)

    def add_integration(self, handler: str, **fields: Any) -> None:
        """Add an integration. Raises RuntimeError where it does not take the fields."""
        flow = self._post("/api/config/config_entries/flow", {"handler": handler})
        done = self._post(f"/api/config/config_entries/flow/{flow['flow_id']}", fields)
        if done.get("type") != "create_entry":
            raise RuntimeError(f"Home Assistant does not set up {handler}: {done.get('errors') or done}")

    def add_broker(self, broker: BrokerSettings) -> None:
        """Add the MQTT integration."""
        self.add_integration(
            "mqtt", broker=broker.host, port=broker.port, username=broker.username, password=broker.password()
        )

    def converse(self, text: str, agent: str, conversation: str | None = None) -> dict[str, Any]:
        """What an agent says, through the conversation integration, as Assist does it."""
        with closing(HomeAssistantSocket(self.url, self._token)) as socket:
            told: dict[str, Any] = socket.ask(
                "conversation/process", text=text, agent_id=agent, conversation_id=conversation, language="en"
            )
        return told

    def wait_for(self, what: str, entity: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The state of an entity that will be there. Raises RuntimeError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = self.states().get(entity)
            if state is not None and state["state"] != "unavailable":
                return state
            time.sleep(0.2)
        raise RuntimeError(f"{what} is not there after {timeout_s:g} s: Home Assistant has no {entity}")

    def _post(self, path: str, content: dict[str, Any], *, as_form: bool = False) -> Any:
        body = urllib.parse.urlencode(content).encode() if as_form else json.dumps(content).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded" if as_form else "application/json"}
        if hasattr(self, "_token"):
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"{self.url}{path}", body, headers)  # noqa: S310 - an address of ours
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Home Assistant refuses {path}: {error.read()[:300]!r}") from None


@contextmanager
def running_instance(hass: Path, folder: Path, more: str = "") -> Iterator[Instance]:
    """Home Assistant with its demo entities and `more` lines of configuration, with all its files in `folder`. Raises RuntimeError when it does not start."""
    port = free_port()
    config = folder / "config"
    config.mkdir()
    (config / "configuration.yaml").write_text(_CONFIGURATION.format(port=port) + more)
    log = folder / "home-assistant.log"
    url = f"http://127.0.0.1:{port}"
    with started([str(hass), "-c", str(config), "--skip-pip"], log) as process:
        deadline = time.monotonic() + _READY_S
        while not _is_up(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Home Assistant did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)
        yield Instance(url, folder)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/onboarding", timeout=2) as response:  # noqa: S310 - an address of ours
            return bool(response.status == 200)
    except OSError:
        return False
