"""Pairs with several drafts, made of the built-in one, for what delivers them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.pair import MANIFEST, Pair, load_pair


@dataclass(frozen=True)
class Extra:
    """One more draft: its file's contents, and what is said of it."""

    content: bytes
    acceptance: float = 0.9
    step_bytes: int = 1000


def pair_with_drafts(folder: Path, extras: Mapping[str, Extra]) -> Pair:
    """A copy of the built-in pair in `folder`, which is its name, with more drafts; an older one there is written over."""
    built_in = load_pair("home").folder
    shutil.copytree(built_in, folder, dirs_exist_ok=True)
    tables = ""
    for name, extra in extras.items():
        (folder / f"{name}.onnx").write_bytes(extra.content)
        tables += f'[drafts."{name}"]\nmodel = "{name}.onnx"\nacceptance = {extra.acceptance}\nstep_bytes = {extra.step_bytes}\n\n'
    text = (built_in / MANIFEST).read_text(encoding="utf-8")
    text = text.replace('name = "home"', f'name = "{folder.name}"').replace("[exit]", f"{tables}[exit]")
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return load_pair(str(folder))
