"""What a chat says about an answer that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_node.dialogue.answer import Answer, Ending
from edge_node.dialogue.provisional import ProvisionalTurn
from edge_node.dialogue.tokenizer import Turn
from edge_node.frontends.chat.shown_answer import COLOURS
from edge_node.rounds.cost import Cost
from edge_node.rounds.progress import Source
from shared.energy.meter import Known

LEGEND = (
    ("drafted, and right", COLOURS[Source.DRAFTED]),
    " · ",
    ("drafted, and corrected", COLOURS[Source.CORRECTED]),
    " · ",
    ("not drafted", COLOURS[Source.TARGET]),
)


@dataclass
class Asked:
    """A request, the chat in front of it, and what became of it."""

    request: str
    turns: tuple[Turn, ...]
    unverified: tuple[ProvisionalTurn, ...] = ()
    answer: Answer = field(default_factory=Answer)
    error: str = ""
    is_stopped: bool = False


def described(asked: Asked) -> str:
    """The figures of its answer in a line; of an answer that broke off, why, and the figures that there are."""
    answer, stats = asked.answer, asked.answer.stats
    found = [
        f"ended in an error: {asked.error}" if asked.error else "stopped" if asked.is_stopped else "",
        stats.mode if stats.tokens else "",
        f"{stats.tokens} tokens" if stats.tokens else "",
        f"{'its end' if stats.tokens else 'all of it'} is provisional" if answer.provisional else "",
        f"{stats.rounds} rounds" if stats.tokens else "",
        f"{stats.accepted}/{stats.drafted} drafted accepted" if stats.drafted and stats.tokens else "",
        f"{stats.ms_per_token:.1f} ms/token" if stats.tokens else "",
        f"first token {1e3 * stats.first_token_s:.0f} ms" if stats.tokens else "",
        f"round trip {stats.rtt_ms:.1f} ms" if stats.overheads_s else "",
        f"seed {answer.sampling.seed}" if stats.rounds else "",
        *(_cost(stats.cost) if stats.tokens else ()),
    ]
    return " · ".join(filter(None, found))


def _cost(cost: Cost) -> Iterator[str]:
    """What it has cost here and at the hub."""
    yield f"here {cost.drafting_s:.2f} s of drafting and {_energy(cost.joules, cost.known)}"
    if cost.hub_forward_s is not None:
        yield f"hub {cost.hub_forward_s:.2f} s of forwards and {_energy(cost.hub_joules, cost.hub_known)}"


def _energy(joules: float | None, known: Known) -> str:
    return "energy unknown" if joules is None else f"{joules:.2f} J {known.value}"


def ending_in_words(asked: Asked, max_tokens: int) -> str:
    """Why an answer is shorter than its target would have it; nothing where it is not."""
    answer = asked.answer
    if asked.is_stopped:
        return "stopped; /retry asks again"
    if asked.error or answer.provisional:
        return ""
    if answer.ending is Ending.STOP:
        return "ended by a stop string"
    if answer.ending is not Ending.LENGTH:
        return ""
    if len(answer.ids) >= max_tokens:
        return f"cut after {len(answer.ids)} tokens; --max-tokens says how many an answer may have"
    return "cut: the context is full; /new begins a chat with an empty one"
