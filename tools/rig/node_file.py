"""A node's settings as the file that its process reads."""

from __future__ import annotations

import json
from pathlib import Path

from shared.settings import BrokerSettings


def write_node_file(file: Path, name: str, broker: BrokerSettings, **values: str | float | bool) -> None:
    """Write the settings of a node on that broker, with one thread and the others of `values`."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, "threads": 1, **values}.items()]
    way = ["[broker]", f'host = "{broker.host}"', f"port = {broker.port}", f'password_file = "{broker.password_file}"']
    file.write_text("\n".join([*lines, *way]))
