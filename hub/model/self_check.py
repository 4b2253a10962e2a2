"""Whether a target computes the model: its logits beside those of plain `transformers`, with the same weights.

Logits are compared by how far they are off: the root mean square of the differences, as a share of the spread of the plain
ones. Measured on a CPU with 30 architectures of random weights, the built-in pair and SmolLM2-135M, paged attention is off by
3e-7 to 5e-6 in float32. In other types it is off by what two attentions of transformers itself (`_PLAIN`, `_OTHER`) differ by,
give or take a tenth: 0.002 to 0.07 in bfloat16, a tenth of that in float16, and as much as 0.37 in int8 and bfloat16, since a
product that is rounded to another integer is no small difference. Models that are computed wrong are off by 0.04 to 1. So in
float32 there is one tight bound, and in other types it is `_TIMES` the difference between those two, within limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from hub.kv.pages import OutOfPages, PagePool
from hub.model.attention_tables import use_attention
from hub.model.batch import Inputs, Row
from hub.model.probe_rows import probe_rows
from shared.errors import PairError, SettingsError, brief

_NOT_REPLACEABLE = "the target's attention is not replaceable in this version of transformers; choose another"

_PLAIN = "eager"  # transformers' attention that follows the definition of the architecture to the letter
_OTHER = "sdpa"  # and one that rounds otherwise, and may leave out what an architecture has beyond softmax
_LENGTH = 36  # ids of each text: more than two pages
_PARTS = ((19, 17), (1, 9), (1, 1), (15, 9))  # ids of each text that the forwards of the second pass are given
_ALONE = 8  # last ids of the first text that are given one by one
_EXACT = 1e-4  # bound in float32
_LEAST = 0.05  # least bound in other types
_MOST = 0.7  # and the largest
_TIMES = 2


class Computing(Protocol):
    """The part of a target that is checked."""

    pool: PagePool
    context: int

    def prepare(self, rows: Sequence[Row]) -> Inputs:
        """The rows as tensors."""

    def compute(self, inputs: Inputs) -> torch.Tensor:
        """Logits [wanted, vocab]."""


class SelfCheck:
    """Two texts, and the logits that plain `transformers` gives for them."""

    @torch.inference_mode()
    def __init__(self, model: Any, attention: str, context: int, *, rounded: bool) -> None:
        """Compute them with `model`, whose attention is to be the function called `attention` again afterwards.

        `rounded` says that it multiplies in int8. Raises PairError where that can't be computed.
        """
        self._texts = _texts(model, min(_LENGTH, context))
        try:
            self._plain = _logits(model, self._texts, _PLAIN)
            exact = model.dtype is torch.float32 and not rounded
            self.bound = _EXACT if exact else self._measured_bound(model)
        except Exception as error:
            # Architectures fail in many ways over an attention that can't be chosen.
            raise PairError(f"{_NOT_REPLACEABLE} ({brief(error)})") from error
        finally:
            use_attention(model, attention)
        if not bool(self._plain.isfinite().all()):
            dtype = str(model.dtype).removeprefix("torch.")
            raise PairError(
                f"the target gives NaN or infinity in {dtype}; copy its checkpoint again, or choose a --dtype that has room "
                "for its numbers"
            )

    @property
    def text(self) -> tuple[int, ...]:
        """Ids that have an embedding and no meaning to the model itself."""
        return self._texts[0]

    def compare(self, target: Computing) -> bool:
        """Raise PairError unless `target` computes the same, up to rounding: in a block, one by one, and beside other texts.

        Returns whether all of these give the same bits. Raises SettingsError where its pages are too few for two short texts.
        """
        try:
            ways = {
                "in a block": self._paged(target, ((_LENGTH, _LENGTH),)),
                "a few ids at a time": self._paged(target, _PARTS),
                "one id at a time": self._paged(target, ((_LENGTH - _ALONE, 0), *(((1, 0),) * _ALONE), (0, _LENGTH))),
                "beside a text as long as the context": self._beside_a_long_one(target),
            }
        except (PairError, SettingsError):
            raise
        except OutOfPages as error:
            raise SettingsError(
                f"kv_memory is too small for two short texts ({error}); give the hub more memory"
            ) from None
        except Exception as error:
            raise PairError(f"{_NOT_REPLACEABLE} ({brief(error)})") from error
        for how, logits in ways.items():
            off = self._off(logits)
            if not off <= self.bound:  # so also of a NaN
                raise PairError(
                    f"the hub does not compute this target as plain transformers does: {how} its logits are off by {off:.2%} of "
                    f"their spread, and rounding explains {self.bound:.2%}; choose another target"
                )
        first, *others = ways.values()
        return all(torch.equal(first, other) for other in others)

    def _measured_bound(self, model: Any) -> float:
        try:
            other = self._off(_logits(model, self._texts, _OTHER))
        except (ValueError, ImportError):  # an architecture that has but one attention
            other = 0.0
        return min(_MOST, max(_LEAST, _TIMES * other))

    def _off(self, logits: torch.Tensor) -> float:
        """How far logits [texts, ids, vocab] are off."""
        spread = self._plain - self._plain.mean(-1, keepdim=True)
        least = torch.finfo(torch.float32).tiny
        return float((logits - self._plain).norm() / spread.norm().clamp_min(least))

    def _paged(self, target: Computing, parts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Logits [texts, ids, vocab] by forwards of `target`, each over as many ids of the texts as one of the parts says."""
        logits = torch.empty_like(self._plain)
        with probe_rows(target.pool, [(0, len(text)) for text in self._texts]) as whole:
            starts = [0] * len(whole)
            for part in parts:
                texts = zip(whole, starts, part, self._texts, strict=True)
                rows = [replace(row, start=at, ids=text[at : at + fed]) for row, at, fed, text in texts]
                given = [replace(row, wanted=len(row.ids)) for row in rows if row.ids]
                if given:  # a context may be shorter than the parts
                    told = target.compute(target.prepare(given)).float()
                    at = [(text, place) for text, row in enumerate(rows) for place in range(row.start, row.end)]
                    logits[[text for text, _ in at], [place for _, place in at]] = told
                starts = [row.end for row in rows]
        return logits

    def _beside_a_long_one(self, target: Computing) -> torch.Tensor:
        """The same in a forward that has the last position of the context too, of which rotary factors may depend."""
        with probe_rows(target.pool, [*((0, len(text)) for text in self._texts), (0, 1)]) as (*whole, long):
            rows = [replace(row, ids=text) for row, text in zip(whole, self._texts, strict=True)]
            inputs = target.prepare([*rows, long])
            positions = inputs.positions.clone()
            positions[0, -1] = target.context - 1
            return target.compute(replace(inputs, positions=positions))[:-1].float().view_as(self._plain)


def _texts(model: Any, length: int) -> list[tuple[int, ...]]:
    """Two texts of ids that have an embedding and no meaning to the model itself, as padding and the like have."""
    special = {
        value for name, value in vars(model.config).items() if name.endswith("_token_id") and isinstance(value, int)
    }
    embedding = model.get_input_embeddings().weight
    there = embedding.detach().isfinite().all(1).nonzero()[:, 0].tolist()
    usable = [token for token in there if token not in special] or [0]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(usable), (2, length), generator=generator).tolist()
    return [tuple(usable[place] for place in text) for text in drawn]


def _logits(model: Any, texts: Sequence[Sequence[int]], attention: str) -> torch.Tensor:
    """Logits [texts, ids, vocab] of plain `transformers`, float32."""
    use_attention(model, attention)
    logits: torch.Tensor = model(input_ids=torch.tensor(texts, device=model.device), use_cache=False).logits
    return logits.float()
