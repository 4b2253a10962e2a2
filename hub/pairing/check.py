"""Looks at a pair as a hub and a device will: files and hashes, the target's logits, the template, the drafts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hub.export.device import device
from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from hub.pairing.progress import Progress
from shared.errors import PairError
from shared.pair import load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer, require_known

_KV_BYTES = 2**26
_CHAT = ({"role": "user", "content": "Hello"},)


@dataclass(frozen=True)
class Checked:
    """What was found of a pair; `drafts` has the positions of each draft by its name."""

    pair: str
    target: str
    dtype: str
    context: int
    exact: bool
    drafts: dict[str, int]


def check_pair(name: str, progress: Progress) -> Checked:
    """Look at the pair of that name or in that folder. Raises SledError, in a sentence that says what is wrong."""
    pair = load_pair(name)
    progress.say("comparing the files with the hashes of the manifest")
    for file in pair.sha256:
        pair.verify(pair.folder / file)
    tokenizer = load_tokenizer(pair)
    ends = end_ids(pair, tokenizer)
    drafts = {}
    with device() as on_device:
        progress.say("rendering the chat template, and loading the drafts, as a device does")
        if max(on_device.prompts(pair.folder, [_CHAT])[0]) >= ids_below(tokenizer):
            raise PairError(f"the chat template of {pair.name!r} gives ids that its tokenizer has not")
        for draft in pair.drafts.values():
            drafts[draft.name] = on_device.open_draft(pair.folder, draft.name)
    progress.say("loading the target and comparing its logits with those of transformers")
    target = Target(
        pair.verify_target(),
        device=pick_device("auto"),
        dtype=pick_dtype(pair.target_dtype),
        kv_memory=None if torch.cuda.is_available() else _KV_BYTES,
    )
    require_known(pair, tokenizer, ends, target.vocab_size)
    return Checked(pair.name, pair.target, pair.target_dtype, target.context, target.is_exact, drafts)
