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

from shared.errors import GrammarError, GrammarUntried
from shared.grammar import STYLES, Grammar
from shared.pair import Pair
from shared.text_file import read_text
from shared.transcript import common_length

_WORD_BITS = 32
_LARGE_VOCAB = 8192  # ids
# A grammar that is meant well stays far below these; one that is not ends in an error in a fraction of a second: docs/grammars.md.
_LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 10_000,
    "max_items_in_row": 1_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 30_000,
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
        self._text = ""  # of the tokenizer's file

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
        compiled = CompiledGrammar(
            grammar.digest, matcher, -(-self._vocab_size // _WORD_BITS), frozenset(self._end_ids)
        )
        Guide(compiled).masks(())
        return compiled

    def _loaded(self) -> Any:
        """The tokenizer, as llguidance has it. Raises GrammarError."""
        from llguidance import LLTokenizer

        described = self._described()
        try:
            return LLTokenizer(described, self._vocab_size, self._end_ids, _slices(self._vocab_size))
        except Exception as error:  # whatever the library makes of a file that it does not know
            raise GrammarError(f"answers by this pair's tokenizer can't be guided: {error}") from None

    def _described(self) -> str:
        """The tokenizer's file, without what it may say of lengths. Raises GrammarError."""
        if not self._text:
            text = read_text(self._path, "the tokenizer", GrammarError, most=_MOST_TOKENIZER)
            try:
                self._text = json.dumps(json.loads(text) | {"truncation": None, "padding": None})
            except (ValueError, TypeError, RecursionError):
                raise GrammarError(f"{self._path} is not a tokenizer file") from None
        return self._text

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
            raise GrammarUntried(f"the schema can't be tried: {error.__class__.__name__}") from None
        if tried.returncode > 0 and b"MemoryError" not in tried.stderr:
            raise GrammarUntried(f"the schema can't be tried: {tried.stderr.decode(errors='replace')[-200:]}")
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
    """A grammar that answers can be guided by; it may be handed from thread to thread. What its guides find out on the way they share."""

    def __init__(self, digest: int, matcher: Any, words: int, end_ids: frozenset[int]) -> None:
        self.digest = digest
        self.words = words
        self.end_ids = end_ids
        self.guides = 0  # made so far
        self._matcher = matcher

    def guide(self) -> Guide:
        """For one answer, at its beginning."""
        self.guides += 1
        return Guide(self)

    def matcher(self) -> Any:
        """A matcher of llguidance at the beginning of a text."""
        return self._matcher.deep_copy()


class Guide:
    """What may come where in one answer, by the answer's ids so far. To be used on one thread; texts that go on from the last are cheap."""

    def __init__(self, grammar: CompiledGrammar) -> None:
        self.grammar = grammar
        self._words, self._end_ids = grammar.words, grammar.end_ids
        self.renew()

    def renew(self) -> None:
        """Begin anew: behind an error the library follows nothing more, and a drafted id may have been at fault alone."""
        self._matcher = self.grammar.matcher()
        self._ids: list[int] = []  # that the matcher has taken in

    def follow(self, ids: Sequence[int]) -> None:
        """Raise GrammarError where no answer goes on behind `ids`, or where that takes too long to tell."""
        same = common_length(self._ids, ids)
        if same < len(self._ids):
            # Not by rollback: of ten thousand places it left one at which llguidance 1.9.1 allowed other ids than a matcher that had come straight there.
            self.renew()
            same = 0
        fresh = list(ids[same:])
        taken = self._matcher.try_consume_tokens(fresh) if fresh else 0
        self._ids += fresh[:taken]
        self._require_sound(self._matcher)
        if taken < len(fresh) or (self._ids and self._ids[-1] in self._end_ids):
            raise GrammarError(f"the text leaves the grammar at its id {same + taken}")

    def masks(self, ids: Sequence[int], drafted: Sequence[int] = ()) -> Masks:
        """What may come behind `ids`, and behind each of `drafted` too [len(drafted) + 1, words]; behind one that may not come or that ends the answer, anything.

        Raises GrammarError where the text leaves the grammar or has ended, or that proves too complex here.
        """
        self.follow(ids)
        masks = np.full((len(drafted) + 1, self._words), 0xFFFFFFFF, np.uint32)
        matcher, size, at = self._matcher.deep_copy() if drafted else self._matcher, masks.strides[0], masks.ctypes.data
        matcher.unsafe_compute_mask_ptr(at, size)
        for place, token in enumerate(drafted, start=1):
            if token in self._end_ids or not matcher.try_consume_tokens([token]):
                break
            matcher.unsafe_compute_mask_ptr(at + place * size, size)
        self._require_sound(matcher)
        return masks

    def certain(self, ids: Sequence[int]) -> list[int]:
        """What comes behind `ids` whatever the model says, none where there is a choice. Raises GrammarError as `masks` does."""
        self.follow(ids)
        forced: list[int] = self._matcher.compute_ff_tokens()
        if forced:
            return forced
        left = np.flatnonzero(allowed(self.masks(ids), self._words * _WORD_BITS)[0])
        return [int(left[0])] if len(left) == 1 else []

    def _require_sound(self, matcher: Any) -> None:
        if matcher.is_error():
            raise GrammarError(f"the grammar is too complex to be followed here: {_told(matcher)}")


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


def _slices(vocab_size: int) -> list[str] | None:
    """Parts of the vocabulary that llguidance looks at as one; in a small vocabulary that takes longer than to look at each id."""
    return [] if vocab_size < _LARGE_VOCAB else None


def _literal(text: str) -> str:
    return json.dumps(text)


def _told(matcher: Any) -> str:
    return _sentence(str(matcher.get_error()))


def _sentence(told: str) -> str:
    """The library's sentence, without the place in rules that nobody has written."""
    return _PLACE.sub("", next(iter(told.splitlines()), ""))[:200]
