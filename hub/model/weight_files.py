"""The files of weights in a checkpoint's folder: safetensors alone, known by their headers before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from shared.errors import PairError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_INDEX_BYTES = 2**26  # of the largest index that is read: the 90,000 tensors of a very large model take 10 MB
_POINTER = b"version https://git-lfs"
_NUMBERS = {"F64", "F32", "F16", "BF16"}  # safetensors' names for the types of weights that are not quantized
# Ends of the names of what old checkpoints hold beside the weights: tables that the model computes itself.
TABLES = (".inv_freq", ".masked_bias", ".position_ids")
_MASK_AXES = 4  # of a table of what may be seen, which old checkpoints hold too


@dataclass(frozen=True)
class Stored:
    """One tensor of a file."""

    path: Path
    shape: tuple[int, ...]
    dtype: str  # by safetensors' name


def read_json(path: Path, most_bytes: int) -> dict[str, Any]:
    """The object in a JSON file of at most that many bytes. Raises PairError."""
    try:
        if path.stat().st_size > most_bytes:
            raise PairError(f"{path} has more than {most_bytes} bytes; it is not the file that its name says")
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror}; copy the whole checkpoint") from None
    except (ValueError, RecursionError) as error:
        raise PairError(f"{path} is not JSON ({str(error)[:80]}); copy the whole checkpoint again") from None
    if not isinstance(read, dict):
        raise PairError(f"{path} does not hold a JSON object; copy the whole checkpoint again")
    return read


def stored_weights(folder: Path) -> dict[str, Stored]:
    """Every tensor in the folder's files of weights, by its name. Only the files' headers are read.

    Raises PairError for files that are missing, cut short, pointers to a store elsewhere, in another form, or quantized.
    """
    stored: dict[str, Stored] = {}
    for path, expected in _files(folder).items():
        held = _header(path)
        twice = held.keys() & stored.keys()
        lacking = (expected or held.keys()) - held.keys()
        if twice or lacking:
            what = f"lacks {min(lacking)}, which {_INDEX} says it has" if lacking else f"has {min(twice)} a second time"
            raise PairError(f"{path} {what}; copy the whole checkpoint again")
        stored |= held
    for name, tensor in stored.items():
        if tensor.dtype not in _NUMBERS and not name.endswith(TABLES) and len(tensor.shape) < _MASK_AXES:
            raise PairError(
                f"{name} in {folder} is stored as {tensor.dtype}, so the checkpoint is quantized; take the one in float32, "
                "bfloat16 or float16 that it was made from"
            )
    return stored


def same_contents(name: str, other: str, stored: Mapping[str, Stored]) -> bool:
    """Whether two stored tensors are equal."""
    tensors = []
    for each in (name, other):
        with safe_open(stored[each].path, framework="pt") as file:
            tensors.append(file.get_tensor(each))
    return bool(tensors[0].equal(tensors[1]))


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """The files of weights that `transformers` reads, with the names of their tensors where an index tells them."""
    single, index = folder / _SINGLE, folder / _INDEX
    if single.exists():
        return {single: None}
    if not index.exists():
        raise PairError(_without_weights(folder))
    where = read_json(index, _INDEX_BYTES).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(file, str) for file in where.values()):
        raise PairError(f"{index} has no weight_map from tensors to files; copy the whole checkpoint again")
    files: dict[Path, set[str] | None] = {}
    for file in sorted(set(where.values())):
        path = folder / file
        if Path(file).name != file or path.suffix != ".safetensors":
            raise PairError(
                f"{index} names {file!r}, which is no safetensors file beside it; copy the whole checkpoint again"
            )
        if not path.is_file():
            raise PairError(f"{folder} lacks {file}, which {index.name} names; copy the whole checkpoint")
        files[path] = {name for name, its in where.items() if its == file}
    return files


def _without_weights(folder: Path) -> str:
    """What to say of a folder without safetensors."""
    ends = {path.suffix for path in folder.iterdir()}
    if ends & {".bin", ".pt", ".pth", ".ckpt"}:
        return (
            f"{folder} holds its weights as pickles, which could run code, so the hub does not open them; where you trust "
            f"them, load them with transformers' AutoModelForCausalLM.from_pretrained and save_pretrained them as safetensors"
        )
    if ".gguf" in ends:
        return f"{folder} holds a GGUF file, which this hub does not read; take the checkpoint in safetensors"
    return f"{folder} has no {_SINGLE} and no {_INDEX}; copy the whole checkpoint"


def _header(path: Path) -> dict[str, Stored]:
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_POINTER))
        if beginning == _POINTER:
            raise PairError(f"{path} is a pointer of Git LFS and not the file itself; fetch it with git lfs pull")
        with safe_open(path, framework="pt") as tensors:
            made_for = (tensors.metadata() or {}).get("format", "pt")
            if made_for != "pt":
                raise PairError(f"{path} was written for {made_for[:20]!r}; save the checkpoint from PyTorch")
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - it is no mapping
            return {name: Stored(path, tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()}
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError) as error:
        size = path.stat().st_size
        raise PairError(
            f"{path}, of {size} bytes, is cut short or no safetensors file ({str(error)[:80]}); copy it again"
        ) from None
