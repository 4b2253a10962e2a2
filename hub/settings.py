"""The settings of a hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from shared.messages import MAX_DRAFT
from shared.settings import BrokerSettings, default_name, require, size_in_bytes


class Sharing(Enum):
    """Which sessions share the pages of a common beginning."""

    HUB = "hub"  # all of them: one household
    NODE = "node"  # those of a node
    OFF = "off"


class Weights(Enum):
    """What the target's linear layers compute with."""

    AUTO = "auto"  # what dtype says
    INT8 = "int8"


class Exits(Enum):
    """Whether early verdicts are sent, where the pair has an exit."""

    AUTO = "auto"  # where the rest of a forward is long enough for a node to make use of one
    ALWAYS = "always"
    OFF = "off"


@dataclass(frozen=True)
class HubSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=lambda: default_name("-hub"))
    """In the hub's topics; must differ from every node's name."""
    pair: str = "home"
    """Built-in name or folder of the pair that is served."""
    device: str = "auto"
    """auto (cuda when present, else cpu), cpu, cuda or cuda:N."""
    dtype: str = "auto"
    """auto (the pair's own), float32, bfloat16 or float16; part of the target's identity."""
    weights: Weights = Weights.AUTO
    """auto (as dtype says) or int8: half the memory of bfloat16, and another target by its rounding; part of its identity."""
    exits: Exits = Exits.AUTO
    """Early verdicts from the pair's exit: auto (where the rest of the forward is long enough for them), always or off."""
    threads: int = 0
    """torch's CPU threads; 0: as many as are fastest for the target, measured at the start."""
    window_ms: float = 0.0
    """How long a batch waits for drafts of sessions that are in the middle of an answer; 0: as long as it pays."""
    due_ms: float = 500.0
    """A draft's answer is due this long after its arrival: no window is kept open so long that it would come later."""
    budget: int = 2048
    """Most ids of one forward; longer prompts are fed in chunks."""
    max_draft: int = 16
    """Most drafted tokens that are verified in one round."""
    kv_memory: str = "auto"
    """Memory for K/V pages: bytes, a number with K, M or G, or auto: most of a GPU's, an eighth of the machine's on a CPU."""
    share_prefixes: Sharing = Sharing.HUB
    """Who shares the K/V of a common beginning. Whoever shares could tell by the time it takes what others have asked."""
    max_sessions: int = 4096
    """Open sessions in all; the longest idle ones give way."""
    max_sessions_per_node: int = 64
    """Open sessions of one node; its longest idle one gives way."""
    max_queue: int = 1024
    """Sessions with work at once; while there are so many, no other is opened."""
    session_ttl_s: float = 3600.0
    """A session that is silent for so long is forgotten."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)

    def __post_init__(self) -> None:
        require("threads", self.threads, 0, 1024)
        require("window_ms", self.window_ms, 0, 1000)
        require("due_ms", self.due_ms, 1, 60_000)
        require("max_queue", self.max_queue, 1, 1e6)
        require("max_draft", self.max_draft, 1, MAX_DRAFT)
        require("budget", self.budget, 2 * self.max_draft, 1e6)
        if self.kv_bytes is not None:
            require("kv_memory", self.kv_bytes, 2**20, 2**43)
        require("max_sessions", self.max_sessions, 1, 1e6)
        require("max_sessions_per_node", self.max_sessions_per_node, 1, 1e6)
        require("session_ttl_s", self.session_ttl_s, 1, 1e7)

    @property
    def kv_bytes(self) -> int | None:
        """Memory for K/V pages, None for auto. Raises SettingsError."""
        return None if self.kv_memory == "auto" else size_in_bytes(self.kv_memory)
