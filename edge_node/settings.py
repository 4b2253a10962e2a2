"""The settings of a node."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from enum import Enum

from shared.messages import MAX_DRAFT
from shared.settings import BrokerSettings, default_name, require

_OF_PROGRAM = (
    "broker",
    "at_once",
    "queue",
    "chat_s",
    "wait_s",
    "max_tokens",
)  # no matter to how an answer comes about, or sent with each request


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
class NodeSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=default_name)
    """The node's name in its topics. With a password it is also the user name at the broker."""
    pair: str = "home"
    """Built-in name or folder of the pair."""
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
    broker: BrokerSettings = field(default_factory=BrokerSettings)

    def __post_init__(self) -> None:
        require("draft_length", self.draft_length, 1, MAX_DRAFT)
        require("threshold", self.threshold, 0, 1)
        require("threads", self.threads, 0, 256)
        require("wait_s", self.wait_s, 0, 1e6)
        require("hub_timeout_s", self.hub_timeout_s, 0.1, 3600)
        require("max_tokens", self.max_tokens, 1, 1e6)
        require("credit", self.credit, 1, 1e4)
        require("at_once", self.at_once, 1, 64)
        require("queue", self.queue, 0, 1e4)
        require("chat_s", self.chat_s, 1, 1e6)

    @property
    def fingerprint(self) -> str:
        """Short text that two programs have in common whose answers come about by the same settings, at whatever broker."""
        alike = [f"{each.name}={getattr(self, each.name)}" for each in fields(self) if each.name not in _OF_PROGRAM]
        return hashlib.sha256("\n".join(alike).encode()).hexdigest()[:16]
