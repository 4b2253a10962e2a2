"""The pair: how often its calls are right, and how well the draft drafts.

All requests but those of `usual` have names and areas that training never drew (but for bare nouns of a kind: "tv"). They come in
dialogues of one to four, some under a system message that lists the home; each is asked in its chat, behind the answers that were
given there. `--requests` is the number of requests of each figure, or what the figure says of it.

    target_exact_match                the target's calls are exactly those that the request means, those among them that are asked
                                      back about, which a yes leads to; temperature 0
    target_exact_match_new_phrasing   the same on phrasings that training never drew
    draft_exact_match                 the draft alone, greedy, on the requests of the first figure, with its own history
    exact_match_by_kind               the first two figures, taken apart: the first request of a chat, later ones, and
                                      those under a list of the home
    acceptance                        accepted / (accepted + rejected), of the drafted tokens that the target looked at;
                                      temperature 0, blocks of at most 8
    committed_per_round               ids committed for each draft that was sent, in the same run
    accepted_of_drafted, tokens       in that run too: of all drafted tokens, those behind a rejected one included; ids in all
    acceptance_t08                    acceptance at temperature 0.8, each answer with a seed of its own
    best_coupling_t08                 at the very places that acceptance_t08 counts, the mean of 1 - TV(p, q): the
                                      largest acceptance that any way of drawing two tokens, one from the target's
                                      distribution and one from the draft's, could have
    acted_wrongly                     of half as many requests that must change nothing, of twelve kinds, the share in which
                                      something was done all the same, without asking back; acted_wrongly_by_kind takes it apart
    asked_back                        the share of answers that ask "Did you mean …?": of the first two figures, under a list in
                                      both phrasings, and of what must change nothing
    right_at_once                     the share of answers with exactly the calls that are meant, made without asking back
    exact_listed                      the calls are exactly right under a list of the home: a quarter as many requests in
                                      phrasings that training drew; exact_listed_new_phrasing in others
    exact_by_home_size                the same by the devices of the home, under the list that a service gives: an eighth each
    usual                             of about a hundred requests that people make most (usual.toml), the share with exactly the
                                      right calls, made without asking back
    typed_variants                    of ten spellings each of a twentieth as many requests, the share with the same calls
    confusion                         by call, expected and got, most frequent first; the same name on both sides means
                                      that its arguments are wrong
    slot_errors                       by argument, in calls of the right name: missing, extra, of a wrong value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafts import load_drafter
from edge_node.rounds.round_stats import RoundStats
from shared.pair import Pair, load_pair
from tools.bench.asking import LENGTH, NODES, AskedRequest, ask_all, ask_draft, asking, drawn
from tools.bench.confusion import Confusion, right
from tools.bench.coupling import Coupling, judged
from tools.bench.report import progress, show
from tools.bench.trust import (
    SIZES,
    acted,
    acted_by_kind,
    in_a_home,
    must_change_nothing,
    same_calls,
    share_asked_back,
    share_right,
    share_right_at_once,
    typed,
    usual,
)
from tools.home.data.generate import Dialogue
from tools.home.data.invent import HELD_OUT, NEW_PHRASING
from tools.rig.testbed import running_hub

_SEED = 20_261_121
_WARM = 0.8  # the temperature of the second measurement


def run(requests: int, pair_name: str, as_json: bool, errors: Path | None = None) -> None:
    """Print the figures above; write every wrong request with what it should have got and what it got to `errors`."""
    seen = drawn(requests, HELD_OUT, _SEED)
    unseen = drawn(requests, NEW_PHRASING, _SEED)
    # For a target this small, one thread and larger batches are faster than two threads that wait for each other.
    with running_hub(NODES, pair_name, ["--threads", "1"]) as bed, asking(bed) as nodes:
        greedy = {
            "seen": ask_all(nodes, seen, 0.0, "phrasings as in training"),
            "new": ask_all(nodes, unseen, 0.0, "new phrasings"),
        }
        sampled = ask_all(nodes, seen, _WARM, f"temperature {_WARM}")
        trusted = _trust(nodes, requests)
    cold, warm = ([asked.answer.stats for asked in answered] for answered in (greedy["seen"], sampled))
    drafter = _Drafter(load_pair(pair_name))
    figures: dict[str, Any] = {
        "requests": requests,
        "target_exact_match": share_right(greedy["seen"]),
        "target_exact_match_new_phrasing": share_right(greedy["new"]),
        **trusted.figures,
        "asked_back": {name: share_asked_back(told) for name, told in (*greedy.items(), *trusted.sets)},
        "right_at_once": {name: share_right_at_once(told) for name, told in (*greedy.items(), *trusted.sets)},
        "exact_match_by_kind": {name: _by_kind(answered) for name, answered in greedy.items()},
        "draft_exact_match": drafter.exact_match(seen),
        "acceptance": _acceptance(cold),
        "committed_per_round": round(sum(s.tokens for s in cold) / sum(s.rounds for s in cold), 3),
        "accepted_of_drafted": round(sum(s.accepted for s in cold) / sum(s.drafted for s in cold), 4),
        "tokens": sum(s.tokens for s in cold),
        "acceptance_t08": _acceptance(warm),
        "best_coupling_t08": drafter.best_coupling(sampled),
    }
    confusions = {
        name: Confusion.of((a.exchange.calls, a.answer.meant) for a in answered) for name, answered in greedy.items()
    }
    for name, confusion in confusions.items():
        confusion.show(f"{name} phrasings")
    details = {
        "confusion": {name: confusion.as_json() for name, confusion in confusions.items()},
        "slot_errors": {name: confusion.slots_as_json() for name, confusion in confusions.items()},
    }
    show("pair", figures, as_json, details)
    if errors is not None:
        everything = {**greedy, **trusted.answered}
        wrong = [f"[{name}]\n{_described(a)}" for name, told in everything.items() for a in told if not _right(a)]
        errors.write_text("\n\n".join([*wrong, ""]))


@dataclass(frozen=True)
class _Trusted:
    """Figures, and the answers behind them."""

    figures: dict[str, Any]
    answered: dict[str, list[AskedRequest]]

    @property
    def sets(self) -> list[tuple[str, list[AskedRequest]]]:
        """The answers to what must change nothing, and to requests under a list of the home."""
        return [(name, self.answered[name]) for name in ("nothing", "listed", "listed, new")]


def _trust(nodes: Sequence[Conversation], requests: int) -> _Trusted:
    """Ask what a home has to trust the pair with."""
    nothing = ask_all(nodes, must_change_nothing(max(1, requests // 2), _SEED), 0.0, "what must change nothing")
    listed = {
        name: ask_all(nodes, drawn(max(1, requests // 4), replace(source, homes=1.0), _SEED), 0.0, f"listed, {name}")
        for name, source in (("familiar", HELD_OUT), ("new", NEW_PHRASING))
    }
    sizes = {
        size: ask_all(nodes, in_a_home(size, max(1, requests // 8), _SEED), 0.0, f"homes of {size} devices")
        for size in SIZES
    }
    often = ask_all(nodes, usual(), 0.0, "what people say most")
    groups = typed(max(1, requests // 20), _SEED)
    spelled = ask_all(nodes, [each for group in groups for each in group], 0.0, "spellings")
    length = len(groups[0])
    figures = {
        "must_change_nothing": len(nothing),
        "acted_wrongly": round(sum(map(acted, nothing)) / len(nothing), 4),
        "acted_wrongly_by_kind": acted_by_kind(nothing),
        "exact_listed": share_right(listed["familiar"]),
        "exact_listed_new_phrasing": share_right(listed["new"]),
        "exact_by_home_size": {str(size): share_right(answered) for size, answered in sizes.items()},
        "usual": share_right_at_once(often),
        "typed_variants": same_calls([spelled[at : at + length] for at in range(0, len(spelled), length)]),
    }
    told = {"nothing": nothing, "usual": often, "listed": listed["familiar"], "listed, new": listed["new"]}
    return _Trusted(figures, told | {f"{size} devices": answered for size, answered in sizes.items()})


def _right(asked: AskedRequest) -> bool:
    return right(asked.answer.meant, asked.exchange.calls)


def _by_kind(answered: Sequence[AskedRequest]) -> dict[str, float | None]:
    """The share that is right of each kind, None where there is none of it."""
    listed = [a for a in answered if a.turns[0].role == "system"]
    plain = [a for a in answered if a.turns[0].role != "system"]
    return {
        "first": share_right([a for a in plain if len(a.turns) == 1]),
        "later": share_right([a for a in plain if len(a.turns) > 1]),
        "home_listed": share_right(listed),
    }


def _acceptance(stats: Sequence[RoundStats]) -> float:
    hits = sum(s.accepted + s.matched for s in stats)
    return round(hits / (hits + sum(s.rejected for s in stats)), 4)


class _Drafter:
    """The figures that need the draft at hand."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._tokenizer = ChatTokenizer(pair)
        self._drafter = load_drafter(pair, threads=1, tokenizer=self._tokenizer)

    def exact_match(self, dialogues: Sequence[Dialogue]) -> float:
        """The share of the requests that the draft alone gets right."""
        texts = ask_draft(self._drafter, self._tokenizer, dialogues, "draft alone")
        return round(sum(right(text, exchange.calls) for exchange, text in texts) / len(texts), 4)

    def best_coupling(self, sampled: Sequence[AskedRequest]) -> float:
        """The mean of 1 - TV at the places of the answers at which the target looked at a drafted token."""
        torch.set_num_threads(1)  # for a model this small a second thread costs more than it brings
        coupling = Coupling(self._pair.target, self._drafter)
        best = []
        with progress() as bars:
            for asked in bars.track(sampled, description="best coupling"):
                answer, prompt = asked.answer, self._tokenizer.prompt(asked.turns)
                best.append(coupling.best(prompt, answer.ids, judged(answer, LENGTH), answer.sampling))
        return round(float(np.concatenate(best).mean()), 4)


def _described(asked: AskedRequest) -> str:
    """The chat with the answer that was expected and the one that came."""
    chat = [f"{turn.role}: {turn.content}" for turn in asked.turns]
    return "\n".join([*chat, f"expected: {asked.exchange.answer}", f"got:      {asked.answer.text}"])
