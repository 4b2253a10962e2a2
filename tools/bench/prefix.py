"""Sessions that begin alike, opened at once: what of their prompts is computed. Built-in pair, real broker.

prefill_tokens_asked      ids of all prompts
prefill_tokens_computed   those that went through a forward
common_tokens, own_tokens what every prompt begins with, and what the prompts have besides, in all
"""

from __future__ import annotations

import random

from shared.pair import load_pair
from tools.bench.report import show
from tools.rig.fleet import Device, Fleet
from tools.rig.testbed import running_hub
from tools.rig.transport import BrokerTransport

_NODE = "fleet"
_COMMON = 512  # ids that all requests begin with
_OWN = (8, 24)  # ids of a request's own, at least and at most
_ANSWER = 8  # ids of an answer
_FIRST_ID, _LAST_ID = 300, 2000  # ordinary words of the pair's vocabulary


def run(sessions: int, as_json: bool) -> None:
    """Print the figures above."""
    rng = random.Random(0)
    pair = load_pair("home")
    common = _ids(rng, _COMMON)
    prompts = [common + _ids(rng, rng.randint(*_OWN)) for _ in range(sessions)]
    with running_hub([_NODE], "home") as bed:
        transport = BrokerTransport(bed.broker.settings(_NODE), _NODE)
        before = bed.hub_stats()
        fleet = Fleet(transport, pair.name, pair.tokenizer_hash())
        fleet.open([Device(number, prompt, _ANSWER) for number, prompt in enumerate(prompts)])
        fleet.record()
        after = bed.hub_stats()
        transport.close()
    asked = sum(map(len, prompts))
    figures = {
        "sessions": sessions,
        "prefill_tokens_computed": after["prefill_tokens"] - before["prefill_tokens"],
        "prefill_tokens_asked": asked,
        "common_tokens": _COMMON,
        "own_tokens": asked - sessions * _COMMON,
    }
    show("prefix", figures, as_json)


def _ids(rng: random.Random, count: int) -> list[int]:
    return [rng.randint(_FIRST_ID, _LAST_ID) for _ in range(count)]
