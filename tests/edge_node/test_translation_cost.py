"""What is said of two vocabularies before anybody drafts with them."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from edge_node.drafting.translation_cost import translation_cost
from shared.errors import PairError
from tests.edge_node.test_translation import between

TEXTS = ["turn on the lights in the kitchen", "unlock the front door, please: café 你好"]


def test_the_same_vocabulary_costs_nothing() -> None:
    cost = translation_cost(between("gpt", "gpt"), TEXTS)
    assert (cost.shared_ids, cost.shared_tokens, cost.draft_steps, cost.alike) == (1, 1, 1, 1)
    assert 0 < cost.held_back < 1


def test_shorter_tokens_cost_steps() -> None:
    both = between("gpt", "home"), between("home", "gpt")
    to, fro = (translation_cost(translation, TEXTS) for translation in both)
    assert to.draft_steps == pytest.approx(1 / fro.draft_steps)
    assert to.draft_steps > 1 > fro.draft_steps
    for cost in (to, fro):
        assert all(0 <= share <= 1 for share in (cost.shared_ids, cost.shared_tokens, cost.held_back, cost.alike))
    tokens = [token for text in TEXTS for token in both[0].target.encode(text.encode())]
    known = sum(both[0].draft.id_of(both[0].target.bytes_of(token)) is not None for token in tokens)
    assert to.shared_tokens == pytest.approx(known / len(tokens))
    assert f"{to.draft_steps:.2f} steps for each token" in to.told


def test_texts_without_a_token_are_refused() -> None:
    with pytest.raises(PairError, match="give some text"):
        translation_cost(between("gpt", "home"), ["", ""])
    assert astuple(translation_cost(between("gpt", "home"), ["a"]))[1] == 1
