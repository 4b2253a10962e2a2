"""Where a model comes from: a folder, a GGUF file or a name on the Hugging Face hub, each made a folder of weights and a tokenizer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import PairError, brief
from shared.pair import REMOTE
from shared.settings import shown

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Source:
    """A model as it is named: `given` is a folder, a file or owner/name, `kind` what it is."""

    given: str
    kind: str  # "folder", "gguf" or "remote"

    @property
    def name(self) -> str:
        """What it is called, in characters that a pair's name may have."""
        stem = self.given.partition("@")[0].rstrip("/").rpartition("/")[2]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", stem.removesuffix(".gguf")).strip("-._")[:64] or "pair"

    def pinned(self, fetched: Path) -> str:
        """The name of a remote model with the revision that lies in the folder `fetched`."""
        return f"{self.given.partition('@')[0]}@{fetched.name}"

    def folder(self, made: Path, say: Callable[[str], None]) -> Path:
        """The checkpoint's folder, with its tokenizer: for a GGUF file `made`, which is written if it is not there.

        Raises PairError where it can't be had.
        """
        if self.kind == "folder":
            return Path(self.given).expanduser().resolve()
        if self.kind == "remote":
            from hub.model.remote import WEIGHTS, fetched

            say(f"fetching {self.given}")
            return fetched(self.given, (*WEIGHTS, *_TOKENIZER))
        if not (made / "config.json").exists():
            say(f"reading {self.given}")
            _convert(Path(self.given).expanduser().resolve(), made)
        return made


def find_source(given: str) -> Source:
    """What the name of a model stands for: what is on disk comes first. Raises PairError."""
    if not given.strip():
        raise PairError("a model needs a name: a folder, a .gguf file, or owner/name")
    path = Path(given.removeprefix(REMOTE))
    try:
        path = path.expanduser()
        if path.is_file() and path.suffix.lower() == ".gguf" and not given.startswith(REMOTE):
            return Source(given, "gguf")
        if path.is_dir() and not given.startswith(REMOTE):
            ggufs = sorted(each.name for each in path.glob("*.gguf"))
            if ggufs and not (path / "config.json").exists():
                raise PairError(f"{given} holds GGUF files; name the one that is meant, such as {path / ggufs[0]}")
            return Source(given, "folder")
    except (OSError, RuntimeError, ValueError):  # too long for a path; the home of a user that there is not; a NUL
        pass
    if not given.lower().endswith(".gguf") and _REPOSITORY.fullmatch(given.removeprefix(REMOTE)):
        return Source(given.removeprefix(REMOTE), "remote")
    raise PairError(
        f"there is no model {shown(given)}: name a folder of transformers' form, a file that ends in .gguf, or owner/name of a model "
        "of the Hugging Face hub"
    )


def _convert(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer in a GGUF file as a checkpoint in float32. Raises PairError."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the bar of the library that reads the file
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    half = folder.with_name(f"{folder.name}.half")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        model.save_pretrained(half)
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.save_pretrained(half)
    except Exception as error:
        # transformers, gguf and tokenizers raise what they like for a file that they do not read.
        said = brief(error)
        raise PairError(
            f"cannot read {gguf} ({said}); copy it again, or take the model in the form of transformers"
        ) from error
    half.rename(folder)
