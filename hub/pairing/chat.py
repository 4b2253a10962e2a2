"""What a pair has of a model's tokenizer: tokenizer.json, the chat template, the tokens that end a turn, and how it likes to be sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.model.weight_files import read_json
from shared.errors import PairError, brief
from shared.sampling_parameters import Sampling

TOKENIZER, TEMPLATE, CONFIG = "tokenizer.json", "chat_template.jinja", "tokenizer_config.json"
_JSON_BYTES = 2**24  # of the largest tokenizer_config.json that is read
_KEPT = ("bos_token", "eos_token", "unk_token", "pad_token")  # what a template may ask a node for


@dataclass(frozen=True)
class Chat:
    """How a model chats. `tokenizer` is transformers' own, to compare with."""

    tokenizer: Any
    end: tuple[str, ...]
    defaults: Sampling

    def prompt(self, turns: Sequence[dict[str, str]]) -> list[int]:
        """The ids of a chat, as transformers gives them."""
        return list(self.tokenizer.apply_chat_template(list(turns), add_generation_prompt=True))

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, without control words."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def has_same_ids(chat: Chat, tokenizer: Any) -> bool:
    """Whether a draft's tokenizer gives the tokens that it has the target's ids."""
    theirs, ours = tokenizer.get_vocab(), chat.tokenizer.get_vocab()
    shared = theirs.keys() & ours.keys()
    return len(shared) > len(theirs) // 2 and all(theirs[token] == ours[token] for token in shared)


def write_tokenizer(tokenizer: Any, checkpoint: Path, to: Path) -> None:
    """Write the tokenizer in a checkpoint's folder as one file. Raises PairError for one that can't be written so."""
    if not tokenizer.is_fast:
        raise PairError(f"the tokenizer in {checkpoint} can't be made a {TOKENIZER}; choose a model that has one")
    own = checkpoint / TOKENIZER
    # The model's own file where there is one: writing it again may leave out what only later versions know.
    to.write_bytes(own.read_bytes() if own.is_file() else tokenizer.backend_tokenizer.to_str().encode())


def load_tokenizer(checkpoint: Path) -> Any:
    """The tokenizer in a checkpoint's folder, as transformers has it. Raises PairError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False, use_fast=True)
    except Exception as error:
        # It raises what it likes for files that lack, or are not what their names say.
        said = brief(error)
        raise PairError(f"cannot load the tokenizer in {checkpoint} ({said}); copy the model's whole folder") from error


def write_chat(checkpoint: Path, pair: Path, template: Path | None) -> Chat:
    """Write what the pair needs of the tokenizer in `checkpoint`; `template` is a file in place of the model's chat template.

    Raises PairError for a folder without a tokenizer, a chat template, or a token that ends a turn.
    """
    tokenizer = load_tokenizer(checkpoint)
    if template is not None:
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    chosen = tokenizer.chat_template
    if isinstance(chosen, dict):
        chosen = chosen.get("default")
    if not chosen:
        raise PairError(
            f"the model in {checkpoint} has no chat template, so it is no chat model; choose the instruct one, or give --template FILE"
        )
    write_tokenizer(tokenizer, checkpoint, pair / TOKENIZER)
    (pair / TEMPLATE).write_text(chosen, encoding="utf-8")
    named = {name: str(value) for name in _KEPT if (value := getattr(tokenizer, name, None)) is not None}
    (pair / CONFIG).write_text(json.dumps(named, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    generation = _generation(checkpoint)
    return Chat(tokenizer, _ends(checkpoint, tokenizer, generation), _defaults(generation))


def _generation(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "generation_config.json"
    return read_json(path, _JSON_BYTES) if path.exists() else {}


def _ends(checkpoint: Path, tokenizer: Any, generation: dict[str, Any]) -> tuple[str, ...]:
    """The tokens that end a turn: all that generation_config.json names, and the tokenizer's own."""
    ids = generation.get("eos_token_id")
    numbers = ids if isinstance(ids, list) else [ids]
    named = [*(number for number in numbers if isinstance(number, int)), tokenizer.eos_token_id]
    ends = list(dict.fromkeys(tokenizer.convert_ids_to_tokens(number) for number in named if number is not None))
    if not ends or None in ends:
        raise PairError(f"the model in {checkpoint} names no token that ends a turn (eos_token); it is no chat model")
    return tuple(ends)


def _defaults(generation: dict[str, Any]) -> Sampling:
    """How the model likes to be sampled, as far as the rule of sampling has it."""
    if not generation.get("do_sample"):
        return Sampling()
    try:
        return Sampling(
            temperature=float(generation.get("temperature") or 1.0),
            top_k=int(generation.get("top_k") or 0),
            top_p=float(generation.get("top_p") or 1.0),
        )
    except (TypeError, ValueError):
        return Sampling()
