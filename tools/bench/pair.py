"""The pair: how often its calls are right on names and areas never seen in training, and how well the draft drafts."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from edge_node.conversation import Answer, Generation
from edge_node.node import connected, load_drafter
from edge_node.tokenizer import ChatTokenizer, Turn
from shared.pair import load_pair
from shared.sampling import Sampling
from tools.bench.report import progress, show
from tools.home.generate import Exchange, exchange
from tools.home.values import HELD_OUT
from tools.testbed import running_hub

LENGTH = 8
MAX_TOKENS = 200


def run(requests: int, pair_name: str, as_json: bool) -> None:
    """Print `target_exact_match`, `draft_exact_match`, `acceptance`, `committed_per_round` and where errors are."""
    rng = random.Random(20_261_121)
    asked = [exchange(rng, HELD_OUT) for _ in range(requests)]
    wrong: Counter[str] = Counter()
    answers: list[Answer] = []
    with (
        running_hub(["node"], pair_name) as bed,
        connected(bed.node("node", draft_length=LENGTH)) as node,
        progress() as bars,
    ):
        for exchanged in bars.track(asked, description="target, drafted for"):
            answer = Answer()
            for _ in node.ask(exchanged.request, Generation(temperature=0.0, max_tokens=MAX_TOKENS), answer):
                pass
            node.clear()
            answers.append(answer)
            if not right(answer.text, exchanged):
                wrong["+".join(name for name, _ in exchanged.calls) or "refusal"] += 1
    stats = [answer.stats for answer in answers]
    judged = sum(s.accepted + s.rejected for s in stats)  # drafted tokens that the target looked at
    figures = {
        "requests": requests,
        "target_exact_match": 1 - wrong.total() / requests,
        "draft_exact_match": _draft_exact_match(asked, pair_name),
        "acceptance": round(sum(s.accepted for s in stats) / judged, 4),
        "committed_per_round": round(sum(s.tokens for s in stats) / sum(s.rounds for s in stats), 3),
        "accepted_of_drafted": round(sum(s.accepted for s in stats) / sum(s.drafted for s in stats), 4),
        "tokens": sum(s.tokens for s in stats),
        "wrong_by_intent": dict(wrong.most_common(10)),
    }
    show("pair", figures, as_json)


def right(text: str, exchanged: Exchange) -> bool:
    """Whether the calls in `text` are exactly those that the request means."""
    calls: list[Any] = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                calls.append(json.loads(line))
            except ValueError:
                return False
    return calls == [{"name": name, "arguments": arguments} for name, arguments in exchanged.calls]


def _draft_exact_match(asked: list[Exchange], pair_name: str) -> float:
    """The share of requests that the draft alone gets right."""
    pair = load_pair(pair_name)
    tokenizer = ChatTokenizer(pair)
    drafter = load_drafter(pair, threads=2, tokenizer=tokenizer)
    hits = 0
    with progress() as bars:
        for exchanged in bars.track(asked, description="draft alone"):
            block = drafter.draft(tokenizer.prompt([Turn("user", exchanged.request)]), MAX_TOKENS, Sampling())
            hits += right(tokenizer.decode(block.tokens), exchanged)
    return round(hits / len(asked), 4)
