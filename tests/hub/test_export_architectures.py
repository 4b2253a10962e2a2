"""Every architecture's tiny checkpoint as a draft graph: the device drafts what plain transformers writes, or a sentence says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_node.drafting.drafter import first_tokens
from edge_node.drafting.onnx_drafter import OnnxDrafter
from hub.export.export import TOLERANCE, export_draft
from hub.export.tracing import ExportError
from shared.errors import PairError, SledError
from shared.sampling_parameters import Sampling
from tests.architecture_page import told
from tools.rig.architectures import ARCHITECTURES, CONTEXT, VOCABULARY
from tools.rig.oracle import Oracle, Rule

EXPERTS = "is a mixture of experts, which makes no draft"
# What is said of those that make no draft: by the exporter, or before it by what loads every checkpoint.
REFUSED: dict[str, tuple[type[SledError], str]] = {
    **dict.fromkeys(("mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "granite-moe", "gpt-oss"), (ExportError, EXPERTS)),
    "deepseek-v3": (ExportError, EXPERTS),
    "opt": (ExportError, "OPTForCausalLM makes no draft: its attention needs what a draft graph has not: a mask of its own"),
    "doge": (ExportError, "DogeForCausalLM makes no draft: its attention needs what a draft graph has not: a mask of its own"),
    "falcon": (ExportError, "FalconForCausalLM makes no draft: its attention is not replaceable"),
    "falcon-alibi": (ExportError, "FalconForCausalLM makes no draft: its attention is not replaceable"),
    "bloom": (ExportError, "BloomForCausalLM can't be traced into a draft graph"),
    "gpt-j": (PairError, "takes its attention from a table of its own"),
    "llama4": (PairError, "of type 'chunked_attention'"),
    "lfm2": (PairError, "of type 'conv'"),
    "recurrent-gemma": (PairError, "of type 'recurrent'"),
    **dict.fromkeys(("mamba", "jamba", "qwen3-next"), (PairError, "has recurrent layers")),
    **{name: (PairError, rf"is quantized \({name}\)") for name in ("gptq", "awq")},
}  # fmt: skip
RULES = (Rule(0.0, 0, 1.0, 0), Rule(0.8, 0, 0.9, 7))
PROMPTS = (34, 9)  # ids; behind the longer text, which is longer than a window, the other begins with a rewind
DRAFTED = 20


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in REFUSED])
def test_a_draft_is_what_the_oracle_writes(name: str, tmp_path: Path) -> None:
    folder = ARCHITECTURES[name].save(tmp_path / "checkpoint")
    assert export_draft(folder, tmp_path / "draft.onnx").largest < TOLERANCE
    oracle = Oracle(str(folder), VOCABULARY, (), CONTEXT)
    drafter = OnnxDrafter(tmp_path / "draft.onnx", threads=1, vocab_size=VOCABULARY)
    for length in PROMPTS:
        prompt = torch.randint(1, VOCABULARY, (length,), generator=torch.Generator().manual_seed(length)).tolist()
        for rule in RULES:
            sampling = Sampling(rule.temperature, rule.top_k, rule.top_p, rule.seed)
            drafted = first_tokens(drafter, prompt, DRAFTED, sampling)
            assert drafted == tuple(oracle.confirm(prompt, drafted, rule, DRAFTED))


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_draft_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    folder = ARCHITECTURES[name].save(tmp_path / "checkpoint")
    kind, says = REFUSED[name]
    with pytest.raises(kind, match=says) as refused:
        export_draft(folder, tmp_path / "draft.onnx")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert not (tmp_path / "draft.onnx").exists()


def test_the_page_says_what_makes_a_draft() -> None:
    assert {name: each.draft for name, each in told().items()} == {
        name: "no" if name in REFUSED else "yes" for name in ARCHITECTURES
    }
