"""Follows a grammar while an answer is written: which ids may come next, by llguidance (https://github.com/guidance-ai/llguidance).

What may come is a function of the grammar and of the answer's ids so far, and of nothing else. So node and hub find the same, whoever
has drafted, and the text depends on no more than without a grammar.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import GrammarError
from shared.grammar import STYLES, Grammar
from shared.pair import Pair
from shared.text_file import read_text
from shared.transcript import common_length

_WORD_BITS = 32
# A grammar that is meant well stays far below these; one that is not ends in an error in a fraction of a second: docs/grammars.md.
_LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 10_000,
    "max_items_in_row": 500,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
    "verbose_errors": False,
}
_TRIAL = Path(__file__).with_name("grammar_trial.py")
_LONGEST_TRIAL_S = 30.0  # seconds, most of which it waits for a busy processor
_PLACE = re.compile(r"^at \d+\(\d+\): ")
_MOST_TOKENIZER = 2**27  # bytes of a tokenizer's file
Masks = NDArray[np.uint32]  # [places, words]: bit i % 32 of word i // 32 is set where id i may come


class GuideMaker:
    """Compiles grammars for one tokenizer. That takes a moment, the first most: not on a thread that others wait for."""

    def __init__(self, tokenizer: Path, vocab_size: int, end_ids: Collection[int]) -> None:
        """Ids from `vocab_size` on are never allowed."""
        self._path, self._vocab_size, self._end_ids = tokenizer, vocab_size, sorted(end_ids)
        self._tokenizer: Any = None

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """Raises GrammarError for one that says nothing, that nothing can follow or that asks for too much, and for a tokenizer that can't be guided."""
        from llguidance import LLMatcher, LLParserLimits

        rules = rules_of(grammar)
        if self._tokenizer is None:
            self._tokenizer = self._loaded()
        if not grammar.is_plain:
            self._try(rules)
        try:
            matcher = LLMatcher(self._tokenizer, rules, log_level=0, limits=LLParserLimits(**_LIMITS))
        except ValueError as error:
            raise GrammarError(f"the schema can't be followed: {error}") from None
        if matcher.is_error():
            raise GrammarError(f"the schema can't be followed: {_told(matcher)}")
        compiled = CompiledGrammar(grammar.digest, matcher, -(-self._vocab_size // _WORD_BITS))
        compiled.guide().masks()
        return compiled

    def _loaded(self) -> Any:
        """The tokenizer, as llguidance has it. Raises GrammarError."""
        from llguidance import LLTokenizer

        try:
            return LLTokenizer(self._described(), n_vocab=self._vocab_size, eos_token=self._end_ids)
        except GrammarError:
            raise
        except Exception as error:  # whatever the library makes of a file that it does not know
            raise GrammarError(f"answers by this pair's tokenizer can't be guided: {error}") from None

    def _described(self) -> str:
        """The tokenizer's file, without what it may say of lengths. Raises GrammarError."""
        text = read_text(self._path, "the tokenizer", GrammarError, most=_MOST_TOKENIZER)
        try:
            return json.dumps(json.loads(text) | {"truncation": None, "padding": None})
        except (ValueError, TypeError, RecursionError):
            raise GrammarError(f"{self._path} is not a tokenizer file") from None

    def _try(self, rules: str) -> None:
        """Compile rules in a process that may be ended. Raises GrammarError where they take too long, or don't compile."""
        asked = {
            "tokenizer": self._described(),
            "vocab_size": self._vocab_size,
            "end_ids": self._end_ids,
            "rules": rules,
            "limits": _LIMITS,
        }
        try:
            tried = subprocess.run(  # noqa: S603 - this package's own file
                [sys.executable, str(_TRIAL)],
                input=json.dumps(asked).encode(),
                capture_output=True,
                timeout=_LONGEST_TRIAL_S,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GrammarError(f"the schema can't be tried: {error.__class__.__name__}") from None
        if tried.returncode != 0:
            raise GrammarError(
                "the schema takes too long to compile, or too much memory: leave patterns out, or make them simpler"
            )
        if tried.stdout:
            raise GrammarError(f"the schema can't be followed: {_sentence(tried.stdout.decode())}")


def guides_of(pair: Pair, vocab_size: int, end_ids: Collection[int]) -> GuideMaker | None:
    """What compiles grammars for the pair's tokenizer; None where llguidance is not installed."""
    return GuideMaker(pair.tokenizer, vocab_size, end_ids) if find_spec("llguidance") else None


class CompiledGrammar:
    """A grammar that answers can be guided by; it may be handed from thread to thread."""

    def __init__(self, digest: int, matcher: Any, words: int) -> None:
        self.digest = digest
        self.words = words
        self._matcher = matcher

    def guide(self) -> Guide:
        """For one answer, at its beginning."""
        return Guide(self._matcher.deep_copy(), self.words)


class Guide:
    """Where an answer stands in its grammar. To be used on one thread."""

    def __init__(self, matcher: Any, words: int) -> None:
        self._matcher, self._words = matcher, words
        self._ids: list[int] = []  # that the matcher has taken in

    def follow(self, ids: Sequence[int]) -> None:
        """Stand behind `ids`, all of the answer so far. Raises GrammarError where no answer begins so, or that takes too long to tell."""
        same = common_length(self._ids, ids)
        if same < len(self._ids):
            self._matcher.rollback(len(self._ids) - same)
            del self._ids[same:]
        fresh = list(ids[same:])
        taken = self._matcher.try_consume_tokens(fresh)
        self._ids += fresh[:taken]
        self._require_sound()
        if taken < len(fresh):
            raise GrammarError(f"the text leaves the grammar at its id {same + taken}")

    def masks(self, drafted: Sequence[int] = ()) -> Masks:
        """What may come next, and behind each of `drafted` [len(drafted) + 1, words]; behind one that may not come, anything.

        Raises GrammarError where the grammar proves too complex here.
        """
        masks = np.full((len(drafted) + 1, self._words), 0xFFFFFFFF, np.uint32)
        taken = 0
        for place in range(len(masks)):
            row = masks[place]
            self._matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
            if place == len(drafted) or self._matcher.try_consume_tokens([drafted[place]]) == 0:
                break
            taken += 1
        self._require_sound()
        if taken:
            self._matcher.rollback(taken)
        return masks

    def forced(self) -> list[int]:
        """Ids that come next whatever the model says, as the tokenizer writes them; a model may write the same text by others."""
        ids: list[int] = self._matcher.compute_ff_tokens()
        return ids

    def only(self) -> int | None:
        """The id that comes next, where no other may."""
        ids = np.flatnonzero(allowed(self.masks(), self._words * _WORD_BITS)[0])
        return int(ids[0]) if len(ids) == 1 else None

    def _require_sound(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"the grammar is too complex to be followed here: {_told(self._matcher)}")


def allowed(masks: Masks, vocab_size: int) -> NDArray[np.bool_]:
    """The masks as booleans [places, vocab_size]."""
    bits = np.unpackbits(masks.astype("<u4", copy=False).view(np.uint8), axis=1, bitorder="little", count=vocab_size)
    return bits.view(np.bool_)


def nothing(places: int, words: int) -> Masks:
    """Masks by which no id may come."""
    return np.zeros((places, words), np.uint32)


def rules_of(grammar: Grammar) -> str:
    """The grammar in the language of llguidance, a dialect of Lark's. Raises GrammarError."""
    said = grammar.read()
    if "schema" in said:
        return f"start: {_json(said['schema'], ', ', ': ')}"
    style = STYLES[said["style"]]
    calls = [
        f"call_{number}: {_literal(style.before + _head(name, style.item, style.key))} "
        f"{_json(schema, style.item, style.key)} {_literal('}' + style.after)}"
        for number, (name, schema) in enumerate(said["calls"])
    ]
    names = " | ".join(f"call_{number}" for number in range(len(calls)))
    return "\n".join([f"start: {style.rule}", f"call: {names}", *calls])


def _head(name: str, item: str, key: str) -> str:
    """A call up to its arguments."""
    return f'{{"name"{key}{json.dumps(name, ensure_ascii=False)}{item}"arguments"{key}'


def _json(schema: dict[str, Any], item: str, key: str) -> str:
    options = {"item_separator": item, "key_separator": key, "whitespace_flexible": False, "lenient": False}
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"


def _literal(text: str) -> str:
    return json.dumps(text)


def _told(matcher: Any) -> str:
    return _sentence(str(matcher.get_error()))


def _sentence(told: str) -> str:
    """The library's sentence, without the place in rules that nobody has written."""
    return _PLACE.sub("", next(iter(told.splitlines()), ""))[:200]
