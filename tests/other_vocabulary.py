"""The pair `home` with a draft of another vocabulary: the same weights under other ids, with fewer and shorter tokens."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from shared.pair import load_pair

END = "<|stop|>"  # what the draft calls the target's <|end|>
_LEFT_OUT = 500  # of the model's 1,787 merges, the last that were learnt
_EMBEDDING = "model.embed_tokens.weight."  # and the head: its numbers, and what stands for each row of them
_MANIFEST = """schema = 1
name = "foreign"
[target]
checkpoint = "{target}"
[draft]
model = "draft.onnx"
tokenizer = "draft-tokenizer.json"
words = {{"<|end|>" = "{end}"}}
[tokenizer]
file = "tokenizer.json"
chat_template = "chat_template.jinja"
end = ["<|end|>"]
plain = {plain}
"""


def write_foreign_pair(folder: Path) -> Path:
    """Make the pair in `folder`."""
    home = load_pair("home")
    assert home.draft is not None
    for file in (home.tokenizer, home.chat_template):
        shutil.copy(file, folder)
    tokenizer = json.loads(home.tokenizer.read_text())
    ids = _other_ids(tokenizer)
    (folder / "draft-tokenizer.json").write_text(json.dumps(_renumbered(tokenizer, ids)))
    _write_graph(home.draft.model, folder / "draft.onnx", ids)
    (folder / "pair.toml").write_text(_MANIFEST.format(target=home.target, end=END, plain=str(home.plain).lower()))
    return folder


def _other_ids(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """New ids of all tokens, in no order; those that are left out have the last."""
    model = tokenizer["model"]
    left_out = {"".join(merge) for merge in model["merges"][-_LEFT_OUT:]}
    left_out -= {"".join(merge) for merge in model["merges"][:-_LEFT_OUT]}
    kept = [piece for piece in model["vocab"] if piece not in left_out]
    kept += [token["content"] for token in tokenizer["added_tokens"] if token["content"] not in model["vocab"]]
    random.Random(0).shuffle(kept)
    return {piece: i for i, piece in enumerate([*kept, *sorted(left_out)])}


def _renumbered(tokenizer: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    model = tokenizer["model"]
    merges = model["merges"][:-_LEFT_OUT]
    parts = set(model["vocab"]) - {"".join(merge) for merge in model["merges"]}
    known = parts | {"".join(merge) for merge in merges}
    called = {"<|end|>": END}
    added = [
        {**token, "id": ids[token["content"]], "content": called.get(token["content"], token["content"])}
        for token in tokenizer["added_tokens"]
    ]
    vocab = {called.get(piece, piece): ids[piece] for piece in model["vocab"] if piece in known}
    return {**tokenizer, "added_tokens": added, "model": {**model, "vocab": vocab, "merges": merges}}


def _write_graph(source: Path, out: Path, ids: Mapping[str, int]) -> None:
    """The graph with the rows of its embedding in the order of the new ids."""
    home = json.loads(load_pair("home").tokenizer.read_text())
    old = {**home["model"]["vocab"], **{token["content"]: token["id"] for token in home["added_tokens"]}}
    order = np.zeros(len(ids), np.int64)
    for piece, i in ids.items():
        order[i] = old[piece]
    graph = onnx.load(source)
    for tensor in graph.graph.initializer:
        if tensor.name.startswith(_EMBEDDING) and tensor.dims[0] == len(ids):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[order], tensor.name))
    onnx.save(graph, out)
