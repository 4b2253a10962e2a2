"""The settings of a hub."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.messages import MAX_DRAFT
from shared.settings import BrokerSettings, default_name, require


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
    threads: int = 0
    """torch's CPU threads; 0 leaves the choice to torch."""
    window_ms: float = 4.0
    """How long a batch waits for drafts of sessions that are in the middle of an answer."""
    budget: int = 2048
    """Most ids of one forward; longer prompts are fed in chunks."""
    max_draft: int = 16
    """Most drafted tokens that are verified in one round."""
    kv_memory_mb: int = 256
    """Memory for K/V pages."""
    max_sessions: int = 4096
    """Open sessions in all; the longest idle ones give way."""
    max_sessions_per_node: int = 64
    """Open sessions of one node; its longest idle one gives way."""
    session_ttl_s: float = 3600.0
    """A session that is silent for so long is forgotten."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)

    def __post_init__(self) -> None:
        require("threads", self.threads, 0, 1024)
        require("window_ms", self.window_ms, 0, 1000)
        require("max_draft", self.max_draft, 1, MAX_DRAFT)
        require("budget", self.budget, 2 * MAX_DRAFT, 1e6)
        require("kv_memory_mb", self.kv_memory_mb, 1, 1e7)
        require("max_sessions", self.max_sessions, 1, 1e6)
        require("max_sessions_per_node", self.max_sessions_per_node, 1, 1e6)
        require("session_ttl_s", self.session_ttl_s, 1, 1e7)
