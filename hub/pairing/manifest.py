"""Writes a pair's manifest, with the hashes of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.file_hash import sha256_of
from shared.pair import DEFAULT, MANIFEST
from shared.sampling_parameters import Sampling
from shared.toml_text import toml_text


@dataclass(frozen=True)
class Written:
    """What a manifest says beside the hashes; files are paths in the pair's folder. `drafts` are the keys of each draft's table, by its name."""

    name: str
    checkpoint: str
    dtype: str
    end: Sequence[str]
    drafts: dict[str, dict[str, Any]] = field(default_factory=dict)
    tools: str | None = None
    defaults: Sampling = field(default_factory=Sampling)


def write_manifest(folder: Path, written: Written, files: Iterable[str]) -> None:
    """Write `pair.toml` into `folder`, with the hashes of `files` there."""
    tables: dict[tuple[str, ...], dict[str, Any]] = {
        ("target",): {"checkpoint": written.checkpoint, "dtype": written.dtype}
    }
    for name, facts in written.drafts.items():
        tables[("draft",) if name == DEFAULT else ("drafts", name)] = facts
    tables["tokenizer",] = {
        "file": "tokenizer.json",
        "chat_template": "chat_template.jinja",
        "end": list(written.end),
    }
    if written.tools is not None:
        tables["tools",] = {"file": written.tools}
    chosen = written.defaults
    tables["defaults",] = {"temperature": chosen.temperature, "top_k": chosen.top_k, "top_p": chosen.top_p}
    tables["sha256",] = {file: sha256_of(folder / file).hex() for file in files}
    fresh = folder / f"{MANIFEST}.new"
    fresh.write_text(toml_text({"schema": 1, "name": written.name}, tables), encoding="utf-8")
    fresh.replace(folder / MANIFEST)
