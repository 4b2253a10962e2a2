"""The benchmark of architectures: real hubs under both transformers, and that it sees what is not the oracle's."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import SettingsError
from tests.tools.benches import bench
from tools.bench.architectures import MAX_TOKENS, RULES, judged, summed
from tools.rig.architectures import ARCHITECTURES, END, VOCABULARY
from tools.rig.oracle import Oracle

PROMPT = list(range(5, 14))


@pytest.mark.slow
def test_what_is_served_refused_and_drafted_by_both_transformers() -> None:
    figures = bench("architectures", "--name", "gemma2", "--name", "opt")
    assert list(figures) == ["gemma2", "opt"]
    gemma, opt = figures.values()
    assert gemma["mismatches"] == opt["mismatches"] == 0
    four, five = sorted(gemma["transformers"])
    assert (four[0], five[0]) == ("4", "5")
    assert gemma["compared"] == sum(each["compared"] for each in gemma["transformers"].values()) > 100
    assert all(each["acceptance"] > 0.95 for each in gemma["transformers"].values())
    assert "draft_refused" not in gemma
    assert "a mask of its own" in opt["draft_refused"]
    assert "a mask of its own" in opt["transformers"][four]["refused"]
    assert opt["compared"] == opt["transformers"][five]["compared"] > 50


def test_an_answer_that_is_not_the_oracles_is_counted(tmp_path: Path) -> None:
    folder = ARCHITECTURES["qwen2"].save(tmp_path)
    oracle = Oracle(str(folder), VOCABULARY, [END], 192)
    right = [(PROMPT, rule, oracle.answer(PROMPT, rule, MAX_TOKENS)) for rule in RULES]
    ids = sum(len(answer) for _, _, answer in right)
    assert judged(oracle, right) == (ids, 0)
    prompt, rule, answer = right[1]
    wrong = [*answer[:4], (answer[4] + 1) % VOCABULARY, *answer[5:]]
    assert judged(oracle, [right[0], (prompt, rule, wrong)]) == (ids, 1)
    assert judged(oracle, [right[0], (prompt, rule, answer[:4])]) == (ids, 1)


def test_figures_over_both_versions() -> None:
    four, five = ({"compared": n, "mismatches": n - 3, "acceptance": None} for n in (3, 4))
    refused = {"refused": "no"}
    assert summed({"4": four, "5": five}, None) == {
        "compared": 7,
        "mismatches": 1,
        "transformers": {"4": four, "5": five},
    }
    assert summed({"4": refused, "5": five}, "none") == {
        "compared": 4,
        "mismatches": 1,
        "draft_refused": "none",
        "transformers": {"4": refused, "5": five},
    }
    assert summed({"4": refused, "5": refused}, None) == {"refused": "no", "transformers": {"4": refused, "5": refused}}


def test_names_and_pythons_that_are_not_there() -> None:
    with pytest.raises(SettingsError, match="there is no architecture 'lama'; use one of llama, "):
        bench("architectures", "--name", "lama")
    with pytest.raises(SettingsError, match="there is no /nowhere/python; name a Python that has transformers 5"):
        bench("architectures", "--name", "llama", "--other", "/nowhere/python")
