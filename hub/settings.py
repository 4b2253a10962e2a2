"""The settings of a hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shared.cache import cache_folder
from shared.errors import SettingsError
from shared.limits import MAX_DRAFT, MAX_PIECE
from shared.metrics_settings import MetricsSettings
from shared.settings import BrokerSettings, default_name, require, shown, size_in_bytes


class Sharing(Enum):
    """Which sessions share the pages of a common beginning."""

    HUB = "hub"  # all of them: one household
    NODE = "node"  # those of a node
    OFF = "off"


class Weights(Enum):
    """What the target's linear layers compute with."""

    AUTO = "auto"  # what dtype says
    INT8 = "int8"
    INT4 = "int4"  # the head in int8; on a CPU alone


class Exact(Enum):
    """Whether the bits of a text's logits are its own: the same however its ids are fed, and whatever is computed beside it."""

    AUTO = "auto"  # where it costs little
    ALWAYS = "always"  # also where it costs much
    OFF = "off"


class Exits(Enum):
    """Whether early verdicts are sent, where the pair has an exit."""

    AUTO = "auto"  # where the rest of a forward is long enough for a node to make use of one
    ALWAYS = "always"
    OFF = "off"


DTYPES = ("float32", "bfloat16", "float16")


def check_device(name: str) -> None:
    """Raise SettingsError unless `name` is that of a device that a target can run on, be it here or not."""
    if not re.fullmatch("auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise SettingsError(f"there is no device {shown(name)}; use auto, cpu, cuda or cuda:N")


def check_dtype(name: str, *others: str) -> None:
    """Raise SettingsError unless `name` is a type of numbers that a target can have, or one of `others`."""
    if name not in (*DTYPES, *others):
        raise SettingsError(f"there is no dtype {shown(name)}; use one of {', '.join((*others, *DTYPES))}")


@dataclass(frozen=True)
class HubSettings:
    """Defaults; see `shared.settings.load` for where others come from."""

    name: str = field(default_factory=lambda: default_name("-hub"))
    """The hub's name in its topics. It must differ from every node's name."""
    pair: str = "home"
    """Built-in name or folder of the pair that is served."""
    target: str = ""
    """A model to serve without a pair: owner/name on the Hugging Face hub, a folder or a .gguf file. Its pair is made once, and kept in the cache."""
    draft: str = ""
    """The draft of such a target, in the same forms, or none. Without: the target itself, if it is small."""
    device: str = "auto"
    """Where the target runs: auto (cuda when present, else cpu), cpu, cuda or cuda:N."""
    dtype: str = "auto"
    """Type of the target's numbers: auto (the pair's own), float32, bfloat16 or float16. It is part of the target's identity."""
    weights: Weights = Weights.AUTO
    """Weights of linear layers: auto (as dtype says), int8, which needs half the memory of bfloat16, or int4 (on a CPU): a third. It is part of the target's identity."""
    exact: Exact = Exact.AUTO
    """Bits of a text that do not depend on the batch, so that every near tie turns out as if it were alone: auto (where that costs little), always or off. `info` says whether they do."""
    exits: Exits = Exits.AUTO
    """Early verdicts from the pair's exit: auto (where the rest of the forward is long enough for them), always or off."""
    threads: int = 0
    """CPU threads of torch, from 0 to 1024. 0 takes as many as are fastest for the target, measured at the start."""
    ranks: int = 1
    """Processes that share the target's layers (tensor parallel), from 1 to 64: each has a GPU of its own, or its part of the CPU's threads. It is part of what the bits of a text depend on."""
    window_ms: float = 0.0
    """Milliseconds that a batch waits for drafts of sessions in the middle of an answer, from 0 to 1000. 0 waits as long as it pays."""
    due_ms: float = 500.0
    """Milliseconds after its arrival in which a draft should be answered, from 1 to 60000. No batch window stays open beyond."""
    budget: int = 2048
    """Most ids of one forward, from twice max_draft to 1000000. Longer prompts are fed in chunks."""
    max_draft: int = 16
    """Most drafted tokens that are verified in one round, from 1 to 64."""
    cache: str = "auto"
    """Folder for what takes longer to compute than to read (rounded weights, K/V of beginnings that nodes had in common): auto (below $XDG_CACHE_HOME or ~/.cache), off, or a folder."""
    kv_memory: str = "auto"
    """Memory for K/V pages, from 1M to 8192G: bytes, a number with K, M or G, or auto (most of a GPU's, an eighth of the machine's on a CPU)."""
    share_prefixes: Sharing = Sharing.HUB
    """Who shares the K/V of a common beginning: hub (all), node (sessions of one node) or off. By the time that an answer takes, whoever shares could tell what others have asked."""
    max_sessions: int = 4096
    """Most open sessions, from 1 to 1000000. The longest idle ones give way."""
    max_sessions_per_node: int = 64
    """Most open sessions of one node, from 1 to 1000000. Its longest idle one gives way."""
    max_queue: int = 1024
    """Most sessions with work at once, from 1 to 1000000. While there are so many, no other is opened."""
    voice: str = ""
    """Nodes whose requests go before all others, since somebody stands there and waits: patterns of names such as "kitchen-mic, satellite-*"."""
    background: str = ""
    """Nodes whose requests wait for all others, such as "camera-*". A node that is in neither list is normal."""
    session_ttl_s: float = 3600.0
    """Seconds of silence after which a session is forgotten, from 1 to 10000000."""
    delivery_rate: str = "2M"
    """Most bytes a second that are sent to nodes which fetch the pair's files and drafts: from 64K to 1G, or 0 to deliver none."""
    watts: float = 0.0
    """Watts that this machine takes while it computes, from 0 to 100000, for figures of energy where nothing measures it. 0: then they are unknown."""
    trace: Path | None = None
    """File to which it is written when what happens to each round, for `python -m tools.trace`. An older trace there is replaced. Without one nothing is written."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)

    def __post_init__(self) -> None:
        check_device(self.device)
        check_dtype(self.dtype, "auto")
        require("threads", self.threads, 0, 1024)
        require("ranks", self.ranks, 1, 64)
        self._check_split()
        require("window_ms", self.window_ms, 0, 1000)
        require("due_ms", self.due_ms, 1, 60_000)
        require("max_queue", self.max_queue, 1, 1e6)
        require("max_draft", self.max_draft, 1, MAX_DRAFT)
        require("budget", self.budget, 2 * self.max_draft, 1e6)
        if self.draft and not self.target:
            raise SettingsError("the setting 'draft' goes with 'target'; a pair has its drafts in its folder")
        if self.target and self.cache_folder is None:
            raise SettingsError(
                "the setting 'target' needs a cache to keep its pair in; take off out of 'cache', or name a pair"
            )
        if not self.cache:
            raise SettingsError("cache is empty; use auto, off, or a folder")
        if self.kv_bytes is not None:
            require("kv_memory", self.kv_bytes, 2**20, 2**43)
        require("max_sessions", self.max_sessions, 1, 1e6)
        require("max_sessions_per_node", self.max_sessions_per_node, 1, 1e6)
        require("session_ttl_s", self.session_ttl_s, 1, 1e7)
        require("watts", self.watts, 0, 1e5)
        if self.delivery_bytes_per_s:
            require("delivery_rate", self.delivery_bytes_per_s, MAX_PIECE, 2**30)

    def _check_split(self) -> None:
        """Raise SettingsError for what a target that is split over processes can't have."""
        if self.ranks == 1:
            return
        if self.device.startswith("cuda:"):
            raise SettingsError(f"with {self.ranks} ranks each has a GPU of its own; use --device cuda, or --ranks 1")
        if self.weights is not Weights.AUTO:
            raise SettingsError("rounded weights are not split over processes; use --weights auto, or --ranks 1")
        if self.exits is Exits.ALWAYS:
            raise SettingsError("a target that is split over processes has no exit; use --exits auto, or --ranks 1")

    @property
    def delivery_bytes_per_s(self) -> int:
        """Bytes a second; 0 for no delivery. Raises SettingsError."""
        return size_in_bytes(self.delivery_rate)

    @property
    def cache_folder(self) -> Path | None:
        """Where to keep what takes long to compute; None for nowhere."""
        if self.cache == "off":
            return None
        return cache_folder() if self.cache == "auto" else Path(self.cache)

    @property
    def kv_bytes(self) -> int | None:
        """Memory for K/V pages, None for auto. Raises SettingsError."""
        return None if self.kv_memory == "auto" else size_in_bytes(self.kv_memory)
