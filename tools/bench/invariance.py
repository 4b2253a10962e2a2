"""Whether the bits of a position's logits depend on its text alone, whatever is computed beside it and however it is fed.

Each position of random texts is computed alone, its text in one forward, and again in every `Way`, beside 0 to 63 other
rows at random, by forwards over the hub's own pages. All logits [vocab] are compared, bit by bit. The layers of shapes add all
that they would to the residual stream here, or its rounding would hide what differs.

    positions        compared at least once in each way that applies, and beside others
    different_bits   comparisons of a position of which any bit was another
    batches          forwards whose logits were compared with those of the texts alone
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import torch

from hub.model.device import pick_device
from hub.model.target import Target
from shared.errors import SettingsError
from shared.pair import built_in_pairs, load_pair
from shared.settings import shown
from tools.bench.report import progress, show
from tools.bench.site import FOLDER
from tools.bench.wave import Tally, Wave, drawn_texts
from tools.rig.number_format import NumberFormat
from tools.rig.planted import PlantedTarget
from tools.rig.shapes import LOUD, SHAPES, shape_pair

POSITIONS = {"home": 12_000, "20m": 6_000, "1.1b": 2_500}  # compared by default; of other targets OTHERWISE
OTHERWISE = 2_000
_KV_MEMORY = 3 << 29  # bytes; on a CPU, what is not used is never touched
_COMPARED = 2**29  # bytes of logits that are kept for comparison at a time


def run(
    form: NumberFormat,
    device: str,
    targets: str,
    positions: int | None,
    threads: int,
    planted: bool,
    as_json: bool,
    folder: Path = FOLDER,
) -> int:
    """Compare so many positions of each of `targets`, names with commas between; print the figures and return `different_bits`.

    `threads` is 0 for torch's own number; `planted` puts torch's linear layers into the targets. Shapes are kept in
    `folder`. Raises SledError.
    """
    names = _names(targets)
    pick_device(device)
    if planted:
        os.environ["MKL_CBWR"] = "OFF"  # torch's own order in float32 too, if this process has not multiplied yet
    if threads:
        torch.set_num_threads(threads)
    details: dict[str, dict[str, Any]] = {}
    for name in names:
        target = _load(name, form, device, planted, folder)
        tally = _compare(target, positions or POSITIONS.get(name, OTHERWISE), name)
        details[name] = {"exact": target.is_exact, "threads": torch.get_num_threads(), **tally.figures()}
        del target  # before the next is loaded
    figures = {
        "dtype": form.dtype,
        "weights": form.weights.value,
        "planted": planted,
        **{key: sum(each[key] for each in details.values()) for key in ("positions", "different_bits", "batches")},
        **{key: {name: each[key] for name, each in details.items()} for key in ("threads", "exact")},
        "positions_of": {name: each["positions"] for name, each in details.items()},
        "different_bits_of": {name: each["different_bits"] for name, each in details.items()},
    }
    show("invariance", figures, as_json, {"targets": details})
    return int(figures["different_bits"])


def _names(targets: str) -> list[str]:
    names = list(dict.fromkeys(targets.split(",")))
    known = [*built_in_pairs(), *SHAPES]
    for name in names:
        if name not in known:
            raise SettingsError(f"there is no target {shown(name)}; use one or more of {', '.join(known)}")
    return names


def _load(name: str, form: NumberFormat, device: str, planted: bool, folder: Path) -> Target:
    pair = load_pair(name) if name in built_in_pairs() else shape_pair(name, form.dtype, folder, LOUD)
    target = form.load(PlantedTarget, pair.target, pick_device(device), _KV_MEMORY)
    if planted:
        target.plant(pair.target)
    return target


def _compare(target: Target, positions: int, name: str) -> Tally:
    """Compare at least so many positions."""
    rng, tally = random.Random(0), Tally()
    room = _COMPARED // (target.vocab_size * target.cache.dtype.itemsize)
    with progress() as bars:
        bar = bars.add_task(name, total=positions)
        while tally.positions < positions:
            texts = drawn_texts(target, min(positions - tally.positions, room), rng)
            there = tally.positions
            for share in Wave(target, texts, rng, tally).feed():
                bars.update(bar, completed=there + share * (positions - there))
            tally.positions += sum(text.covered() for text in texts)
    return tally
