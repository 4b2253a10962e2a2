"""Writes a pair's manifest, with the hashes of its files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.confidence import Confidence
from shared.file_hash import sha256_of
from shared.home_list import HomeList
from shared.pair import DEFAULT, MANIFEST, Draft, Pair
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
    tokenizer: str = "tokenizer.json"
    chat_template: str = "chat_template.jinja"
    tools: str | None = None
    exit_head: str | None = None
    defaults: Sampling = field(default_factory=Sampling)
    plain: bool = False
    confidence: Confidence | None = None
    listed: HomeList | None = None


def written_of(pair: Pair) -> Written:
    """What the manifest of a pair says."""
    return Written(
        name=pair.name,
        checkpoint=_place(pair, pair.target) if pair.has_own_target else pair.target,
        dtype=pair.target_dtype,
        end=pair.end_tokens,
        drafts={name: _table(pair, draft) for name, draft in pair.drafts.items()},
        tokenizer=_place(pair, pair.tokenizer),
        chat_template=_place(pair, pair.chat_template),
        tools=None if pair.tools is None else _place(pair, pair.tools),
        exit_head=None if pair.exit_head is None else _place(pair, pair.exit_head),
        defaults=pair.defaults,
        plain=pair.plain,
        confidence=pair.confidence,
        listed=pair.listed,
    )


def measured(acceptance: float, step_bytes: int) -> dict[str, Any]:
    """What a draft's table says of what was measured."""
    return {"acceptance": round(acceptance, 4), "step_bytes": step_bytes}


def give_draft(pair: Pair, name: str, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a pair once more, with a draft of that name; `facts` are its table, the model a path in the pair's folder."""
    written = written_of(pair)
    written.drafts[name] = dict(facts)
    write_manifest(pair.folder, written, [facts["model"]], pair.sha256)


def write_manifest(
    folder: Path, written: Written, files: Iterable[str], known: Mapping[str, str] | None = None
) -> None:
    """Write `pair.toml` into `folder`, with the hashes of `files` there, and those that are `known`."""
    tables: dict[tuple[str, ...], dict[str, Any]] = {
        ("target",): {"checkpoint": written.checkpoint, "dtype": written.dtype}
    }
    for name, facts in written.drafts.items():
        tables[("draft",) if name == DEFAULT else ("drafts", name)] = facts
    if written.exit_head is not None:
        tables["exit",] = {"head": written.exit_head}
    tables["tokenizer",] = {
        "file": written.tokenizer,
        "chat_template": written.chat_template,
        "end": list(written.end),
    }
    if written.plain:
        tables["tokenizer",]["plain"] = True
    if written.tools is not None:
        tables["tools",] = {"file": written.tools}
    for table, told in (("confidence", written.confidence), ("listed", written.listed)):
        if told is not None:
            tables[table,] = {key: value for key, value in asdict(told).items() if value not in ((), {})}
    chosen = written.defaults
    tables["defaults",] = {"temperature": chosen.temperature, "top_k": chosen.top_k, "top_p": chosen.top_p}
    tables["sha256",] = {**(known or {}), **{file: sha256_of(folder / file).hex() for file in files}}
    fresh = folder / f"{MANIFEST}.new"
    fresh.write_text(toml_text({"schema": 1, "name": written.name}, tables), encoding="utf-8")
    fresh.replace(folder / MANIFEST)


def _table(pair: Pair, draft: Draft) -> dict[str, Any]:
    told = {
        "model": _place(pair, draft.model),
        "tokenizer": None if draft.tokenizer is None else _place(pair, draft.tokenizer),
        "words": dict(draft.words) or None,
        "acceptance": draft.acceptance,
        "step_bytes": draft.step_bytes,
    }
    return {key: value for key, value in told.items() if value is not None}


def _place(pair: Pair, path: Path | str) -> str:
    """A file's path as a manifest has it; one outside of the pair's folder stays whole."""
    whole = Path(os.path.normpath(path))
    return whole.relative_to(pair.folder).as_posix() if whole.is_relative_to(pair.folder) else str(whole)
