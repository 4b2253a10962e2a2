"""Dialogues put to the served pair, several at a time, and to its draft alone."""

from __future__ import annotations

import queue
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import first_tokens
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.settings import Mode, Policy
from shared.sampling_parameters import Sampling
from tools.bench.report import progress
from tools.home.data.generate import Dialogue, Exchange, dialogue
from tools.home.data.invent import Source
from tools.rig.testbed import HubBed

NODES = tuple(f"node-{i}" for i in range(8))  # each has one session at a time
LENGTH = 8  # tokens of a drafted block, at most
MAX_TOKENS = 200


@dataclass(frozen=True)
class AskedRequest:
    """One request of a dialogue and what came; `turns` is the chat up to and with the request."""

    exchange: Exchange
    turns: tuple[Turn, ...]
    answer: Answer


def drawn(requests: int, source: Source, seed: int) -> list[Dialogue]:
    """Dialogues with that many requests in all."""
    rng = random.Random(seed)
    dialogues: list[Dialogue] = []
    while requests > 0:
        whole = dialogue(rng, source)
        dialogues.append(replace(whole, exchanges=whole.exchanges[:requests]))
        requests -= len(dialogues[-1].exchanges)
    return dialogues


@contextmanager
def asking(bed: HubBed) -> Iterator[list[Conversation]]:
    """A conversation of each of NODES with the hub, in blocks of at most LENGTH tokens."""
    with ExitStack() as stack:
        settings = (bed.node(name, mode=Mode.SPECULATE, policy=Policy.FIXED, draft_length=LENGTH) for name in NODES)
        yield [stack.enter_context(connected(each)) for each in settings]


def ask_all(
    nodes: Sequence[Conversation], dialogues: Sequence[Dialogue], temperature: float, title: str
) -> list[AskedRequest]:
    """Put every dialogue to the hub, its requests in order in one chat; return all requests, in order."""
    seeds = random.Random(0)
    cases = [(each, [seeds.getrandbits(64) for _ in each.exchanges]) for each in dialogues]
    idle: queue.SimpleQueue[Conversation] = queue.SimpleQueue()
    for node in nodes:
        idle.put(node)

    def ask(case: tuple[Dialogue, list[int]]) -> list[AskedRequest]:
        node = idle.get()
        try:
            return _converse(node, *case, temperature)
        finally:
            idle.put(node)

    with ThreadPoolExecutor(len(nodes)) as pool, progress() as bars:
        answered = bars.track(pool.map(ask, cases), total=len(cases), description=title)
        return [asked for conversation in answered for asked in conversation]


def _converse(node: Conversation, dialogue: Dialogue, seeds: Sequence[int], temperature: float) -> list[AskedRequest]:
    node.renew(dialogue.system)
    asked = []
    for exchange, seed in zip(dialogue.exchanges, seeds, strict=True):
        answer = Answer()
        for _ in node.ask(exchange.request, Generation(temperature, seed=seed, max_tokens=MAX_TOKENS), answer):
            pass
        asked.append(AskedRequest(exchange, tuple(node.turns[:-1]), answer))
    return asked


def ask_afresh(node: Conversation, request: str) -> str:
    """The greedy answer to a request in a chat of its own."""
    answer = Answer()
    for _ in node.ask(request, Generation(temperature=0.0), answer):
        pass
    node.clear()
    return answer.text


def ask_draft(
    drafter: OnnxDrafter, tokenizer: ChatTokenizer, dialogues: Sequence[Dialogue], title: str
) -> list[tuple[Exchange, str]]:
    """Put every dialogue to the draft alone, greedy, with its own answers as history; return the texts, in order."""
    texts = []
    with progress() as bars:
        for each in bars.track(dialogues, description=title):
            turns = [Turn("system", each.system)] if each.system else []
            for exchange in each.exchanges:
                turns.append(Turn("user", exchange.request))
                ids = first_tokens(drafter, tokenizer.prompt(turns), MAX_TOKENS, Sampling())
                kept = tuple(i for i in ids if i not in tokenizer.end_ids)
                turns.append(Turn("assistant", tokenizer.decode(kept), kept))
                texts.append((exchange, turns[-1].content))
    return texts
