"""The pairs that --pair can name here: the built-in ones, those that were pulled, and folders of the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import PairError
from shared.pair import Pair, built_in_pairs, folders_of_pairs, load_pair, pulled_pairs
from shared.program import sentence
from shared.streams import note, put_json
from shared.table import put_table

_MIB = 2**20


def show_pairs(*, as_json: bool) -> None:
    """Print them, as a table or as one JSON object by name; on standard error, which folders are no pair and why."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys([*built_in_pairs(), *pulled_pairs(), *folders_of_pairs(Path())]):
        try:
            found[name] = _facts(load_pair(name))
        except PairError as error:
            note(f"sled-node: {sentence(str(error))}")
    if as_json:
        put_json(found)
        return
    put_table(
        ("name", "target", "drafts", "draft size", "calls"),
        [
            (name, each["target"], ", ".join(each["drafts"]), _size(each["draft_bytes"]), each["calls"])
            for name, each in found.items()
        ],
    )


def _facts(pair: Pair) -> dict[str, Any]:
    draft = next(iter(pair.drafts.values()), None)
    return {
        "target": f"{pair.name}/{pair.target_dtype}" if pair.has_own_target else pair.target,
        "draft_bytes": None if draft is None else draft.model.stat().st_size,
        "drafts": list(pair.drafts),
        "calls": pair.tools is not None,
        "folder": str(pair.folder),
    }


def _size(size: int | None) -> str:
    return "none" if size is None else f"{size / _MIB:.1f} MiB"
