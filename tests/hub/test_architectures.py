"""Every architecture's tiny checkpoint through the target: the oracle's text in every way in which ids are fed, or a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from hub.model.batch import Row
from hub.model.target import Target
from shared.errors import PairError
from tests.architecture_page import told
from tools.rig.architectures import ARCHITECTURES, END, VOCABULARY
from tools.rig.oracle import Oracle, Rule, choose

FOUR = transformers.__version__.startswith("4.")
RECURRENT = "has recurrent layers"
# What the hub says of those that it does not serve, with transformers 4 and 5 if that is not the same; None where it serves.
REFUSED: dict[str, str | tuple[str | None, str | None]] = {
    "gpt-j": "takes its attention from a table of its own",
    "granite-moe": ("a mask of its own", None),
    "opt": ("a mask of its own", None),
    "falcon": ("does not compute this target as plain transformers does", "not replaceable"),
    "falcon-alibi": ("does not compute this target as plain transformers does", "not replaceable"),
    "bloom": ("not replaceable", "does not compute this target as plain transformers does"),
    "doge": "a mask of its own",
    "gpt-oss": "s_aux",
    "deepseek-v3": "values that are not of the size of keys",
    "llama4": "layer 0 .* is of type 'chunked_attention'",
    "mamba": RECURRENT,
    "jamba": RECURRENT,
    "lfm2": "layer 0 .* is of type 'conv'",
    "recurrent-gemma": ("layer 0 .* is of type 'recurrent'", RECURRENT),
    "qwen3-next": RECURRENT,
    "gptq": r"is quantized \(gptq\)",
    "awq": r"is quantized \(awq\)",
}
# Their experts are multiplied by torch's own products, and the shared expert's gate is no layer.
NOT_EXACT = {"qwen2-moe"} if FOUR else {"mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "granite-moe"}
GREEDY, SAMPLED = Rule(0.0, 0, 1.0, 0), Rule(0.8, 0, 0.9, 7)
ASKED = ((9, GREEDY), (34, GREEDY), (34, SAMPLED))  # ids of a prompt, and how it is answered
ANSWER = 20  # ids: the longer texts are longer than a window
BLOCK = 5
ROUNDING = 1e-3  # of the spread of logits; a window that is off by one moves them by more


def refusal(name: str) -> str | None:
    said = REFUSED.get(name)
    return said if isinstance(said, str) or said is None else said[0 if FOUR else 1]


SERVED = [name for name in ARCHITECTURES if refusal(name) is None]


def load(folder: Path) -> Target:
    return Target(folder, device=torch.device("cpu"), dtype=torch.float32, kv_memory=4 << 20)


def prompt(length: int) -> list[int]:
    ids: list[int] = torch.randint(
        END + 1, VOCABULARY, (length,), generator=torch.Generator().manual_seed(length)
    ).tolist()
    return ids


def written(target: Target, asked: Sequence[tuple[list[int], Rule]]) -> list[list[int]]:
    """What a target writes behind prompts, id by id: the oracle confirms that sooner than it writes it, or says what is right."""
    texts, held = [list(ids) for ids, _ in asked], [list[int]() for _ in asked]
    for ids, pages in zip(texts, held, strict=True):
        target.pool.grow(pages, len(ids) + ANSWER)
    starts = [0] * len(asked)
    for _ in range(ANSWER):
        rows = [Row(pages, at, tuple(ids[at:]), 1) for ids, pages, at in zip(texts, held, starts, strict=True)]
        logits = target.forward(rows).double().numpy()
        starts = [len(ids) for ids in texts]
        for ids, (_, rule), row in zip(texts, asked, logits, strict=True):
            ids.append(choose(row[:VOCABULARY], rule, len(ids)))
    for pages in held:
        target.pool.shrink(pages, 0)
    return [ids[len(before) :] for ids, (before, _) in zip(texts, asked, strict=True)]


class Text:
    """A prompt, and the oracle's answer to it, as a target may be given them."""

    def __init__(self, target: Target, oracle: Oracle, ids: list[int], rule: Rule, likely: list[int]) -> None:
        """The answer is probably `likely`."""
        self.target, self.rule, self.prompt = target, rule, ids
        answer = oracle.confirm(ids, likely, rule, ANSWER)
        self.ids = [*ids, *answer]
        self.logits = oracle.logits(ids, answer)
        self.pages: list[int] = []
        target.pool.grow(self.pages, len(self.ids) + BLOCK)

    def row(self, start: int, end: int, wanted: int) -> Row:
        """Ids [start, end) of the text, with logits behind the last `wanted`."""
        return Row(self.pages, start, tuple(self.ids[start:end]), wanted)

    def check(self, start: int, logits: Sequence[torch.Tensor]) -> None:
        """Whether logits [vocab] behind the ids from `start` on are the oracle's, and its rule draws the answer's ids from them."""
        for place, row in enumerate(logits, start + 1):
            if len(self.prompt) <= place < len(self.ids):
                got, expected = row.double().numpy()[:VOCABULARY], self.logits[place - len(self.prompt)]
                assert np.abs(got - expected).max() < ROUNDING * expected.std(), f"id {place} of {len(self.ids)}"
                assert choose(got, self.rule, place) == self.ids[place], f"id {place} of {len(self.ids)}"


def feed(texts: Sequence[Text], starts: Sequence[int], step: int, wrong: Sequence[int] = ()) -> None:
    """Feed what follows the first ids of each text, in steps, each behind ids that are wrong and truncated; check all logits."""
    target, at = texts[0].target, dict(zip(texts, starts, strict=True))
    target.forward([text.row(0, start, 0) for text, start in at.items()])
    while running := {text: start for text, start in at.items() if start < len(text.ids)}:
        if wrong:
            target.forward([Row(text.pages, start, tuple(wrong), len(wrong)) for text, start in running.items()])
        rows = {
            text: text.row(start, end := min(start + step, len(text.ids)), end - start)
            for text, start in running.items()
        }
        logits = iter(target.forward(list(rows.values())))
        for text, row in rows.items():
            text.check(row.start, [next(logits) for _ in row.ids])
            at[text] = row.end


@pytest.fixture(params=SERVED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_text_is_the_oracles_however_its_ids_are_fed(name: str, tmp_path: Path) -> None:
    folder = ARCHITECTURES[name].save(tmp_path)
    target = load(folder)
    assert target.is_exact is (name not in NOT_EXACT)
    oracle = Oracle(str(folder), VOCABULARY, (), target.context)  # goes on behind an end
    asked = [(prompt(length), rule) for length, rule in ASKED]
    texts = [Text(target, oracle, *each, likely) for each, likely in zip(asked, written(target, asked), strict=True)]
    feed(texts[-1:], [len(texts[-1].prompt) - 1], 1)
    feed(texts, [1, 3, 2], BLOCK, wrong=range(END + 1, END + 1 + BLOCK))
    feed(texts, [len(text.prompt) - 1 for text in texts], 1)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if refusal(name) is not None])
def test_what_is_not_served_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    folder = ARCHITECTURES[name].save(tmp_path)
    with pytest.raises(PairError, match=refusal(name)) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_the_page_says_what_is_served() -> None:
    says = {name: each.with_4 if FOUR else each.with_5 for name, each in told().items()}
    assert says == {name: "served" if name in SERVED else "refused" for name in ARCHITECTURES}


def test_every_refusal_is_of_an_architecture() -> None:
    assert set(REFUSED) | NOT_EXACT <= set(ARCHITECTURES)
