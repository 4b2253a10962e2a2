"""A draft's LM head for the ids that come up: a draft need not be able to say everything, only what is often right.

The head is as large as all layers of a small model together where the vocabulary is large. Left with the ids that are frequent
in text of the device's kind, it is read in a fraction of the time; any other id the target has to say itself. The idea is
that of FR-Spec (Zhao et al., 2025); docs/draft.md has what it gains and costs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tokenizers import Tokenizer

from hub.export.fuse import drop_unread

_LOGITS = "logits"
_AT_ONCE = 1000  # lines given to the tokenizer at a time


def frequent_ids(checkpoint: Path, lines: Iterable[str], count: int) -> list[int]:
    """The `count` ids that the checkpoint's tokenizer gives most often for `lines`, in ascending order.

    The tokenizer's special ids, by which turns end, are always among them; ids that never come up are taken from the lowest, which a byte-pair
    tokenizer learnt first. Raises ValueError when the checkpoint has no tokenizer, or no more ids than that.
    """
    path = checkpoint / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{checkpoint} has no tokenizer.json to count ids with")
    tokenizer = Tokenizer.from_file(str(path))
    known = sorted(
        tokenizer.get_vocab(with_added_tokens=True).values()
    )  # there may be numbers between them that are no ids
    if not count < len(known):
        raise ValueError(f"a head of {count} ids is no shorter: the tokenizer has {len(known)}")
    seen: Counter[int] = Counter()
    lines = iter(lines)
    while batch := list(itertools.islice(lines, _AT_ONCE)):
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            seen.update(encoding.ids)
    special = tokenizer.get_added_tokens_decoder()
    ranked = itertools.chain(special, (i for i, _ in seen.most_common()), known)
    return sorted(itertools.islice(dict.fromkeys(ranked), count))


def shorten_head(model: onnx.ModelProto, ids: Sequence[int]) -> None:
    """Leave the graph's head, in place, with the rows of `ids`; the logits of all others are −inf.

    The head is the Gemm that makes the logits of its weight [vocab, size].
    """
    graph = model.graph
    head = next(node for node in graph.node if _LOGITS in node.output)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in head.input}
    size = len(stored[head.input[1]])
    for place, name in enumerate(head.input[1:], start=1):
        graph.initializer.append(numpy_helper.from_array(stored[name][list(ids)], f"{name}.short"))
        head.input[place] = f"{name}.short"
    short, none, places = (f"{_LOGITS}.{part}" for part in ("short", "none", "ids"))
    head.output[0] = short
    graph.initializer.append(numpy_helper.from_array(np.full((1, size), -np.inf, np.float32), none))
    graph.initializer.append(numpy_helper.from_array(np.array([ids], np.int64), places))
    graph.node.append(helper.make_node("ScatterElements", [none, places, short], [_LOGITS], axis=1))
    drop_unread(graph)
