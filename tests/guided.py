"""The built-in pair's tokenizer, and the oracle's own masks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from edge_node.drafting.byte_vocabulary import ByteVocabulary
from shared.pair import load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer
from tools.rig.own_mask import OwnMask, json_pattern

PAIR = load_pair("home")
_TOKENIZER = load_tokenizer(PAIR)


def ids_of(text: str) -> list[int]:
    ids: list[int] = _TOKENIZER.encode(text, add_special_tokens=False).ids
    return ids


def masks_of(schema: Mapping[str, Any]) -> OwnMask:
    """The same for all who ask, so that it looks at each text once."""
    return _masks_of(json.dumps(schema))


@cache
def _masks_of(schema: str) -> OwnMask:
    vocabulary = ByteVocabulary(_TOKENIZER, str(PAIR.tokenizer))
    pieces = [vocabulary.bytes_of(token) for token in range(ids_below(_TOKENIZER))]
    return OwnMask(
        pieces, lambda text: ids_of(text.decode()), list(end_ids(PAIR, _TOKENIZER)), json_pattern(json.loads(schema))
    )
