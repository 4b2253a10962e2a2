"""The beginning of a pair: a model looked at, its tokenizer and template in a folder that the device's side can load, and the model asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from hub.export.device import Device
from hub.model.attention import NAME
from hub.model.checkpoint import look_at
from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from hub.model.weight_files import read_json
from hub.model.windows import windows_of
from hub.pairing.chat import Chat, write_chat
from hub.pairing.manifest import Written, write_manifest
from hub.pairing.progress import Progress
from hub.pairing.source import Source
from hub.settings import Exact
from shared.errors import PairError
from shared.pair import REMOTE, Pair, load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer, require_known

_JSON_BYTES = 2**22  # of the largest config.json that is read
_KV_BYTES = 2**30  # for the answers that are written side by side, on a CPU
_CHATS: tuple[tuple[dict[str, str], ...], ...] = (
    ({"role": "user", "content": "Hello, who are you?"},),
    ({"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is 2 + 2?"}),
    (
        {"role": "user", "content": "  Two spaces, “quotes” and\ntwo lines. "},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Grüße, 你好, 🙂 <b>"},
    ),
)


@dataclass(frozen=True)
class Begun:
    """A model with the folder of its pair: `checkpoint` has its files, `weights` are its numbers, `dtype` their type."""

    source: Source
    checkpoint: Path
    chat: Chat
    dtype: str
    weights: int
    pair: Pair

    def written(self, name: str | None, drafts: dict[str, dict[str, Any]]) -> Written:
        """What the manifest says of it, with those drafts."""
        return _written(self.source, self.checkpoint, self.chat, self.dtype, name, drafts)


def begin(
    source: Source, folder: Path, checkpoint: Path, dtype: str, template: Path | None, name: str | None = None
) -> Begun:
    """Look at the model in `checkpoint`, and write a pair without a draft into `folder`. Raises PairError for what can't be served."""
    chosen = _dtype(checkpoint) if dtype == "auto" else dtype
    _, stored = look_at(checkpoint, dtype=pick_dtype(chosen), attention=NAME, refuse=windows_of)
    chat = write_chat(checkpoint, folder, template)
    write_manifest(folder, _written(source, checkpoint, chat, chosen, name, {}), ())
    weights = sum(math.prod(tensor.shape) for tensor in stored.values())
    return Begun(source, checkpoint, chat, chosen, weights, load_pair(str(folder)))


def check_template(begun: Begun, on_device: Device) -> None:
    """Raise PairError unless the device makes the same ids of chats as transformers does."""
    for turns in _CHATS:
        try:
            expected = begun.chat.prompt(turns)
        except Exception:  # noqa: S112 - a template may refuse a system message; the device refuses it too
            continue
        if on_device.prompts(begun.pair.folder, [turns]) != [expected]:
            raise PairError(
                f"the chat template of {begun.source.given} gives other ids on a device than in transformers, so that it can't be served; "
                "please report the model"
            )


@dataclass(frozen=True)
class Asked:
    """The model as a hub has it, the ids that end its turns, and the first number that is no id of its tokenizer."""

    target: Target
    ends: frozenset[int]
    known: int


class Served(Protocol):
    """A model that a hub can serve: the folder of its files, the type of its numbers, and its pair."""

    @property
    def checkpoint(self) -> Path:
        """See above."""

    @property
    def dtype(self) -> str:
        """See above."""

    @property
    def pair(self) -> Pair:
        """See above."""


def asked(begun: Served, device: str, progress: Progress) -> Asked:
    """The model, loaded as a hub loads it, with all the checks of one. Its memory is free again once nobody has it."""
    progress.say("loading the target and comparing its logits with those of transformers")
    target = Target(
        begun.checkpoint,
        device=pick_device(device),
        dtype=pick_dtype(begun.dtype),
        kv_memory=None if torch.cuda.is_available() else _KV_BYTES,
        exact=Exact.OFF,
        threads=0,
    )
    tokenizer = load_tokenizer(begun.pair)
    ends = end_ids(begun.pair, tokenizer)
    require_known(begun.pair, tokenizer, ends, target.vocab_size)
    return Asked(target, ends, min(ids_below(tokenizer), target.vocab_size))


def chats_of(requests: Sequence[str]) -> list[list[dict[str, str]]]:
    """A chat of each request."""
    return [[{"role": "user", "content": request}] for request in requests]


def _written(
    source: Source, checkpoint: Path, chat: Chat, dtype: str, name: str | None, drafts: dict[str, dict[str, Any]]
) -> Written:
    remote = source.kind == "remote"
    return Written(
        name=name or source.name,
        checkpoint=f"{REMOTE}{source.pinned(checkpoint)}" if remote else "target",
        dtype=dtype,
        end=chat.end,
        defaults=chat.defaults,
        drafts=drafts,
    )


def _dtype(checkpoint: Path) -> str:
    """The type of numbers that a checkpoint was saved in, as far as its configuration says."""
    config = read_json(checkpoint / "config.json", _JSON_BYTES)
    said = config.get("dtype", config.get("torch_dtype"))
    return said if said in {"float32", "bfloat16", "float16"} else "float32"
