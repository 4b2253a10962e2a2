"""The settings of a node."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path

from shared.errors import SettingsError
from shared.limits import MAX_DRAFT
from shared.manifest import is_name
from shared.metrics_settings import MetricsSettings
from shared.settings import LOOPBACK, BrokerSettings, default_name, require, require_text, secret, shown

_OF_PROGRAM = (
    "broker",
    "home_assistant",
    "http",
    "metrics",
    "at_once",
    "queue",
    "chat_s",
    "ros",
    "wait_s",
    "max_tokens",
    "fetch",
    "trace",
)  # no matter to how an answer comes about, or sent with each request


GUARDED = (
    "lock",
    "cover",
    "valve",
    "alarm_control_panel",
)  # domains of what opens a house: switched after a yes, unless the settings allow it


class Mode(str, Enum):
    """Who decodes."""

    SPECULATE = "speculate"  # the device drafts, the hub verifies
    STREAM = "stream"  # the hub decodes alone and streams
    AUTO = "auto"  # whichever is faster, as measured


class Policy(str, Enum):
    """How the length of a block is chosen."""

    FIXED = "fixed"  # always `draft_length`
    THRESHOLD = "threshold"  # up to `draft_length`, ending before the first token that the draft is unsure of
    AUTO = "auto"  # as long as drafting on pays, from measured times and what became of tokens of such confidence


class DrafterKind(str, Enum):
    """What drafts."""

    MODEL = "model"  # the pair's draft model
    NGRAM = "ngram"  # what followed earlier in the same text; needs no model
    AUTO = "auto"  # the latter where it is about as good as the model; alone where the pair has no model


class HubLoss(str, Enum):
    """What a node does while its hub is lost."""

    WAIT = "wait"  # for a hub, ten minutes at most
    DRAFT = "draft"  # go on with the draft model; a hub that comes back confirms the text or amends it
    STOP = "stop"  # end the answer with an error


@dataclass(frozen=True)
class HomeAssistantSettings:
    """How to reach Home Assistant, for a node that runs as a service."""

    url: str = ""
    """Home Assistant's address, such as http://homeassistant.local:8123. Without one the service carries out no calls."""
    token_file: Path | None = None
    """File with mode 0600 that holds a long-lived access token of an administrator."""
    unasked: str = ""
    """Which of lock, cover, valve and alarm_control_panel are switched without asking back first, joined by commas."""
    listed: int = 12
    """Most devices in the list of the home that the pair is given, from 0 to 1000."""
    wyoming_port: int = 0
    """Port at which Home Assistant finds this node as its conversation agent, from 1 to 65535; usual is 10300. 0 opens none."""
    wyoming_host: str = "127.0.0.1"
    """Address on which it listens there; 0.0.0.0 for a Home Assistant on another machine."""

    wyoming_from: str = ""
    """Addresses that may talk there, joined by commas, or any. Without: those of home_assistant_url and of this machine; any if that is not set."""

    def __post_init__(self) -> None:
        require("home_assistant_listed", self.listed, 0, 1000)
        require("home_assistant_wyoming_port", self.wyoming_port, 0, 65_535)
        require_text("home_assistant_wyoming_host", self.wyoming_host, 253)
        for domain in self.allowed:
            if domain not in GUARDED:
                raise SettingsError(
                    f"the setting 'home_assistant_unasked' may hold {', '.join(GUARDED)}, not {shown(domain)}"
                )

    @property
    def allowed(self) -> tuple[str, ...]:
        """The domains in `unasked`."""
        return tuple(filter(None, map(str.strip, self.unasked.split(","))))

    @property
    def callers(self) -> tuple[str, ...]:
        """The hosts in `wyoming_from`."""
        return tuple(filter(None, map(str.strip, self.wyoming_from.split(","))))

    def token(self) -> str:
        """The token. Raises SettingsError where no file is named, and for one that holds none or that others could read."""
        if self.token_file is None:
            raise SettingsError(
                "the setting 'home_assistant_url' needs 'home_assistant_token_file'; make a long-lived access token on your profile's page in Home Assistant"
            )
        return secret(self.token_file, "token")


@dataclass(frozen=True)
class HttpSettings:
    """The APIs that programs speak, of a node that runs as a service."""

    port: int = 0
    """Port of the HTTP server for programs that speak OpenAI's or Ollama's API, from 1 to 65535. 0 opens none."""
    host: str = "127.0.0.1"
    """Address on which it listens; 0.0.0.0 for programs on other machines, which need a key then."""
    key_file: Path | None = None
    """File with mode 0600 that holds the key that programs must send. Without one only this machine's own programs are answered."""

    def __post_init__(self) -> None:
        require("http_port", self.port, 0, 65_535)
        require_text("http_host", self.host, 253)

    def key(self) -> str | None:
        """The key. Raises SettingsError for a file that others could read, and where one is needed and none is named."""
        if self.key_file is not None:
            return secret(self.key_file, "key")
        if self.host not in LOOPBACK:
            raise SettingsError(
                "the setting 'http_host' opens the HTTP server to other machines, so 'http_key_file' must name a file with a key for them"
            )
        return None


@dataclass(frozen=True)
class NodeSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=default_name)
    """The node's name in its topics. With a password it is also the user name at the broker."""
    pair: str = "home"
    """Built-in name or folder of the pair, or the name of one that was pulled."""
    draft: str = "auto"
    """Which of the pair's drafts this device uses: auto (the fastest here, as predicted), or a draft's name."""
    fetch: bool = True
    """Whether the service fetches a pair that is not here, and better drafts of one that was pulled, from a hub by itself."""
    mode: Mode = Mode.AUTO
    """Who decodes: speculate (draft here), stream (the hub decodes) or auto (the faster one, as measured)."""
    drafter: DrafterKind = DrafterKind.MODEL
    """What drafts: model (the pair's draft model), ngram (needs no model) or auto (ngram where it is about as good)."""
    policy: Policy = Policy.AUTO
    """How long a block gets: fixed, threshold (up to an unsure token) or auto (as long as drafting on pays)."""
    draft_length: int = 16
    """Most tokens of one block, from 1 to 64."""
    threshold: float = 0.4
    """Draft probability, from 0 to 1, under which the policy "threshold" proposes no token."""
    ahead: bool = True
    """Whether to draft on while a verdict is awaited."""
    early: bool = True
    """Whether to draft on from early verdicts while a verdict is awaited."""
    guided: bool = True
    """Whether answers keep to the form of the pair's calls, so that none can be invalid."""
    asks_back: bool = True
    """Whether calls of which the pair is not sure are asked back about ("Did you mean …?") and not made."""
    threads: int = 0
    """Threads of ONNX Runtime, from 0 to 256. 0 chooses by the size of the draft."""
    wait_s: float = 10.0
    """Seconds to wait for a hub that serves the pair, from 0 to 1000000."""
    hub_timeout_s: float = 10.0
    """Seconds of silence after which the hub counts as lost, from 0.1 to 3600."""
    on_hub_loss: HubLoss = HubLoss.WAIT
    """What to do then: wait (ten minutes), draft (go on with this device's own model, provisionally) or stop."""
    max_tokens: int = 256
    """Most tokens of one answer, from 1 to 1000000."""
    credit: int = 32
    """Tokens that the hub may stream ahead, from 1 to 10000."""
    at_once: int = 8
    """Answers that the service writes at once, from 1 to 64."""
    queue: int = 16
    """Requests that may wait for the service, from 0 to 10000. Who asks more is told that it is busy."""
    chat_s: float = 900.0
    """Seconds after which the service forgets a chat with which nobody has gone on, from 1 to 1000000."""
    ros: bool = False
    """Whether the service also publishes calls and what is said as ROS 2's std_msgs/String, on ros/call and ros/say."""
    watts: float = 0.0
    """Watts that this device takes while it drafts, from 0 to 100000, for figures of energy where nothing measures it. 0: then they are unknown."""
    trace: Path | None = None
    """File to which it is written when what happens to each round, for `python -m tools.trace`. An older trace there is replaced. Without one nothing is written."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    home_assistant: HomeAssistantSettings = field(default_factory=HomeAssistantSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)

    def __post_init__(self) -> None:
        if not is_name(self.draft):
            raise SettingsError(f"the setting 'draft' must be auto or a draft's name, not {shown(self.draft)}")
        require("draft_length", self.draft_length, 1, MAX_DRAFT)
        require("threshold", self.threshold, 0, 1)
        require("threads", self.threads, 0, 256)
        require("wait_s", self.wait_s, 0, 1e6)
        require("hub_timeout_s", self.hub_timeout_s, 0.1, 3600)
        require("max_tokens", self.max_tokens, 1, 1e6)
        require("watts", self.watts, 0, 1e5)
        require("credit", self.credit, 1, 1e4)
        require("at_once", self.at_once, 1, 64)
        require("queue", self.queue, 0, 1e4)
        require("chat_s", self.chat_s, 1, 1e6)

    @property
    def looks_up_instead(self) -> bool:
        """Whether n-grams go on alone where the draft model's acceptance has fallen; else the hub streams.

        A device that may have to write without a hub keeps its model at hand.
        """
        return self.drafter is DrafterKind.AUTO and self.on_hub_loss is not HubLoss.DRAFT

    @property
    def fingerprint(self) -> str:
        """Short text that two programs have in common whose answers come about by the same settings, at whatever broker."""
        alike = [f"{each.name}={getattr(self, each.name)}" for each in fields(self) if each.name not in _OF_PROGRAM]
        return hashlib.sha256("\n".join(alike).encode()).hexdigest()[:16]
