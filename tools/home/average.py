"""Averages the weights of two legs of training: what the later one forgot for what it learnt comes back, and most of that stays (model soups, arXiv:2203.05482).

python -m tools.home.average build/first/target build/second/target --share 0.8 --out build/both/target
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from safetensors import safe_open
from safetensors.torch import save_file

from shared.errors import SettingsError
from shared.program import run

_WEIGHTS = "model.safetensors"


def average(
    first: Annotated[Path, typer.Argument(help="folder of a target")],
    second: Annotated[Path, typer.Argument(help="and of one that was trained on from it")],
    out: Annotated[Path, typer.Option(help="folder for the average")],
    share: Annotated[float, typer.Option(min=0, max=1, help="of the first")] = 0.5,
) -> None:
    """Write OUT with SHARE of the weights of FIRST and the rest of SECOND, in the type of the latter."""
    with safe_open(first / _WEIGHTS, "pt") as ours, safe_open(second / _WEIGHTS, "pt") as theirs:
        if set(ours.keys()) != set(theirs.keys()):
            raise SettingsError(f"{first} and {second} are not of one shape; average two legs of one target")
        mixed = {}
        for name in theirs.keys():  # noqa: SIM118 - it is no dict
            a, b = ours.get_tensor(name), theirs.get_tensor(name)
            mixed[name] = (share * a.float() + (1 - share) * b.float()).to(b.dtype)
        told = theirs.metadata()
    out.mkdir(parents=True, exist_ok=True)
    for file in second.iterdir():
        if file.name != _WEIGHTS:
            shutil.copyfile(file, out / file.name)
    save_file(mixed, out / _WEIGHTS, metadata=told)


if __name__ == "__main__":
    run("tools.home.average", average)
