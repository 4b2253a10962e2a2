"""State that programs publish as JSON objects, read from whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

from shared.errors import ProtocolError


def json_object(payload: bytes, what: str) -> dict[str, Any]:
    """The JSON object in a message. Raises ProtocolError, whose sentence is about `what`."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what} must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} must be a JSON object")
    return value
