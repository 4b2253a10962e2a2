"""Makes a draft to measure for a device, step by step, and gives it to a pair; what is done already is not done again.

answer       what the target says to prompts
sensitivity  what each layer loses in 8, 4, 3 and 2 bits, and left out
plan         the bits that make the most tokens a second on the device (`hub/planning/program.py`)
round        the layers in those bits; with more loss than was allowed, another plan
draft        the graph, measured by what was held out
give         the draft to the pair's manifest
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch

from hub.export.device import Device, device
from hub.export.export import export_draft
from hub.export.layers import layers_of
from hub.export.quantize import step_bytes
from hub.export.rounded import QuantizeError
from hub.export.rounded_file import ROUNDED, named_rounded, write_rounded
from hub.export.rounding import round_layers
from hub.export.sensitivity import OUT, Loss, agreement, sensitivities
from hub.export.student import student_of
from hub.export.tracing import ExportError
from hub.model.checkpoint import load_checkpoint
from hub.pairing.answers import Answered, read_prompts
from hub.pairing.asking import Answers, what_is_said
from hub.pairing.making import measure
from hub.pairing.manifest import give_draft, measured
from hub.pairing.progress import Progress
from hub.pairing.source import find_source
from hub.pairing.workplace import Workplace, workplace, write_whole
from hub.planning.costs import Costs
from hub.planning.program import Limits, Plan, Vocabulary, best_plan
from hub.planning.vocabulary import frequent, rounded_vocabulary, vocabularies_of
from shared.device_profile import DeviceProfile
from shared.errors import PairError
from shared.pair import REMOTE, Pair

PLANS = "plans"  # folder of a pair
MEASURED = (8, 4, 3, 2, OUT)  # what each layer is tried in; ONNX Runtime multiplies by 8, 4 and 2 bits
_DRAFT = "draft.onnx"
_TRIED = 16  # texts by which losses are measured; the others calibrate
_TRIED_A_LAYER = 8  # of these, for each layer alone
_IN_MEMORY = 4 / 3  # bytes in memory for one in the file: scales and offsets are float32 there
_SHARE = 0.5  # of the free memory that a draft's weights may take
_ATTEMPTS = 4  # plans at most, where those before lost more than was allowed
_LARGE = 0.5  # nats: what loses more says little about what small errors cost
_LEAST_COST = 0.01  # of acceptance by a root of a nat at least, where nothing was lost


@dataclass(frozen=True)
class Order:
    """What somebody wants for a device; paths are absolute."""

    draft: str | None = None  # the model that is made to measure, in the target's vocabulary; None: the target
    loss: float = 0.01  # of acceptance, at most
    download_s: float = 1800.0
    round_s: float = 0.1
    context: int = 2048
    text: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Made:
    """What came of a plan: what was expected, and what was measured of its greedy ids on prompts that were held out."""

    name: str
    plan: Plan
    limits: Limits
    loss: float  # of acceptance, by the answers that the plan was made by
    acceptance: float  # measured, as are the following
    whole_acceptance: float  # of the draft in float32
    tokens_per_s: float  # drafted on this machine
    compared: int
    bytes: int  # of the file
    step_bytes: int
    float16_bytes: int  # of the draft's weights in float16
    layer_bits: float  # for a weight of the layers, on average, with scales and offsets
    sensitivity: list[dict[int, Loss]]


def make_plan(order: Order, pair: Pair, profile: DeviceProfile, progress: Progress) -> Made:
    """Make a draft of the pair for the device that `profile` describes, and give it to the pair by the device's name.

    Raises SledError, and leaves the pair as it was then.
    """
    if profile.name in pair.drafts:
        raise PairError(
            f"the pair {pair.name!r} has a draft {profile.name!r} already; take it out of its manifest, or measure the device with another --name"
        )
    folder = pair.folder / PLANS / profile.name
    with workplace(folder, asdict(order) | {"profile": asdict(profile), "target": pair.target}) as place:
        made = _Planning(order, pair, profile, place, progress).run()
        write_whole(place.folder / "plan.json", json.dumps(asdict(made)))
    model = f"{PLANS}/{profile.name}/{_DRAFT}"
    give_draft(pair, profile.name, {"model": model, **measured(made.acceptance, made.step_bytes)})
    return made


@dataclass(frozen=True)
class PairsModel:
    """The pair's target, for whoever asks it."""

    checkpoint: Path
    dtype: str
    pair: Pair


@dataclass(frozen=True)
class _Rounded:
    """A plan whose layers are rounded, in a checkpoint, and the acceptance that this took."""

    plan: Plan
    limits: Limits
    loss: float


class _Planning:
    """One draft in the making."""

    def __init__(self, order: Order, pair: Pair, profile: DeviceProfile, place: Workplace, progress: Progress) -> None:
        self._order, self._pair, self._profile = order, pair, profile
        self._place, self._progress = place, progress
        self._target = find_source(pair.target.removeprefix(REMOTE))
        self._source = self._target if order.draft is None else find_source(order.draft)

    def run(self) -> Made:
        """Do what is not done yet."""
        scratch, say = self._place.scratch, self._progress.say
        with device() as on_device:
            target = self._target.folder(scratch / "target", say)
            prompts = read_prompts(Path(self._order.text) if self._order.text else None)
            known = PairsModel(target, self._pair.target_dtype, self._pair)
            answers = what_is_said(
                known, prompts, on_device, self._order.device, scratch / "answers.json", self._progress
            )
            checkpoint = target if self._source == self._target else self._source.folder(scratch / "draft", say)
            model: Any = load_checkpoint(checkpoint, dtype=torch.float32, attention="sdpa")
            if model.config.vocab_size < max(max(text.ids) for text in answers.calibration):
                raise PairError(
                    f"{self._source.given} has another vocabulary than the target; plans are made for drafts in the target's"
                )
            costs = Costs(model, self._profile)
            sensitivity = self._sensitivity(model, answers)
            rounded = self._rounded(model, costs, answers, sensitivity)
            return self._measured(model, costs, answers, sensitivity, rounded, on_device)

    def _sensitivity(self, model: Any, answers: Answers) -> list[dict[int, Loss]]:
        path = self._place.scratch / "sensitivity.json"
        if not path.exists():
            done = self._progress.of("trying what each layer loses in few bits", len(layers_of(model)))
            tried, calibration = _parts(answers)
            try:
                found = sensitivities(model, tried[:_TRIED_A_LAYER], MEASURED, [text.ids for text in calibration], done)
            except QuantizeError as error:
                raise PairError(str(error)) from None
            write_whole(path, json.dumps([{bits: asdict(loss) for bits, loss in losses.items()} for losses in found]))
        told = json.loads(path.read_text(encoding="utf-8"))
        return [{int(bits): Loss(**loss) for bits, loss in losses.items()} for losses in told]

    def _rounded(self, model: Any, costs: Costs, answers: Answers, sensitivity: Sequence[dict[int, Loss]]) -> _Rounded:
        """A plan that keeps to the limits when it is carried out, in the scratch folder's `checkpoint`."""
        tried, calibration = _parts(answers)
        whole = agreement(model, tried)
        vocabularies = vocabularies_of(model, costs, tried, calibration)
        limits = self._limits(sensitivity, whole)
        layers = [
            {bits: costs.layer(place, bits, losses[bits].divergence) for bits in (*costs.bits, OUT)}
            for place, losses in enumerate(sensitivity)
        ]
        best: _Rounded | None = None
        for attempt in range(_ATTEMPTS):
            plan = best_plan(layers, vocabularies, limits)
            if plan is None:
                raise PairError(self._nothing_fits(vocabularies, limits))
            kept = [place for place, bits in enumerate(plan.bits) if bits != OUT]
            student = student_of(model, kept)
            done = partial(self._progress.of(f"rounding the layers of plan {attempt + 1}", len(kept)), 1)
            chosen = [plan.bits[place] for place in kept]
            grid = round_layers(student, chosen, [text.ids for text in calibration], done)
            with rounded_vocabulary(student, plan.vocabulary.bits):
                loss = whole - agreement(student, tried) + plan.vocabulary.missed
            if best is None or loss < best.loss:
                best = _Rounded(plan, limits, loss)
                student.save_pretrained(self._place.scratch / "checkpoint")
                write_rounded(self._place.scratch / "checkpoint" / ROUNDED, named_rounded(student, grid))
            if loss <= self._order.loss:
                break
            self._progress.say(
                f"plan {attempt + 1} loses {loss:.1%} of acceptance instead of {limits.acceptance - plan.acceptance:.1%}"
            )
            more = loss / max(limits.acceptance - plan.acceptance, self._order.loss / 10)
            limits = replace(limits, per_root=limits.per_root * max(1.1, more))
        assert best is not None
        return best

    def _limits(self, sensitivity: Sequence[dict[int, Loss]], whole: float) -> Limits:
        small = [loss for losses in sensitivity for loss in losses.values() if 0 < loss.divergence < _LARGE]
        total = sum(loss.divergence for loss in small)
        slope = sum(loss.changed * math.sqrt(loss.divergence) for loss in small) / total if total else 0.0
        most = min(
            self._profile.memory * _SHARE / _IN_MEMORY, self._profile.disk, self._profile.link * self._order.download_s
        )
        return Limits(whole, self._order.loss, max(slope, _LEAST_COST), int(most), self._order.round_s)

    def _measured(
        self,
        model: Any,
        costs: Costs,
        answers: Answers,
        sensitivity: list[dict[int, Loss]],
        rounded: _Rounded,
        on_device: Device,
    ) -> Made:
        """The plan's graph, measured."""
        self._progress.say("exporting the draft")
        vocabulary, out = rounded.plan.vocabulary, self._place.folder / _DRAFT
        head = None if vocabulary.ids is None else frequent(answers.calibration, vocabulary.ids)
        context = min(self._order.context, answers.context)
        checkpoint = self._place.scratch / "checkpoint"
        try:
            export_draft(checkpoint, out, context, head=head, vocabulary_bits=vocabulary.bits)
        except ExportError as error:
            raise PairError(str(error)) from None
        on_device.open_graph(out)
        figures = measure(on_device, answers.held_out, self._progress)
        bits = sum(costs.layer(place, bits, 0).bytes for place, bits in enumerate(rounded.plan.bits)) * 8
        kept = sum(costs.weights_of(place) for place, bits in enumerate(rounded.plan.bits) if bits != OUT)
        return Made(
            name=self._profile.name,
            plan=rounded.plan,
            limits=rounded.limits,
            loss=rounded.loss,
            acceptance=figures.acceptance,
            whole_acceptance=agreement(model, answers.held_out),
            tokens_per_s=figures.tokens_per_s,
            compared=figures.compared,
            bytes=out.stat().st_size,
            step_bytes=step_bytes(onnx.load(out)),
            float16_bytes=2 * sum(p.numel() for p in model.parameters()),
            layer_bits=bits / max(1, kept),
            sensitivity=sensitivity,
        )

    def _nothing_fits(self, vocabularies: Sequence[Vocabulary], limits: Limits) -> str:
        least = min(v.cost.bytes for v in vocabularies)
        return (
            f"no draft of {self._source.given} fits {self._profile.name}: {limits.bytes / 1e6:.0f} MB fit its memory, disk and the time to download, and head and embedding alone "
            f"take {least / 1e6:.0f} MB; allow more --loss or --download, or name a smaller --draft"
        )


def _parts(answers: Answers) -> tuple[Sequence[Answered], Sequence[Answered]]:
    """Answers by which losses are measured, and those by which weights are rounded."""
    tried = min(_TRIED, len(answers.calibration) // 3)
    return answers.calibration[:tried], answers.calibration[tried:]
