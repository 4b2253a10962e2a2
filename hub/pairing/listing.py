"""The pairs that `serve --pair` can name: built-in ones, those that the hub has made itself, and those in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.cache import cache_folder
from shared.errors import PairError
from shared.pair import built_in_pairs, folders_of_pairs, load_pair
from shared.program import sentence
from shared.streams import note, put_json
from shared.table import put_table

MADE = "pairs"  # folder in the hub's cache of the pairs that it has made itself


def show_pairs(folder: Path, *, as_json: bool) -> None:
    """Print them, as a table or as one JSON object by name; on standard error, which folders are no pair and why."""
    found: dict[str, dict[str, Any]] = {}
    for name in [*built_in_pairs(), *folders_of_pairs(cache_folder() / MADE), *folders_of_pairs(folder)]:
        try:
            pair = load_pair(name)
        except PairError as error:
            note(f"sled-hub: {sentence(str(error))}")
            continue
        acceptance = None if pair.draft is None else pair.draft.acceptance
        found[name] = {
            "target": f"{pair.name}/{pair.target_dtype}" if pair.has_own_target else pair.target,
            "drafts": list(pair.drafts),
            "acceptance": acceptance,
            "folder": str(pair.folder),
        }
    if as_json:
        put_json(found)
        return
    columns = ("name", "target", "drafts", "acceptance")
    put_table(
        columns,
        [
            (name, each["target"], ", ".join(each["drafts"]) or "none", each["acceptance"] or "")
            for name, each in found.items()
        ],
    )
