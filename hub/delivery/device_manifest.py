"""The manifest of a pair as a device needs it: one draft, and nothing of what the hub alone has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import PairError
from shared.pair import DEFAULT, MANIFEST, Draft, Pair
from shared.text_file import read_toml

_OF_HUB = ("draft", "drafts", "exit", "sha256")  # tables that a device's manifest has anew, or not at all


def device_manifest(pair: Pair, draft: Draft, sha256: Mapping[str, str]) -> bytes:
    """`pair.toml` for a folder with that draft alone; `sha256` are the hashes of the folder's files by their paths there.

    The draft keeps its name. Raises PairError when the pair's own manifest can't be read any more.
    """
    whole = read_toml(pair.folder / MANIFEST, "the manifest", PairError)
    table = whole["draft"] if draft.name == DEFAULT else whole["drafts"][draft.name]
    tables = {key: value for key, value in whole.items() if key not in _OF_HUB}
    path = ("draft",) if draft.name == DEFAULT else ("drafts", draft.name)
    return _toml(tables, {path: table, ("sha256",): dict(sha256)})


def _toml(top: Mapping[str, Any], more: Mapping[tuple[str, ...], Mapping[str, Any]]) -> bytes:
    """TOML with the values and tables of `top`, and behind them the tables of `more` by their paths."""
    plain = {key: value for key, value in top.items() if not isinstance(value, dict)}
    tables: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
        ((key,), value) for key, value in top.items() if isinstance(value, dict)
    ]
    lines = _lines(plain)
    for path, table in [*tables, *more.items()]:
        lines += ["", f"[{'.'.join(map(_text, path))}]", *_lines(table)]
    return ("\n".join(lines) + "\n").encode()


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_text(key)} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else repr(value)


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, which besides does not allow DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
