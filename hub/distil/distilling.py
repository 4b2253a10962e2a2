"""Makes a draft of a target alone, step by step, in the folder that is wanted; what is done already is not done again.

    chats      the target makes up chats and answers them
    layers     what each layer is worth, and the student of those that are worth most
    training   until the time is over

The folder becomes a checkpoint, which `pair create --draft` takes like any other. `figures` compares the trained student with the same
layers untrained, on answers to prompts that were held out.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hub.distil.chats import Chats, answered, make_up
from hub.distil.rounded_weight import learn_rounded, settle_rounded
from hub.distil.training import RATE, ROUNDED_RATE, Training
from hub.export.device import device
from hub.export.layers import layers_of
from hub.export.rounded import QuantizeError, Rounded
from hub.export.rounded_file import ROUNDED, named_rounded, read_rounded, write_rounded
from hub.export.rounding import round_layers
from hub.export.sensitivity import OUT, agreement, sensitivities
from hub.export.student import student_of
from hub.model.checkpoint import load_checkpoint, look_at
from hub.pairing.answers import Answered, read_prompts
from hub.pairing.begun import Begun, asked, begin, chats_of, check_template
from hub.pairing.progress import Progress
from hub.pairing.source import find_source
from hub.pairing.workplace import Workplace, workplace, write_whole
from shared.errors import PairError

_CHATS_SHARE = 0.3  # of the time, for making chats up
_CALIBRATING = 48  # texts by which layers are rounded
_TRIED = 8  # texts by which layers are valued
_PARTS = 1000  # of a bar


@dataclass(frozen=True)
class Distilled:
    """What came of it: the student's share of the target's greedy ids on held-out answers, before and after training."""

    layers: tuple[int, ...]
    parameters: int
    acceptance: float
    acceptance_untrained: float
    compared: int
    texts: int
    steps: int


@dataclass(frozen=True)
class Lesson:
    """What somebody wants: a student of so many layers of a target, after so many minutes of work. Paths are absolute.

    With `bits` its layers' weights learn to be so few bits, and it may have all layers.
    """

    target: str
    layers: int
    minutes: float
    bits: int | None = None
    text: str | None = None
    template: str | None = None
    device: str = "auto"


def distil(lesson: Lesson, out: Path, progress: Progress) -> Distilled:
    """Train the student, and write it to the folder `out`, which must not be there yet. Raises SledError, and leaves nothing then."""
    with workplace(out, asdict(lesson)) as place:
        return _Distilling(lesson, place, progress).run()


class _Distilling:
    """One student in the making."""

    def __init__(self, lesson: Lesson, place: Workplace, progress: Progress) -> None:
        self._lesson, self._place, self._progress = lesson, place, progress
        self._source = find_source(lesson.target)
        self._prompts = read_prompts(Path(lesson.text) if lesson.text else None)

    def run(self) -> Distilled:
        """Do what is not done yet."""
        lesson, scratch = self._lesson, self._place.scratch
        pair = scratch / "pair"
        pair.mkdir(exist_ok=True)
        checkpoint = self._source.folder(pair / "target", self._progress.say)
        template = Path(lesson.template) if lesson.template else None
        begun = begin(self._source, pair, checkpoint, "auto", template)
        count = look_at(checkpoint, dtype=torch.float32)[0].num_hidden_layers
        if not 0 < lesson.layers < count + (lesson.bits is not None):
            raise PairError(
                f"the target has {count} layers; a student has fewer, or all with --bits, and one at least: --layers"
            )
        held_out, texts = self._texts(begun)
        model: Any = load_checkpoint(checkpoint, dtype=torch.float32, attention="sdpa")
        chosen = self._chosen(model, texts)
        student = student_of(model, chosen)
        if lesson.bits is not None:
            first = self._first_rounded(student, lesson.bits, texts)
        untrained = agreement(student, held_out)
        if lesson.bits is not None:
            learn_rounded(student, first)
        rate = RATE if lesson.layers < count else ROUNDED_RATE
        minutes = lesson.minutes * (1 - _CHATS_SHARE)
        training = Training(model, student, texts, minutes, scratch / "state.pt", rate)
        done = self._progress.of(f"training {lesson.layers} of {count} layers on {len(texts)} texts", _PARTS)
        training.run(_telling(done))
        if lesson.bits is not None:
            write_rounded(self._place.folder / ROUNDED, settle_rounded(student))
        student.save_pretrained(self._place.folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(pair / name, self._place.folder / name)
        figures = Distilled(
            layers=tuple(chosen),
            parameters=student.num_parameters(),
            acceptance=agreement(student, held_out),
            acceptance_untrained=untrained,
            compared=sum(len(each.ids) - each.prompt for each in held_out),
            texts=len(texts),
            steps=training.steps,
        )
        write_whole(self._place.folder / "distilled.json", json.dumps(asdict(figures)))
        return figures

    def _texts(self, begun: Begun) -> tuple[list[Answered], list[Answered]]:
        """Answers to the prompts that are held out, and chats to learn from."""
        held, chats = Chats(self._place.scratch / "held.jsonl"), Chats(self._place.scratch / "chats.jsonl")
        clock = self._place.scratch / "seconds.json"
        spent = float(clock.read_text(encoding="utf-8")) if clock.exists() else 0.0
        budget = self._lesson.minutes * 60 * _CHATS_SHARE
        if held.known and spent >= budget:
            return held.known, chats.known
        with device() as on_device:
            model = asked(begun, self._lesson.device, self._progress)
            check_template(begun, on_device)
            render = partial(on_device.prompts, begun.pair.folder)
            if not held.known:
                self._progress.say("asking the target what is held out")
                held.add(answered(model, render(chats_of(self._prompts.held_out))))
            done = self._progress.of("having the target make up chats", _PARTS)
            tell = _telling(done)
            if not chats.known:
                chats.add(answered(model, render(chats_of(self._prompts.calibration))))
            around = _around(render(chats_of(["a", "b"])))
            while spent < budget:
                started = time.monotonic()
                chats.add(make_up(model, around, len(chats.known)))
                spent += time.monotonic() - started
                write_whole(clock, str(spent))
                tell(min(1.0, spent / budget), 0.0)
        return held.known, chats.known

    def _first_rounded(self, student: Any, bits: int, texts: Sequence[Answered]) -> dict[str, Rounded]:
        """Round the student's layers by what they are given; the numbers."""
        path = self._place.scratch / ROUNDED
        if path.exists():
            first = read_rounded(path)
            for name, rounded in first.items():
                student.get_submodule(name).weight.data.copy_(rounded.weight())
            return first
        count = len(layers_of(student))
        done = self._progress.of("rounding layers", count)
        ids = [text.ids for text in texts[:_CALIBRATING]]
        try:
            grid = round_layers(student, [bits] * count, ids, lambda: done(1))
        except QuantizeError as error:
            raise PairError(str(error)) from None
        first = named_rounded(student, grid)
        half = path.with_suffix(".half")
        write_rounded(half, first)
        half.replace(path)
        return first

    def _chosen(self, model: Any, texts: Sequence[Answered]) -> list[int]:
        path = self._place.scratch / "layers.json"
        if not path.exists():
            done = self._progress.of("trying what each layer is worth", len(layers_of(model)))
            losses = sensitivities(model, texts[:_TRIED], [OUT], on_layer=done)
            write_whole(path, json.dumps([loss[OUT].divergence for loss in losses]))
        return most_worth(json.loads(path.read_text(encoding="utf-8")), self._lesson.layers)


def most_worth(worth: Sequence[float], count: int) -> list[int]:
    """The `count` layers that are worth most, in their order; the first and the last are always among them where two are kept or more."""
    ends = {0, len(worth) - 1} if count > 1 else set()
    ranked = sorted(range(len(worth)), key=lambda layer: (layer not in ends, -worth[layer]))
    return sorted(ranked[:count])


def _around(rendered: list[list[int]]) -> tuple[list[int], list[int]]:
    """The ids before a request and behind it, by two chats that differ in one character."""
    first, second = rendered
    before = next(place for place, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    return first[:before], first[before + 1 :]


def _telling(done: Callable[[int], None]) -> Callable[[float, float], None]:
    """What is told the share that is done, and tells the parts of _PARTS that this adds."""
    told = 0

    def tell(share: float, _: float) -> None:
        nonlocal told
        now = int(_PARTS * share)
        done(now - told)
        told = now

    return tell
