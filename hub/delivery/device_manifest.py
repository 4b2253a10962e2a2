"""The manifest of a pair as a device needs it: one draft, and nothing of what the hub alone has."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import PairError
from shared.pair import DEFAULT, MANIFEST, Draft, Pair
from shared.text_file import read_toml
from shared.toml_text import toml_text

_OF_HUB = ("draft", "drafts", "exit", "sha256")  # tables that a device's manifest has anew, or not at all


def device_manifest(pair: Pair, draft: Draft, sha256: Mapping[str, str]) -> bytes:
    """`pair.toml` for a folder with that draft alone; `sha256` are the hashes of the folder's files by their paths there.

    The draft keeps its name. Raises PairError when the pair's own manifest can't be read any more.
    """
    whole = read_toml(pair.folder / MANIFEST, "the manifest", PairError)
    values = {key: value for key, value in whole.items() if not isinstance(value, dict)}
    tables: dict[tuple[str, ...], Mapping[str, object]] = {
        (key,): value for key, value in whole.items() if isinstance(value, dict) and key not in _OF_HUB
    }
    own = ("draft",) if draft.name == DEFAULT else ("drafts", draft.name)
    table = whole["draft"] if draft.name == DEFAULT else whole["drafts"][draft.name]
    return toml_text(values, {**tables, own: table, ("sha256",): sha256}).encode()
