"""A pair: a folder whose `pair.toml` names a target, its draft, their tokenizer and chat template, with hashes.

schema = 1
name = "home"

[target]
checkpoint = "target"            # a folder in transformers' form, or a model's name
dtype = "float32"                # the weight format: part of what the text depends on

[draft]
model = "draft.onnx"

[exit]                           # optional: a head by which the target tells early what it will say
head = "exit.safetensors"

[tokenizer]
file = "tokenizer.json"
chat_template = "chat_template.jinja"
end = ["<|end|>"]                # tokens that end a turn

[tools]                          # optional: the calls that answers make, as schemas
file = "tools.json"

[defaults]                       # generation defaults
temperature = 0.0
top_k = 0
top_p = 1.0

[sha256]                         # optional: of files, by their path in the folder
"draft.onnx" = "…"
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import PairError
from shared.sampling import Sampling

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = "pair.toml"
_BUILT_IN = Path(__file__).parent / "pairs"


@dataclass(frozen=True)
class Pair:
    """What a pair's manifest says; paths are absolute."""

    name: str
    folder: Path
    target: str  # a folder, or a model's name for transformers
    target_dtype: str
    draft: Path | None
    exit_head: Path | None
    tokenizer: Path
    chat_template: Path
    tools: Path | None
    end_tokens: tuple[str, ...]
    defaults: Sampling
    sha256: dict[str, str]

    def tokenizer_hash(self) -> bytes:
        """16 bytes that are the same on node and hub exactly when the tokenizer files are."""
        return hashlib.sha256(_read(self.tokenizer)).digest()[:16]

    def verify(self, path: Path) -> Path:
        """`path`, if its contents are what the manifest recorded. Raises PairError."""
        recorded = self.sha256.get(path.relative_to(self.folder).as_posix())
        if recorded is not None and hashlib.sha256(_read(path)).hexdigest() != recorded:
            raise PairError(f"{path} is not the file that {MANIFEST} recorded; install the pair {self.name!r} again")
        return path


def built_in_pairs() -> list[str]:
    """Names of the pairs inside this package."""
    return sorted(path.parent.name for path in _BUILT_IN.glob(f"*/{MANIFEST}"))


def load_pair(name_or_folder: str) -> Pair:
    """The built-in pair of that name, or the pair in that folder. Raises PairError."""
    folder = Path(name_or_folder).expanduser()
    if "/" not in name_or_folder and name_or_folder in built_in_pairs():
        folder = _BUILT_IN / name_or_folder
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise PairError(
            f"{name_or_folder!r} is not a pair: it is no built-in one ({', '.join(built_in_pairs())}) "
            f"and there is no {MANIFEST} in a folder of that name"
        )
    try:
        return _parse(folder.resolve(), tomllib.loads(manifest.read_text()))
    except (tomllib.TOMLDecodeError, OSError, ValueError, TypeError, AttributeError) as error:
        raise PairError(f"{manifest} cannot be read: {error}") from None
    except KeyError as error:
        raise PairError(f"{manifest} lacks {error}") from None


def _parse(folder: Path, manifest: dict[str, Any]) -> Pair:
    if manifest["schema"] != 1:
        raise PairError(f"{folder / MANIFEST} has schema {manifest['schema']!r}; this version reads 1")
    checkpoint = manifest["target"]["checkpoint"]
    draft = manifest.get("draft", {}).get("model")
    head = manifest["exit"]["head"] if "exit" in manifest else None
    pair = Pair(
        name=manifest["name"],
        folder=folder,
        target=str(folder / checkpoint) if (folder / checkpoint).is_dir() else checkpoint,
        target_dtype=manifest["target"].get("dtype", "float32"),
        draft=folder / draft if draft else None,
        exit_head=folder / head if head else None,
        tokenizer=folder / manifest["tokenizer"]["file"],
        chat_template=folder / manifest["tokenizer"]["chat_template"],
        tools=folder / manifest["tools"]["file"] if "tools" in manifest else None,
        end_tokens=tuple(manifest["tokenizer"]["end"]),
        defaults=Sampling(**manifest.get("defaults", {})),
        sha256=dict(manifest.get("sha256", {})),
    )
    for path in (pair.tokenizer, pair.chat_template, pair.draft, pair.exit_head, pair.tools):
        if path is not None and not path.is_file():
            raise PairError(f"the pair {pair.name!r} lacks {path}")
    return pair


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror}") from None
