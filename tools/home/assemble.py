"""Puts a pair together: target, exported draft, tokenizer, template, tools and a manifest with their hashes.

python -m tools.home.assemble --build build/home --out shared/pairs/home
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hub.export.export import export_draft
from hub.pairing.manifest import Written, write_manifest
from shared.pair import DEFAULT, load_pair
from shared.program import run
from tools.home.data.tokenizer import END

_HOME = Path(__file__).parent.parent.parent / "shared" / "pairs" / "home"
_WRITTEN = ("chat_template.jinja", "tools.json")  # written by hand: they lie in the built-in pair
_TARGET_FILES = ("config.json", "generation_config.json", "model.safetensors")


def assemble(out: Path, *, tokenizer: Path, target: Path, draft: Path, name: str = "home") -> None:
    """Write the pair `name` to `out`; `target` and `draft` are checkpoint folders. Raises ExportError, PairError or OSError.

    What is in `out` already is replaced once all is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        fresh = Path(folder)
        (fresh / "target").mkdir()
        for file in _TARGET_FILES:
            shutil.copyfile(target / file, fresh / "target" / file)
        shutil.copyfile(tokenizer, fresh / "tokenizer.json")
        for file in _WRITTEN:
            shutil.copyfile(_HOME / file, fresh / file)
        export_draft(draft, fresh / "draft.onnx", bits=8)
        _write_manifest(fresh, name)
        (out / "target").mkdir(exist_ok=True)
        for path in [path for path in fresh.rglob("*") if path.is_file()]:
            path.replace(out / path.relative_to(fresh))
    load_pair(str(out))


def _write_manifest(folder: Path, name: str) -> None:
    drafts = {DEFAULT: {"model": "draft.onnx"}}
    written = Written(name, "target", "float32", [END], drafts, tools="tools.json", plain=True)
    hashed = (*(f"target/{file}" for file in _TARGET_FILES), "draft.onnx", "tokenizer.json", *_WRITTEN)
    write_manifest(folder, written, hashed)


def main(
    build: Annotated[Path, typer.Option(help="folder of tools.home.train")],
    out: Annotated[Path, typer.Option(help="the pair's folder")],
) -> None:
    """Assemble the pair from what training left in BUILD."""
    assemble(out, tokenizer=build / "tokenizer.json", target=build / "target", draft=build / "draft")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        typer.echo(f"{path.stat().st_size / 1e6:8.2f} MB  {path.relative_to(out)}")


if __name__ == "__main__":
    loaded()
    run("tools.home.assemble", main, RuntimeError)  # torch and ONNX Runtime say so what they can not do
