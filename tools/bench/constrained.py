"""Answers that keep to a grammar: whether all do, whether they are the target's own under a mask that the oracle makes itself, and what that costs.

The target that is asked for JSON has random weights: it knows nothing of JSON, so what fits is the mask's doing. What it costs is measured
on the built-in pair, whose forwards are the shortest there are.
"""

from __future__ import annotations

import itertools
import json
import math
import queue
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import fastjsonschema
import torch
from tokenizers import Tokenizer

from edge_node.assembly import Node, connected
from edge_node.dialogue.answer import Answer, Ending
from edge_node.dialogue.calls import schemas_of
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.guided_drafter import TextInGrammar
from edge_node.settings import Mode, NodeSettings, Policy
from shared.grammar import Grammar
from shared.guide import guides_of
from shared.pair import Pair, load_pair
from tools.bench.report import progress, show
from tools.home.assemble import assemble
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.home.training.model import home_config, new_model
from tools.home.training.recipe import DRAFT_DEPTH, TARGETS
from tools.rig.oracle import Oracle, Rule, choose
from tools.rig.own_mask import OwnMask, json_pattern
from tools.rig.testbed import running_hub

NODES = 8
SESSIONS = 32
MAX_TOKENS = 192
_COMPARED = 4  # of so many answers one is compared with the oracle: some to each schema
_ROUNDS = 4  # requests of each session whose masks are timed at most
_ROUNDS_SHARE = 0.04  # of as many as are asked for
_TIMED = 48  # answers of each kind that are timed at most
_TIMED_SHARE = 0.4  # of as many as are asked for
_WAYS: tuple[dict[str, Any], ...] = (
    {"mode": Mode.STREAM},
    {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 4},
    {"mode": Mode.AUTO},
)
_SAMPLINGS = ((1.0, 0, 1.0), (1.0, 40, 0.9), (1.0, 0, 1.0))


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _digits(count: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": 10**count - 1}


SCHEMAS: tuple[dict[str, Any], ...] = (
    _object(room={"enum": ["kitchen", "den", "hall", 'a "quoted" one']}, on={"type": "boolean"}, percent=_digits(2)),
    _object(name={"type": "string", "minLength": 1, "maxLength": 16}, count=_digits(3)),
    _object(
        steps={
            "type": "array",
            "items": _object(do={"enum": ["turn", "walk", "stop"]}, by=_digits(1)),
            "minItems": 1,
            "maxItems": 4,
        },
        note={"type": "string", "minLength": 0, "maxLength": 8},
    ),
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 6},
    {"enum": ["yes", "no", "perhaps", 7, None]},
)


@dataclass
class Case:
    """One request, and what came."""

    request: str
    schema: int
    rule: Rule
    answer: Answer | None = None


def run(answers: int, as_json: bool) -> None:
    """Print `answers`, `invalid`, `compared_tokens`, `mismatches`, `mask_share`, `forced_share`, `speedup` and more."""
    with tempfile.TemporaryDirectory(prefix="sled-pair-") as folder:
        pair = _random_pair(Path(folder))
        cases = _cases(answers)
        with running_hub([f"node-{i}" for i in range(NODES)], str(pair.folder)) as bed:
            _ask_all(cases, [bed.node(f"node-{i}", **_WAYS[i % len(_WAYS)]) for i in range(NODES)])
        invalid = sum(not _fits(case) for case in cases)
        compared, mismatches = _compared(pair, cases[::_COMPARED])
    with running_hub(["node-0"], "home") as bed:
        settings = bed.node("node-0")
        _ask_at_once(settings, 1)  # compiles, and warms up
        before = bed.hub_stats()
        written = _ask_at_once(settings, min(_ROUNDS, math.ceil(_ROUNDS_SHARE * answers)))
        after = bed.hub_stats()
        speedup, ms = _speedup(settings, min(_TIMED, math.ceil(_TIMED_SHARE * answers)))
    spent = {key: after[key] - before[key] for key in ("guiding_us", "forward_us", "target_forwards", "committed")}
    figures = {
        "answers": len(cases),
        "invalid": invalid,
        "compared_tokens": compared,
        "mismatches": mismatches,
        "mask_share": round(spent["guiding_us"] / spent["forward_us"], 4),
        "sessions": SESSIONS,
        "guided_tokens": spent["committed"],
        "forced_share": _forced_share(written),
        "speedup": speedup,
        "ms_per_token": ms,
    }
    show("constrained", figures, as_json)


def _random_pair(folder: Path) -> Pair:
    """The built-in pair with weights drawn at random."""
    home = load_pair("home")
    tokenizer = Tokenizer.from_file(str(home.tokenizer))
    torch.manual_seed(0)
    for name, depth in (("target", TARGETS["plain"].stages[-1].depth), ("draft", DRAFT_DEPTH)):
        new_model(home_config(depth, tokenizer)).save_pretrained(folder / name)
    out = folder / "pair"
    assemble(out, tokenizer=home.tokenizer, target=folder / "target", draft=folder / "draft", name="random")
    return load_pair(str(out))


def _cases(count: int) -> list[Case]:
    rng = random.Random(2026)
    kinds = itertools.cycle(range(len(SCHEMAS)))
    return [
        Case(exchange(rng, HELD_OUT).request, kind, Rule(*rng.choice(_SAMPLINGS), rng.getrandbits(64)))
        for kind in itertools.islice(kinds, count)
    ]


def _ask_all(cases: Sequence[Case], nodes: Sequence[NodeSettings]) -> None:
    """Each node asks one case after the other."""
    waiting: queue.SimpleQueue[Case | None] = queue.SimpleQueue()
    for case in (*cases, *(None for _ in nodes)):
        waiting.put(case)
    grammars = [Grammar.of_schema(schema) for schema in SCHEMAS]
    with progress() as bars:
        bar = bars.add_task("asking", total=len(cases))

        def work(settings: NodeSettings) -> None:
            with connected(settings) as conversation:
                while (case := waiting.get()) is not None:
                    rule = case.rule
                    generation = Generation(
                        rule.temperature,
                        rule.top_k,
                        rule.top_p,
                        rule.seed,
                        MAX_TOKENS,
                        grammar=grammars[case.schema],
                    )
                    case.answer = _asked(conversation, case.request, generation)
                    bars.advance(bar)

        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(work, nodes))


def _asked(conversation: Conversation, request: str, generation: Generation) -> Answer:
    conversation.clear()
    answer = Answer()
    for _ in conversation.ask(request, generation, answer):
        pass
    return answer


def _fits(case: Case) -> bool:
    """Whether an answer is whole and fits its schema, by another library than the one that made the masks."""
    if case.answer is None or case.answer.ending is not Ending.END:
        return False
    try:
        fastjsonschema.validate(SCHEMAS[case.schema], json.loads(case.answer.text))
    except ValueError:
        return False
    return True


def _compared(pair: Pair, cases: Sequence[Case]) -> tuple[int, int]:
    """How many tokens of these were looked at, and how many answers differ from what the oracle writes."""
    tokenizer = Tokenizer.from_file(str(pair.tokenizer))
    end = tokenizer.token_to_id(pair.end_tokens[0])
    vocabulary = ByteVocabulary(tokenizer, str(pair.tokenizer))
    size = tokenizer.get_vocab_size()
    pieces = [vocabulary.bytes_of(token) for token in range(size)]

    def encoded(text: bytes) -> list[int]:
        ids: list[int] = tokenizer.encode(text.decode(), add_special_tokens=False).ids
        return ids

    masks = [OwnMask(pieces, encoded, [end], json_pattern(schema)) for schema in SCHEMAS]
    oracle = Oracle(pair.target, size, [end], 2048)
    tokens = mismatches = 0
    with progress() as bars:
        for case in bars.track(cases, description="the oracle"):
            assert case.answer is not None
            ids = case.answer.ids
            prompt = encoded(f"<|user|>{case.request}<|end|><|assistant|>".encode())
            rows = oracle.logits(prompt, ids)
            mask = masks[case.schema]
            for place, token in enumerate(ids):
                row = rows[place].copy()
                row[~mask.allowed(ids[:place])] = -float("inf")
                tokens += 1
                if choose(row, case.rule, len(prompt) + place) != token:
                    mismatches += 1
                    break
    return tokens, mismatches


def _ask_at_once(settings: NodeSettings, rounds: int) -> list[tuple[int, ...]]:
    """So many requests of each of SESSIONS chats on one node, all at once: the ids of the answers."""
    node = Node(settings)
    node.connect()
    rng = random.Random(rounds)
    asked = [[exchange(rng, HELD_OUT).request for _ in range(rounds)] for _ in range(SESSIONS)]

    def work(requests: Sequence[str]) -> list[tuple[int, ...]]:
        conversation = node.conversation()
        generation = Generation(temperature=0.0)
        return [_asked(conversation, request, generation).ids for request in requests]

    with closing(node), ThreadPoolExecutor(SESSIONS) as pool:
        return [ids for written in pool.map(work, asked) for ids in written]


def _forced_share(written: Sequence[tuple[int, ...]]) -> float:
    """Of the built-in pair's answers, the share of ids that were certain before anything was computed."""
    pair = load_pair("home")
    tokenizer = Tokenizer.from_file(str(pair.tokenizer))
    end = tokenizer.token_to_id(pair.end_tokens[0])
    maker, schemas = guides_of(pair, tokenizer.get_vocab_size(), [end]), schemas_of(pair)
    assert maker is not None
    assert schemas is not None
    compiled = maker.compile(Grammar.of_own_calls(schemas.items()))
    forced = total = 0
    for ids in written:
        guide = compiled.guide()
        place = 0
        while place < len(ids):
            certain = guide.certain(ids[:place])
            forced += len(certain)
            place += max(1, len(certain))
        total += len(ids)
    return round(forced / total, 4)


def _nothing(_: TextInGrammar) -> list[int]:
    """Takes nothing for certain."""
    return []


def _speedup(settings: NodeSettings, count: int) -> tuple[float, dict[str, float]]:
    """How much faster answers to a schema come where what is certain is not computed by the draft: so many each way, in turn."""
    grammar = Grammar.of_schema(SCHEMAS[2])
    rng = random.Random(7)
    times: dict[str, list[float]] = {"forced": [], "computed": []}
    with connected(replace(settings, mode=Mode.SPECULATE)) as conversation:
        for number in range(count):
            request = exchange(rng, HELD_OUT).request
            for kind in ("forced", "computed") if number % 2 else ("computed", "forced"):
                certain = TextInGrammar.certain if kind == "forced" else _nothing
                with patch.object(TextInGrammar, "certain", certain):
                    began = time.perf_counter()
                    answer = _asked(conversation, request, Generation(0.0, max_tokens=MAX_TOKENS, grammar=grammar))
                    times[kind].append(1e3 * (time.perf_counter() - began) / len(answer.ids))
    ms = {kind: round(median(values), 3) for kind, values in times.items()}
    return round(ms["computed"] / ms["forced"], 3), ms
