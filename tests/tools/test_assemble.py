from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import first_tokens
from edge_node.drafts import load_drafter
from shared.pair import MANIFEST, load_pair
from shared.sampling_parameters import Sampling
from tools.exits.manifest import record
from tools.home.assemble import assemble
from tools.home.calibrate import write_confidence
from tools.home.training.model import home_config, new_model


def test_an_assembled_pair_is_the_built_in_one_but_for_its_draft(tmp_path: Path) -> None:
    """Its draft has random weights, and is really exported."""
    home = load_pair("home")
    torch.manual_seed(0)
    new_model(home_config(1, Tokenizer.from_file(str(home.tokenizer)))).save_pretrained(tmp_path / "draft")
    out = tmp_path / "pair"
    assemble(out, tokenizer=home.tokenizer, target=Path(home.target), draft=tmp_path / "draft")
    assert home.exit_head is not None
    shutil.copy(home.exit_head, out)
    record(out / MANIFEST, home.exit_head.name)
    assert home.confidence is not None
    write_confidence(str(out), home.confidence)
    pair = load_pair(str(out))
    exported = hashlib.sha256((out / "draft.onnx").read_bytes()).hexdigest()
    assert pair.sha256 == {**home.sha256, "draft.onnx": exported}
    manifest = (out / MANIFEST).read_text()
    assert manifest == (home.folder / MANIFEST).read_text().replace(home.sha256["draft.onnx"], exported)
    tokenizer = ChatTokenizer(pair)
    drafter = load_drafter(pair, 1, tokenizer)
    assert drafter.context == 1024
    drafted = first_tokens(drafter, tokenizer.prompt([Turn("user", "hello")]), 4, Sampling())
    assert len(drafted) == 4
    assert all(0 <= token < tokenizer.vocab_size for token in drafted)
