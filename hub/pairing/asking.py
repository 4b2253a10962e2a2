"""What a target says to the prompts by which a draft is made and measured, kept in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.export.device import Device
from hub.pairing.answers import Answered, Prompts, answers
from hub.pairing.begun import Served, asked, chats_of
from hub.pairing.progress import Progress
from hub.pairing.workplace import write_whole

_TOKENS = 96  # most ids of an answer


@dataclass(frozen=True)
class Answers:
    """What the target said, to prompts for calibration and to those that were held out; `context` is the target's."""

    calibration: tuple[Answered, ...]
    held_out: tuple[Answered, ...]
    context: int


def what_is_said(
    begun: Served, prompts: Prompts, on_device: Device, device: str, path: Path, progress: Progress
) -> Answers:
    """The target's greedy answers to the prompts; those in the file at `path` if it is there, else they are kept there."""
    if path.exists():
        return _read(path)
    requests = [*prompts.calibration, *prompts.held_out]
    ids = on_device.prompts(begun.pair.folder, chats_of(requests))
    model = asked(begun, device, progress)
    done = progress.of("asking the target", len(ids) * _TOKENS)
    found = tuple(answers(model.target, ids, model.ends, model.known, _TOKENS, done))
    count = len(prompts.calibration)
    all_of_them = Answers(found[:count], found[count:], model.target.context)
    write_whole(path, json.dumps(asdict(all_of_them)))
    return all_of_them


def _read(path: Path) -> Answers:
    told = json.loads(path.read_text(encoding="utf-8"))
    calibration, held_out = (
        tuple(Answered(tuple(each["ids"]), each["prompt"]) for each in told[part])
        for part in ("calibration", "held_out")
    )
    return Answers(calibration, held_out, told["context"])
