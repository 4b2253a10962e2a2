"""Early verdicts, as a device sees them: how often they are what the verdict turns out to be, and how much earlier they come.

With the built-in pair, requests with names that training never drew, one at a time, drafted by the pair's own draft in blocks of
at most 8; with `--shape`, a target of real size and devices that are emulated. Hub, broker and exit are real in both.

    rounds               drafts with tokens, of which `early` were answered early too
    early_agreement      share of the early verdicts that are what the verdict is: as many drafted tokens accepted, and the
                         same id behind them
    early_ids            ids in early verdicts up to the first that is not the verdict's, that one included
    early_agreement_per_token   share of those ids that are the verdict's
    lead_ms              from the early verdict to the verdict, both as they reach the device; median
    lead_share           that over the time from sending the draft to the verdict; median
    round_ms             this time; median
    exit_rest            share of the target's layers behind the exit
    forward_ms_N         a forward of N verify rows of 1 + 8 ids without the exit; median
    exit_cost_N          what the exit adds to it, its tokens drawn, over that; median of pairs
"""

from __future__ import annotations

import queue
import random
import secrets
import statistics
import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import first_tokens
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafts import load_drafter
from edge_node.rounds.session import NodeSession
from hub.model.batch import Row, places_wanted
from hub.model.device import pick_device, pick_dtype
from hub.model.exits import Asked
from hub.model.probe_rows import probe_rows
from hub.model.sampling import draw_wanted
from hub.model.target import Target
from hub.settings import Exits
from shared.errors import PairError
from shared.messages import AnyMessage, Close, Draft, Fault, Finish, Open, Opened, Verdict
from shared.pair import Pair, load_pair
from shared.sampling_parameters import Sampling
from tools.bench.report import progress, show
from tools.bench.site import MIDDLE, Rig, Site
from tools.bench.watch import Round, Watch
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.fleet import Drafting
from tools.rig.testbed import running_hub
from tools.rig.transport import BrokerTransport, Transport

_BLOCK = 8
_NODE = "watcher"
_LONGEST = 160  # ids of an answer
_WARM_UP = 3  # requests
_WAIT_S = 60.0
_KV_MEMORY = 1 << 28
_ROWS = (1, 8)  # rows of the forwards whose cost is measured
_TIMES = 15  # measurements of each, with and without the exit in turn


class _Device:
    """Asks for answers one after another, drafting with the pair's draft and waiting for each verdict."""

    def __init__(self, transport: Transport, pair: Pair, tokenizer: ChatTokenizer, drafter: OnnxDrafter) -> None:
        self._transport, self._pair, self._tokenizer, self._drafter = transport, pair, tokenizer, drafter
        self._heard: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
        transport.listen(lambda _, message: self._heard.put(message))

    def ask(self, request: str, sampling: Sampling) -> None:
        """Get the answer to `request`, in a session of its own. Raises RuntimeError when the hub does not give it."""
        chat, session = NodeSession(), secrets.token_bytes(16)
        self._transport.send(session, Open(session, self._pair.name, self._pair.tokenizer_hash()))
        self._await(Opened)
        prompt = self._tokenizer.prompt([Turn("user", request)])
        self._round(session, chat, chat.compose(append=prompt, until=len(prompt) + 1, sampling=sampling))
        while chat.finish is Finish.NO and len(chat) < len(prompt) + _LONGEST:
            tokens = first_tokens(self._drafter, chat.ids, _BLOCK, sampling)
            self._round(session, chat, chat.compose(tokens=tokens))
        self._transport.send(session, Close())

    def _round(self, session: bytes, chat: NodeSession, draft: Draft) -> None:
        self._transport.send(session, draft)
        chat.receive(self._await(Verdict))

    def _await(self, kind: type[Any]) -> Any:
        while True:
            match self._heard.get(timeout=_WAIT_S):
                case Fault() as fault:
                    raise RuntimeError(f"the hub does not serve: {fault.detail}")
                case message if isinstance(message, kind):
                    return message


def run_pair(requests: int, temperature: float, pair_name: str, as_json: bool) -> None:
    """Print the figures of a pair with a draft and an exit. Raises PairError for one without."""
    pair = load_pair(pair_name)
    if pair.exit_head is None:
        raise PairError(f"the pair {pair.name!r} has no exit head; make one with tools.exits")
    tokenizer = ChatTokenizer(pair)
    rng = random.Random(5)
    asked = [exchange(rng, HELD_OUT).request for _ in range(requests + _WARM_UP)]
    with running_hub([_NODE], str(pair.folder), ["--exits", Exits.ALWAYS.value]) as bed, progress() as bars:
        watch = Watch(BrokerTransport(bed.broker.settings(_NODE), _NODE))
        device = _Device(watch, pair, tokenizer, load_drafter(pair, 1, tokenizer))
        for number, request in enumerate(bars.track(asked, description="requests")):
            if number == _WARM_UP:
                watch.rounds.clear()
            device.ask(request, Sampling(temperature, seed=number))
        watch.close()
    target = Target(
        pair.target,
        device=pick_device("auto"),
        dtype=pick_dtype(pair.target_dtype),
        kv_memory=_KV_MEMORY,
        exit_head=pair.exit_head,
    )
    described = {"pair": pair.name, "requests": requests, "temperature": temperature}
    show("early", {**described, **_figures(watch.rounds), **_cost(target)}, as_json)


def run_shape(rig: Rig, sessions: int, drafting: Drafting, as_json: bool) -> None:
    """Print the figures of a target of real size, with emulated devices."""
    watches: list[Watch] = []

    def watched(transport: Transport) -> Watch:
        watches.append(Watch(transport))
        return watches[-1]

    def measure(site: Site) -> dict[str, Any]:
        site.hold(sessions)
        watches[-1].rounds.clear()
        load = site.measure(drafting)
        return {
            "tokens_per_s": round(load.tokens_per_s, 2),
            "alpha_realised": round(load.alpha, 3),
            "compared_tokens": load.compared_tokens,
        }

    measured = rig.at_site(measure, watched)
    described = {"shape": rig.shape, "dtype": rig.dtype, "sessions": sessions, "acceptance": drafting.acceptance}
    show("early", {**described, **measured, **_figures(watches[-1].rounds), **_cost(rig.load(Target))}, as_json)


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    early = [each for each in rounds if each.early is not None]
    if not early:
        raise RuntimeError(f"no early verdict came in {len(rounds)} rounds")
    wrong = sum(not each.is_right for each in early)
    right_ids = sum(each.right_ids for each in early)
    return {
        "rounds": len(rounds),
        "early": len(early),
        "early_agreement": round(1 - wrong / len(early), 4),
        "early_ids": right_ids + wrong,
        "early_agreement_per_token": round(right_ids / (right_ids + wrong), 4),
        "lead_ms": round(1e3 * statistics.median(each.verdict_s - each.early_s for each in early), 3),
        "lead_share": round(statistics.median(1 - each.early_s / each.verdict_s for each in early), 3),
        "round_ms": round(1e3 * statistics.median(each.verdict_s for each in early), 3),
    }


def _cost(target: Target) -> dict[str, Any]:
    figures: dict[str, Any] = {"exit_rest": round(target.exit_rest or 0.0, 3)}
    for count in _ROWS:
        with probe_rows(target.pool, [(MIDDLE, 1 + _BLOCK)] * count) as rows:
            pairs = [_timed(target, rows) for _ in range(_TIMES)]
        figures[f"forward_ms_{count}"] = round(1e3 * statistics.median(plain for plain, _ in pairs), 3)
        figures[f"exit_cost_{count}"] = round(statistics.median(asked / plain - 1 for plain, asked in pairs), 4)
    return figures


def _timed(target: Target, rows: Sequence[Row]) -> tuple[float, float]:
    """Seconds of a forward that is not asked at the exit, and of one that is."""

    def tell(logits: Tensor) -> None:
        draw_wanted(logits, rows, target.vocab_size)

    inputs = target.prepare(rows)
    started = time.perf_counter()
    target.compute(inputs)
    between = time.perf_counter()
    target.compute(inputs, Asked(places_wanted(rows), tell))
    return between - started, time.perf_counter() - between
