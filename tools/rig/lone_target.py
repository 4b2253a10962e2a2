"""A hub's target with a single session: the hub's own kernels, no row beside it, one id at a time."""

from __future__ import annotations

from collections.abc import Sequence

from hub.model.batch import Row
from hub.model.target import Target
from tools.rig.oracle import Rule, choose


class LoneTarget:
    """Decodes as `Oracle` does, by forwards of the hub's target. The sampling rule is the oracle's."""

    def __init__(self, target: Target, vocab_size: int, end_ids: Sequence[int], context: int) -> None:
        """`context` is the number of ids that a text can have, `vocab_size` that of the ids that there are."""
        self._target = target
        self._vocab_size = vocab_size
        self._end_ids = frozenset(end_ids)
        self._context = context

    def answer(self, prompt: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """The ids that the target writes behind `prompt`, the end-of-turn id included: the prompt in one forward, then each id."""
        ids, fed, pages = list(prompt), 0, list[int]()
        try:
            while len(ids) < min(len(prompt) + max_tokens, self._context):
                self._target.pool.grow(pages, len(ids))
                logits = self._target.forward([Row(pages, fed, tuple(ids[fed:]), 1)])[0, : self._vocab_size]
                fed = len(ids)
                ids.append(choose(logits.double().cpu().numpy(), rule, len(ids)))
                if ids[-1] in self._end_ids:
                    break
        finally:
            self._target.pool.shrink(pages, 0)
        return ids[len(prompt) :]
