"""An answer as it comes about: its text and ids, where they are from, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from edge_node.dialogue.doubts import Doubt
from edge_node.dialogue.provisional import SettledTurn
from edge_node.dialogue.source_runs import SourceRuns
from edge_node.rounds.progress import Source
from edge_node.rounds.round_stats import RoundStats
from shared.sampling_parameters import Sampling


class Ending(str, Enum):
    """How an answer came to its end."""

    END = "end"  # the target ended its turn
    LENGTH = "length"  # as long as it may be, or as the context has room for
    STOP = "stop"  # a stop string came up
    CANCELLED = "cancelled"  # nobody wanted more of it, or it broke off


@dataclass
class Answer:
    """An answer, complete when the iteration over its text has ended."""

    text: str = ""
    ending: Ending = Ending.CANCELLED
    prompt_tokens: int = 0
    ids: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()  # where each of `ids` is from
    runs: SourceRuns = field(default_factory=SourceRuns)  # the same of the characters of `text`
    # Of each of `ids` -ln p by the target, in thousandths of a nat; None where no hub has said.
    surprisal: tuple[int | None, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    stats: RoundStats = field(default_factory=RoundStats)
    doubt: Doubt = field(default_factory=Doubt)  # of its calls
    provisional: str = ""  # text behind `text` that this device has drafted without a hub: nothing may be done by it
    settled: list[SettledTurn] = field(default_factory=list)  # earlier turns that a hub has confirmed or amended before

    @property
    def meant(self) -> str:
        """The text by which calls are made or asked about: its own, or with the calls as the list of the home has them."""
        return self.text if self.doubt.as_listed is None else self.doubt.as_listed

    @property
    def confidence(self) -> float | None:
        """The chance that its calls are what was meant; None without calls, or if nobody can tell."""
        return self.doubt.sure

    @property
    def question(self) -> str:
        """What is said in place of making its calls, where they are too unsure or the home has not what they name."""
        return self.doubt.says

    @property
    def notice(self) -> str:
        """What the user should know about how it came about, sentence by sentence; nothing most of the time."""
        return "; ".join(self.stats.notices)
