"""The settings of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from shared.settings import BrokerSettings, default_name


class Mode(str, Enum):
    """Who decodes."""

    SPECULATE = "speculate"  # the device drafts, the hub verifies
    STREAM = "stream"  # the hub decodes alone and streams


class Policy(str, Enum):
    """How the length of a block is chosen."""

    FIXED = "fixed"  # always `draft_length`
    THRESHOLD = "threshold"  # up to `draft_length`, ending before the first token that the draft is unsure of


@dataclass(frozen=True)
class NodeSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=default_name)
    """In the node's topics; the broker's user name when there is a password."""
    pair: str = "home"
    """Built-in name or folder of the pair."""
    mode: Mode = Mode.SPECULATE
    policy: Policy = Policy.FIXED
    draft_length: int = 8
    """Most tokens of one block."""
    threshold: float = 0.4
    """Draft probability under which a token is not proposed (policy "threshold")."""
    threads: int = 1
    """ONNX Runtime's threads."""
    wait_s: float = 10.0
    """How long to wait for a hub that serves the pair."""
    patience_s: float = 5.0
    """How long to wait for a verdict before asking again."""
    max_tokens: int = 256
    """Most tokens of one answer."""
    credit: int = 32
    """How many tokens the hub may stream ahead."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
