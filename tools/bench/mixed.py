"""Mixed devices on one target at once: a node for each draft of a pair, one that drafts by n-grams and one that streams.

answers        of the device, greedy and sampled in turn, each a chat of its own
exact_answers  of these: id for id what the target writes alone
acceptance     accepted / (accepted + rejected), of the drafted tokens that the target looked at
tokens_per_s   of the device, while all others are asked too; nodes, hub and broker share the machine
drafted        tokens in its blocks
accepted       of these
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.settings import DrafterKind, Mode, NodeSettings
from hub.pairing.answers import read_prompts
from shared.errors import PairError
from shared.pair import Pair, load_pair
from tools.bench.report import progress, show_rows
from tools.bench.truths import Truth, truth_of
from tools.rig.number_format import NumberFormat
from tools.rig.oracle import Rule
from tools.rig.testbed import running_hub

_WARM = 0.8  # temperature of every other answer
_WITHOUT_MODEL: dict[str, dict[str, Any]] = {
    "ngram": {"mode": Mode.SPECULATE, "drafter": DrafterKind.NGRAM},
    "stream": {"mode": Mode.STREAM},
}
_COLUMNS = ("device", "answers", "exact", "acceptance", "tokens/s", "drafted", "accepted")


@dataclass(frozen=True)
class _Asked:
    request: str
    rule: Rule
    answer: Answer


def run(pair_name: str, answers: int, tokens: int, as_json: bool) -> bool:
    """Print the figures; whether all answers are the target's own. Raises PairError for a pair that has no target here."""
    figures = devices_at_once(pair_name, answers, tokens)
    title = f"mixed devices: {figures['exact_answers']} of {figures['answers']} answers are the target's own"
    show_rows(title, _COLUMNS, [(name, *each.values()) for name, each in figures["devices"].items()])
    if as_json:
        print(json.dumps(figures))
    return bool(figures["exact_answers"] == figures["answers"])


def devices_at_once(pair_name: str, answers: int, tokens: int) -> dict[str, Any]:
    """The figures above by device, and `exact_answers` of all `answers`. Raises PairError for a pair that has no target here."""
    pair = load_pair(pair_name)
    if not pair.has_own_target:
        raise PairError(
            f"the target of {pair.name!r} is no folder, so answers can't be compared with it; make the pair of one"
        )
    ways = _ways(pair)
    form = NumberFormat(pair.target_dtype)
    with running_hub([_node(name) for name in ways], str(pair.folder), [*form.hub_options, "--threads", "1"]) as bed:
        settings = {name: bed.node(_node(name), threads=1, guided=False, **changes) for name, changes in ways.items()}
        asked = _asked_at_once(settings, answers, tokens)
        context = bed.context
    tokenizer = ChatTokenizer(pair)
    truth = truth_of(pair, form, tokenizer.vocab_size, sorted(tokenizer.end_ids), context)
    exact = {name: _exact(each, tokenizer, truth, tokens) for name, each in asked.items()}
    devices = {name: _figures(each, exact[name]) for name, each in asked.items()}
    return {"devices": devices, "exact_answers": sum(exact.values()), "answers": answers * len(ways)}


def _ways(pair: Pair) -> dict[str, dict[str, Any]]:
    """How the node of each device differs from others, by the device's name. Raises PairError."""
    taken = next((name for name in pair.drafts if name in _WITHOUT_MODEL), None)
    if taken is not None:
        raise PairError(f"a draft of {pair.name!r} is called {taken!r}, as a device without a model is here; rename it")
    by_draft = {name: {"mode": Mode.SPECULATE, "draft": name} for name in pair.drafts}
    return {**by_draft, **_WITHOUT_MODEL}


def _node(device: str) -> str:
    return f"device-{device}"


def _asked_at_once(settings: dict[str, NodeSettings], answers: int, tokens: int) -> dict[str, list[_Asked]]:
    """What each device was asked and has answered; all begin together, once every one has a session."""
    requests = read_prompts(None).held_out
    together = threading.Barrier(len(settings))
    with ThreadPoolExecutor(len(settings)) as pool, progress() as bars:
        bar = bars.add_task("asking", total=answers * len(settings))

        def work(own: NodeSettings) -> list[_Asked]:
            try:
                with connected(own) as node:
                    node.begin()
                    together.wait()
                    asked = []
                    for number in range(answers):
                        rule = Rule(_WARM if number % 2 else 0.0, 0, 1.0, number)
                        asked.append(_Asked(requests[number % len(requests)], rule, Answer()))
                        generation = Generation(rule.temperature, rule.top_k, rule.top_p, rule.seed, tokens)
                        node.clear()
                        for _ in node.ask(asked[-1].request, generation, asked[-1].answer):
                            pass
                        bars.advance(bar)
                    return asked
            except BaseException:
                together.abort()
                raise

        done = [pool.submit(work, own) for own in settings.values()]
        errors = [error for each in done if (error := each.exception()) is not None]
        for error in errors:
            if error is errors[-1] or not isinstance(error, threading.BrokenBarrierError):
                raise error  # the others only waited for whoever failed
        return {name: each.result() for name, each in zip(settings, done, strict=True)}


def _exact(asked: Sequence[_Asked], tokenizer: ChatTokenizer, truth: Truth, tokens: int) -> int:
    """How many answers are what the target writes alone."""
    exact = 0
    for each in asked:
        prompt = tokenizer.prompt([Turn("user", each.request)])
        exact += truth.of(prompt, each.answer.ids, each.rule, tokens)[0] == list(each.answer.ids)
    return exact


def _figures(asked: Sequence[_Asked], exact: int) -> dict[str, Any]:
    stats = [each.answer.stats for each in asked]
    right = sum(s.accepted + s.matched for s in stats)
    judged = right + sum(s.rejected for s in stats)
    return {
        "answers": len(asked),
        "exact_answers": exact,
        "acceptance": round(right / judged, 4) if judged else None,
        "tokens_per_s": round(sum(s.tokens for s in stats) / sum(s.elapsed_s for s in stats), 2),
        "drafted": sum(s.drafted for s in stats),
        "accepted": sum(s.accepted for s in stats),
    }
