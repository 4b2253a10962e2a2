"""Writes docs/settings.md from the settings classes: `python -m tools.settings_doc`."""

from __future__ import annotations

from pathlib import Path

from edge_node.settings import NodeSettings
from hub.fleet.settings import FleetSettings
from hub.settings import HubSettings
from shared.options import Setting, settings_of

FILE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "file"}
_HEAD = """# Settings

This file is written by `python -m tools.settings_doc`. A setting comes from the settings file (`~/.config/sled/node.toml`,
`hub.toml` or `fleet.toml`, or what `--config` names), is overruled by its environment variable, and that by its option. A key with a point is in a
table of the file: `broker.host` is `host` below `[broker]`.
"""


def document() -> str:
    """The whole text of docs/settings.md."""
    programs = (
        ("node", "sled-node", NodeSettings),
        ("hub", "sled-hub serve", HubSettings),
        ("fleet", "sled-hub top and sled-hub ui", FleetSettings),
    )
    return _HEAD + "".join(_section(*each) for each in programs)


def _section(program: str, command: str, cls: type) -> str:
    head = f"\n## {command}\n\n| setting | option | environment variable | type | default | meaning |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(program, setting) for setting in settings_of(cls))


def _row(program: str, setting: Setting) -> str:
    kind = ", ".join(f"`{choice}`" for choice in setting.choices) or _TYPES[setting.kind]
    options = " or ".join(f"`{option}`" for option in setting.option.split("/"))
    return f"| `{'.'.join(setting.path)}` | {options} | `{setting.variable(program)}` | {kind} | {setting.shown_default} | {setting.meaning} |\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
