"""A draft's short head: which ids it has, and that it says of them what the whole one says."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

from edge_node.drafting.onnx_drafter import OnnxDrafter
from hub.export.export import export_draft
from hub.export.head import frequent_ids
from hub.export.tracing import ExportError
from shared.program import Program
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from tests.full_disk import full_disk
from tests.odd_inputs.case import judge, run
from tools.export import main

WORDS = [f"w{number}" for number in range(200)]
TEXT = [f"w150 w151 w{number} w150" for number in range(40, 80)]


@pytest.fixture
def checkpoint(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A model with a tokenizer of words, whose last id is a special one."""
    folder = tmp_path / "checkpoint"
    torch.manual_seed(0)
    shape = {"vocab_size": 201, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 64}  # fmt: skip
    tied = getattr(request, "param", True)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**shape, initializer_range=0.2, tie_word_embeddings=tied))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_the_ids_are_those_that_come_up_most_and_the_special_ones(checkpoint: Path) -> None:
    assert frequent_ids(checkpoint, TEXT, 3) == [150, 151, 200]
    assert frequent_ids(checkpoint, TEXT, 50) == [*range(7), *range(40, 80), 150, 151, 200]
    assert frequent_ids(checkpoint, [], 4) == [0, 1, 2, 200]
    with pytest.raises(ValueError, match="a head of 201 ids is no shorter: the tokenizer has 201"):
        frequent_ids(checkpoint, TEXT, 201)
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        frequent_ids(checkpoint, TEXT, 3)


def test_numbers_that_are_no_ids_are_not_in_the_head(tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"w0": 0, "w1": 5, "w2": 9}, unk_token="w0")).save(str(tmp_path / "tokenizer.json"))
    assert frequent_ids(tmp_path, [], 2) == [0, 5]


@pytest.mark.parametrize("checkpoint", [True, False], indirect=True)
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_short_head_says_what_the_whole_one_says_of_its_ids(
    checkpoint: Path, tmp_path: Path, bits: int | None
) -> None:
    ids = [3, 5, 8, 13, 150, 200]
    export_draft(checkpoint, tmp_path / "whole.onnx", bits=bits)
    export_draft(checkpoint, tmp_path / "short.onnx", bits=bits, head=ids)
    whole, short = OnnxDrafter(tmp_path / "whole.onnx"), OnnxDrafter(tmp_path / "short.onnx")
    for fed in ([9, 30, 7], [150], [199, 4]):
        expected, logits = whole.feed(fed), short.feed(fed)
        np.testing.assert_allclose(logits[ids], expected[ids], rtol=1e-5, atol=1e-5)
        assert set(np.flatnonzero(np.isfinite(logits))) == set(ids)
        for sampling in (Sampling(), Sampling(temperature=1.0, seed=5), Sampling(temperature=2.0, top_p=0.7, seed=6)):
            assert draw(logits, sampling, 40) in ids
    drafted = [guess for guess in islice(short.draft([9, 30, 7], Sampling(temperature=1.5, seed=1)), 20) if guess]
    assert {guess.token for guess in drafted} <= set(ids)
    assert all(guess.runner_up in ids for guess in drafted)
    assert all(0 < guess.confidence <= 1 for guess in drafted)


def test_nothing_of_the_whole_head_is_left_in_the_file(checkpoint: Path, tmp_path: Path) -> None:
    export_draft(checkpoint, tmp_path / "short.onnx", bits=8, head=[3, 5, 8])
    sizes = {t.name: t.dims[0] for t in onnx.load(tmp_path / "short.onnx").graph.initializer if "lm_head" in t.name}
    assert set(sizes.values()) <= {3, 2}, "rows, and the two numbers of a shape"


def test_the_command_counts_in_the_text_and_says_what_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "said.txt", tmp_path / "draft.onnx"
    text.write_text("\n".join(TEXT))
    app = Program("tools.export")
    app.command()(main)
    judge(run(app, [str(checkpoint), str(out), "--head", "3"]), 1, "--head and --text go together")
    judge(run(app, [str(checkpoint), str(out), "--head", "300", "--text", str(text)]), 1, "no shorter")
    assert not out.exists()
    assert run(app, [str(checkpoint), str(out), "--head", "3", "--text", str(text)]).status == 0
    assert set(np.flatnonzero(np.isfinite(OnnxDrafter(out).feed([1, 2])))) == {150, 151, 200}
    with pytest.raises(ExportError):
        export_draft(checkpoint, out, bits=3, head=[1, 2])


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_full_disk_leaves_the_graph_that_was_there(checkpoint: Path, tmp_path: Path, room: int) -> None:
    out = tmp_path / "out" / "draft.onnx"
    out.parent.mkdir()
    out.write_bytes(b"before")
    app = Program("tools.export", RuntimeError)
    app.command()(main)
    with full_disk(room):
        judge(run(app, [str(checkpoint), str(out)]), 1, "tools.export: ")
    assert [(path.name, path.read_bytes()) for path in out.parent.iterdir()] == [("draft.onnx", b"before")]
