"""What an answer keeps to: the grammar that is asked for, else that of the pair's own calls."""

from __future__ import annotations

import logging
from functools import lru_cache

from edge_node.dialogue.calls import schemas_of
from edge_node.dialogue.tokenizer import ChatTokenizer
from shared.errors import GrammarError
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, guides_of
from shared.pair import Pair

log = logging.getLogger(__name__)

_KEPT = 16  # compiled grammars


class Guidance:
    """The grammars of a pair's answers, compiled once for all conversations. For any thread."""

    def __init__(self, pair: Pair, tokenizer: ChatTokenizer, *, own: bool = True) -> None:
        """`own` says whether answers keep to the pair's own calls. Raises PairError for a tools file that is none."""
        self._maker = guides_of(pair, tokenizer.vocab_size, tokenizer.end_ids)
        schemas = schemas_of(pair) if own else None
        self._own = Grammar.of_own_calls(schemas.items()) if schemas else None
        self._compiled = lru_cache(_KEPT)(self._compile)

    def of(self, asked: Grammar | None) -> tuple[Grammar, CompiledGrammar] | None:
        """What an answer keeps to for which `asked` is asked; None where it is free. Raises GrammarError where that can't be had."""
        if asked is not None:
            return asked, self._compiled(asked)
        own = self._own
        if own is None:
            return None
        try:
            return own, self._compiled(own)
        except GrammarError as error:
            log.warning("answers are not kept to the pair's calls: %s", error)
            self._own = None
            return None

    def _compile(self, grammar: Grammar) -> CompiledGrammar:
        if self._maker is None:
            raise GrammarError("answers can't be kept to a schema here: install llguidance")
        _ = grammar.packed  # as large as it may be to be sent
        return self._maker.compile(grammar)
