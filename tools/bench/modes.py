"""Speculation against streaming on the same requests, and streaming against the bare forward."""

from __future__ import annotations

import random
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode
from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from shared.pair import load_pair
from tools.bench.bare import bare_seconds
from tools.bench.report import progress, quantile, show
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.testbed import running_hub

_WARM_UP = 3  # requests
_KV_MEMORY = 16 << 20


def run(requests: int, pair_name: str, as_json: bool) -> None:
    """Print ms/token of both modes, their ratio, and stream's ms/token over bare forward + round overhead."""
    rng = random.Random(11)
    asked = [exchange(rng, HELD_OUT).request for _ in range(requests + _WARM_UP)]
    stream: list[Answer] = []
    speculate: list[Answer] = []
    with (
        running_hub(["stream", "speculate"], pair_name) as bed,
        connected(bed.node("stream", mode=Mode.STREAM)) as streaming,
        connected(bed.node("speculate", mode=Mode.SPECULATE)) as speculating,
        progress() as bars,
    ):
        for request in bars.track(asked, description="both modes, in turn"):
            stream.append(_ask(streaming, request))
            speculate.append(_ask(speculating, request))
        bare_ms = _bare_forward_ms(pair_name)
    stream_ms = _ms_per_token(stream[_WARM_UP:])
    speculate_ms = _ms_per_token(speculate[_WARM_UP:])
    overheads = [o for answer in speculate[_WARM_UP:] for o in answer.stats.overheads_s]
    overhead_ms = 1e3 * quantile(overheads, 0.5)
    figures: dict[str, Any] = {
        "stream_ms_per_token": round(stream_ms, 3),
        "speculate_ms_per_token": round(speculate_ms, 3),
        "speculate_over_stream": round(speculate_ms / stream_ms, 3),
        "bare_forward_ms": round(bare_ms, 3),
        "round_overhead_ms": round(overhead_ms, 3),
        "stream_over_forward_and_overhead": round(stream_ms / (bare_ms + overhead_ms), 3),
        "stream_over_forward": round(stream_ms / bare_ms, 3),
        "same_text": all(a.text == b.text for a, b in zip(stream, speculate, strict=True)),
    }
    show("modes", figures, as_json)


def _ask(node: Conversation, request: str) -> Answer:
    answer = Answer()
    for _ in node.ask(request, Generation(temperature=0.0), answer):
        pass
    node.clear()
    node.begin()  # as a waiting device would: the next answer does not pay for the open
    return answer


def _ms_per_token(answers: list[Answer]) -> float:
    return 1e3 * sum(a.stats.elapsed_s for a in answers) / sum(a.stats.tokens for a in answers)


def _bare_forward_ms(pair_name: str) -> float:
    """Median time of the target's forward for one token at a context of 64, on this machine's CPU."""
    pair = load_pair(pair_name)
    target = Target(pair.target, device=pick_device("cpu"), dtype=pick_dtype(pair.target_dtype), kv_memory=_KV_MEMORY)
    return 1e3 * bare_seconds(target, [(64, 1)], times=200)
