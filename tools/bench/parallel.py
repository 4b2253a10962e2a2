"""A target that is split over processes (tensor parallel): whether its text is the whole target's, and what becomes of a hub that loses a process.

A hub with `ranks` processes serves a tiny checkpoint with random weights. Nodes ask it at the same time, greedily and sampled, in blocks and streaming; the
oracle decodes each prompt alone, by plain `transformers` and with the whole model. Then one of the processes is killed in the middle of the answers.

    compared_tokens, mismatches   ids that the oracle was asked for; answers that are not its own
    forwards                      that all processes took part in
    lost_rank_status              the hub's exit status once a process is gone; lost_rank_said is its sentence, lost_rank_s the seconds it took
    processes_left                of the hub, behind that
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.settings import DrafterKind
from shared.errors import SledError
from shared.pair import load_pair
from tools.bench.architectures import MAX_TOKENS, WAYS, Served, judged, made
from tools.bench.report import progress, show
from tools.rig.architectures import END, VOCABULARY
from tools.rig.oracle import Oracle, Rule
from tools.rig.testbed import HubBed, running_hub
from tools.rig.usage import descendants

_NODES = tuple(f"node-{number}" for number in range(4))
_OPTIONS = ("--threads", "1", "--kv-memory", "4M")
_RULES = tuple(Rule(temperature, 0, 0.9 if temperature else 1.0, seed) for seed, temperature in enumerate((0.0, 0.8)))
_GONE_S = 30.0  # seconds in which a hub must have ended
Asked = tuple[list[int], Rule, Answer]


def run(ranks: int, answers: int, checkpoint: str, as_json: bool) -> bool:
    """Print the figures above; whether they are as they should be."""
    figures = measured(ranks, answers, checkpoint)
    show(f"{checkpoint} in {ranks} processes", figures, as_json)
    return figures["mismatches"] == 0 and bool(figures["lost_rank_status"]) and figures["processes_left"] == 0


def measured(ranks: int, answers: int, checkpoint: str) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="sled-parallel-") as folder:
        pair = made(checkpoint, Path(folder) / checkpoint)
        with running_hub(_NODES, str(pair.folder), [*_OPTIONS, "--ranks", str(ranks)]) as bed:
            asked = _asked(bed, pair, answers)
            stats, context = bed.hub_stats(), bed.context
            lost = _lose_a_rank(bed, pair)
        oracle = Oracle(str(pair.folder / "target"), VOCABULARY, [END], context)
        compared, mismatches = judged(oracle, ((prompt, rule, answer.ids) for prompt, rule, answer in asked))
    return {
        "ranks": ranks,
        "answers": len(asked),
        "compared_tokens": compared,
        "mismatches": mismatches,
        "forwards": stats["target_forwards"] + stats["prefill_forwards"],
        **lost,
    }


def _asked(bed: HubBed, pair: Served, answers: int) -> list[Asked]:
    """The answers of all nodes, which ask at the same time."""
    done = itertools.count(1)
    with progress() as bars, ThreadPoolExecutor(len(_NODES)) as pool:
        task = bars.add_task("answers", total=answers)

        def ask(number: int) -> list[Asked]:
            way = list(WAYS.values())[number % len(WAYS)]
            with connected(bed.node(_NODES[number], drafter=_drafter(pair), threads=1, **way)) as node:
                asked = []
                for place in range(number, answers, len(_NODES)):
                    asked.append(_ask(node, pair, place))
                    bars.update(task, completed=next(done))
                return asked

        return [each for its in pool.map(ask, range(len(_NODES))) for each in its]


def _ask(node: Conversation, pair: Served, place: int) -> Asked:
    """Put a request that no other has, in a chat of its own."""
    words = 3 + place % 41
    request = " ".join(str(END + 1 + (37 * place + 11 * word) % (VOCABULARY - 1)) for word in range(words))
    rule, answer = _RULES[place % len(_RULES)], Answer()
    node.clear()
    for _ in node.ask(request, Generation(rule.temperature, rule.top_k, rule.top_p, rule.seed, MAX_TOKENS), answer):
        pass
    tokenizer = ChatTokenizer(load_pair(str(pair.folder)))
    return list(tokenizer.prompt([Turn("user", request)])), rule, answer


def _lose_a_rank(bed: HubBed, pair: Served) -> dict[str, Any]:
    """Kill a process that has a part of the target while a node asks; what the hub does."""
    others = [pid for pid in descendants(bed.hub_pid) if b"hub.follower" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    ends = threading.Event()

    def ask() -> None:
        with suppress(SledError), connected(bed.node(_NODES[0], drafter=_drafter(pair), threads=1)) as node:
            node.loop.is_unwanted = ends.is_set
            for place in itertools.count():
                _ask(node, pair, place)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    os.kill(others[0], signal.SIGKILL)
    status = bed.hub_status(_GONE_S)
    took_s = time.monotonic() - began
    ends.set()
    thread.join()
    left = [pid for pid in others if Path(f"/proc/{pid}").exists()]
    said = bed.hub_log.strip().splitlines()
    return {
        "lost_rank_status": status,
        "lost_rank_said": said[-1] if said else "",
        "lost_rank_s": round(took_s, 2),
        "processes_left": len(left),
    }


def _drafter(pair: Served) -> DrafterKind:
    return DrafterKind.MODEL if pair.draft_refused is None else DrafterKind.NGRAM
