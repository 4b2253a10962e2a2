"""A real model, SmolLM2-135M-Instruct, with drafts of itself: in 8 and in 4 bits, made to measure for this machine, and a distilled one.

answers, exact_answers   of devices with each of these drafts, with n-grams and streaming, on one hub at once, greedy and sampled
agreement_int8           share of the target's greedy ids on prompts that were held out, of a draft with all weights in 8 bits
agreement_int4           with those of the layers in 4 bits; `bits_int4` has their bits on average with scales and offsets
agreement_int4_other     the same of the home pair's target, whose weights never were in few bits, on requests to it
acceptance_plan          of the draft that `sled-hub pair plan` made for this machine by `sled-node profile`; bytes_plan is its file
payload_ratio            of that file to the weights in float16
acceptance_loss          of that draft, beside the same weights in float32
predicted_over_measured  committed tokens/s of that draft: as the plan's acceptance and speed predict them for blocks and rounds such as a node's at a
                         real hub here, over those of that node
acceptance_distilled     of a draft with two thirds of the layers, after --minutes of `sled-hub pair distil`; beside it untrained

What is done is kept in the folder, and not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode
from hub.distil.distilling import Lesson, distil
from hub.export.device import device
from hub.export.export import export_draft
from hub.export.quantize import step_bytes
from hub.export.rounded import BLOCK
from hub.export.sensitivity import agreement
from hub.model.checkpoint import load_checkpoint
from hub.pairing.answers import Prompts, read_prompts
from hub.pairing.asking import Answers, what_is_said
from hub.pairing.making import measure
from hub.pairing.manifest import give_draft, measured
from hub.pairing.progress import Progress
from hub.pairing.shown import shown
from hub.pairing.workplace import write_whole
from hub.planning.planning import Order, PairsModel, make_plan
from shared.device_profile import read_profile
from shared.expected_speed import expected_commit
from shared.pair import Pair, load_pair
from tools.bench import mixed
from tools.bench.asking import drawn
from tools.bench.real_picture import draw
from tools.bench.report import show
from tools.bench.soak_picture import check_picture
from tools.home.data.invent import Source as HomeRequests
from tools.rig.number_format import NumberFormat
from tools.rig.testbed import running_hub
from tools.smollm2.pair_folder import smollm2_gguf, smollm2_pair
from tools.smollm2.questions import QUESTIONS

_REQUESTS = 160  # to the home pair
_CONTEXT = 2048  # positions of the drafts
_LAYERS = 20  # of the target's 30, that the distilled draft has
_HERE = "here"
_TOKENS = 64  # of an answer whose time is taken
_TIMED = 6  # answers


def run(folder: Path, answers: int, minutes: float, picture: Path | None, as_json: bool) -> bool:
    """Print the figures above, and save a picture; whether all answers were exact. Raises SledError, for a package that is not installed too."""
    if picture is not None:
        check_picture(picture)
    with shown() as progress:
        bench = _Real(folder, minutes, progress)
        figures = bench.figures(answers)
        if picture is not None:
            bench.draw(picture)
    show("real", figures, as_json)
    return bool(figures["exact_answers"] == figures["answers"])


class _Real:
    """The figures, step by step."""

    def __init__(self, folder: Path, minutes: float, progress: Progress) -> None:
        smollm2_gguf()  # what is missing is told first
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._minutes, self._progress = folder, minutes, progress
        self._kept = folder / "figures.json"
        self._known: dict[str, Any] = json.loads(self._kept.read_text("utf-8")) if self._kept.exists() else {}

    def figures(self, answers: int) -> dict[str, Any]:
        """All of them."""
        smollm2_pair(self._folder / "pair")
        eight = self._once("int8", self._default)
        four = self._once("int4", lambda: self._uniform(4, "int4"))
        other = self._once("home in 4 bits", self._home_in_4_bits)
        two = self._once("int2", lambda: self._uniform(2, None))
        whole = self._once("whole", self._whole)
        plan = self._once("plan", self._planned)
        student = self._once(f"distilled in {self._minutes:g} minutes", self._distilled)
        self._once("other", self._other_vocabulary)
        pace = self._once("pace", lambda: self._pace(plan))
        devices = self._once(f"{answers} answers", lambda: self._mixed(answers))
        return {
            "answers": devices["answers"],
            "exact_answers": devices["exact_answers"],
            "agreement_int8": eight["acceptance"],
            "agreement_int4": four["acceptance"],
            "bits_int4": four["bits"],
            "agreement_int4_other": other["acceptance"],
            "agreement_int2": two["acceptance"],
            "acceptance_plan": plan["acceptance"],
            "bytes_plan": plan["bytes"],
            "payload_ratio": round(plan["bytes"] / plan["float16_bytes"], 3),
            "acceptance_loss": round(whole["acceptance"] - plan["acceptance"], 4),
            "bits_plan": plan["plan"]["bits"],
            **pace,
            **student,
            "compared": eight["compared"],
            "devices": devices["devices"],
        }

    def draw(self, out: Path) -> None:
        """Save the picture of what was found."""
        plan, whole = self._known["plan"], self._known["whole"]
        drafts = {f"{bits} bits": self._known[f"int{bits}"] for bits in (2, 4, 8)}
        points = {name: (facts["bytes"] / 1e6, facts["acceptance"]) for name, facts in {**drafts, "plan": plan}.items()}
        points["32 bits"] = (2 * plan["float16_bytes"] / 1e6, whole["acceptance"])
        losses = [{int(bits): loss["divergence"] for bits, loss in each.items()} for each in plan["sensitivity"]]
        draw(plan["plan"]["bits"], losses, points, out)

    def _once(self, step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if step not in self._known:
            self._known[step] = work()
            write_whole(self._kept, json.dumps(self._known))
        found: dict[str, Any] = self._known[step]
        return found

    @property
    def _pair(self) -> Pair:
        return load_pair(str(self._folder / "pair"))

    def _answers(self) -> Answers:
        return self._said_by(self._pair, read_prompts(None), "answers.json")

    def _said_by(self, pair: Pair, prompts: Prompts, kept: str) -> Answers:
        with device() as on_device:
            known = PairsModel(Path(pair.target), pair.target_dtype, pair)
            return what_is_said(known, prompts, on_device, "auto", self._folder / kept, self._progress)

    def _home_in_4_bits(self) -> dict[str, Any]:
        home, out = load_pair("home"), self._folder / "home-4.onnx"
        requests = [each.exchanges[0].request for each in drawn(_REQUESTS, HomeRequests("held_out"), 1)]
        prompts = Prompts(tuple(requests[: len(requests) // 2]), tuple(requests[len(requests) // 2 :]))
        answers = self._said_by(home, prompts, "answers-home.json")
        export_draft(Path(home.target), out, bits=4, texts=[text.ids for text in answers.calibration])
        with device() as on_device:
            on_device.open_graph(out)
            found = measure(on_device, answers.held_out, self._progress)
        return {"acceptance": round(found.acceptance, 4), "compared": found.compared}

    def _default(self) -> dict[str, Any]:
        """The draft that the pair was made with."""
        draft = self._pair.draft
        assert draft is not None
        return self._exported(Path(self._pair.target), 8, None, draft.model.name)

    def _uniform(self, bits: int, name: str | None) -> dict[str, Any]:
        """A draft whose layers have so many bits, which the pair has by that name."""
        return self._exported(Path(self._pair.target), bits, name, f"uniform-{bits}.onnx")

    def _exported(self, checkpoint: Path, bits: int, name: str | None, file: str) -> dict[str, Any]:
        answers, out = self._answers(), self._pair.folder / file
        texts = [text.ids for text in answers.calibration]
        if not out.exists():
            self._progress.say(f"exporting {file}")
            export_draft(checkpoint, out, _CONTEXT, bits, texts=texts, on_layers=self._on_layers)
        with device() as on_device:
            on_device.open_graph(out)
            found = measure(on_device, answers.held_out, self._progress)
        graph = onnx.load(out)
        if name is not None:
            give_draft(self._pair, name, {"model": file, **measured(found.acceptance, step_bytes(graph))})
        return {
            "acceptance": round(found.acceptance, 4),
            "tokens_per_s": round(found.tokens_per_s, 1),
            "compared": found.compared,
            "bytes": out.stat().st_size,
            "bits": round(layer_bits(graph), 3),
        }

    def _on_layers(self, count: int) -> Callable[[int], None]:
        return self._progress.of("rounding the draft's layers", count)

    def _whole(self) -> dict[str, Any]:
        model = load_checkpoint(Path(self._pair.target), dtype=torch.float32, attention="sdpa")
        return {"acceptance": round(agreement(model, self._answers().held_out), 4)}

    def _planned(self) -> dict[str, Any]:
        path = self._folder / "here.json"
        if not path.exists():
            self._progress.say("measuring this machine")
            command = [
                sys.executable,
                "-m",
                "edge_node",
                "profile",
                "--name",
                _HERE,
                "--link",
                "10",
                "--out",
                str(path),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if _HERE not in self._pair.drafts:
            make_plan(Order(context=_CONTEXT), self._pair, read_profile(str(path)), self._progress)
        told: dict[str, Any] = json.loads((self._pair.folder / "plans" / _HERE / "plan.json").read_text("utf-8"))
        return told

    def _distilled(self) -> dict[str, Any]:
        student = self._folder / f"student-{self._minutes:g}"
        if not student.exists():
            distil(Lesson(str(smollm2_gguf()), _LAYERS, self._minutes), student.resolve(), self._progress)
        learnt = json.loads((student / "distilled.json").read_text("utf-8"))
        exported = self._exported(student, 8, "distilled", f"{student.name}.onnx")
        return {
            "acceptance_distilled": exported["acceptance"],
            "acceptance_untrained": round(learnt["acceptance_untrained"], 4),
            "bytes_distilled": exported["bytes"],
            "distil_minutes": self._minutes,
        }

    def _other_vocabulary(self) -> dict[str, Any]:
        """The home pair's draft, whose vocabulary is another."""
        home = load_pair("home")
        assert home.draft is not None
        for file, to in ((home.draft.model, "other.onnx"), (home.tokenizer, "other-tokenizer.json")):
            (self._pair.folder / to).write_bytes(file.read_bytes())
        ends = dict.fromkeys(self._pair.end_tokens, home.end_tokens[0])
        give_draft(self._pair, "other", {"model": "other.onnx", "tokenizer": "other-tokenizer.json", "words": ends})
        return {}

    def _pace(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Committed tokens/s of the planned draft at a hub here, and what the plan says for the rounds that were seen."""
        step_s = plan["plan"]["step_s"]
        with device() as on_device:
            on_device.open_draft(self._pair.folder, _HERE)
            alone = measure(on_device, self._answers().held_out[:_TIMED], self._progress).tokens_per_s
        form = NumberFormat(self._pair.target_dtype)
        stats = []
        with (
            running_hub([_HERE], str(self._pair.folder), [*form.hub_options, "--threads", "1"]) as bed,
            connected(bed.node(_HERE, threads=0, mode=Mode.SPECULATE, draft=_HERE)) as node,
        ):
            for question in QUESTIONS[: _TIMED + 1]:
                answer = Answer()
                node.clear()
                for _ in node.ask(question, Generation(max_tokens=_TOKENS), answer):
                    pass
                stats.append(answer.stats)
        timed = stats[1:]  # behind the first, which loads
        seconds, rounds = sum(s.elapsed_s for s in timed), sum(s.rounds for s in timed)
        drafted = sum(s.drafted for s in timed)
        measured = sum(s.tokens for s in timed) / seconds
        round_s = max(1e-3, (seconds - drafted / alone) / rounds)
        length = drafted / rounds
        predicted = expected_commit(plan["plan"]["acceptance"], length) / (round_s + length * step_s)
        return {
            "predicted_over_measured": round(predicted / measured, 3),
            "drafting_predicted_over_measured": round(1 / step_s / alone, 3),
            "drafted_tokens_per_s": round(alone, 1),
            "tokens_per_s": round(measured, 2),
            "round_ms": round(1e3 * round_s, 1),
            "drafted_a_round": round(length, 2),
        }

    def _mixed(self, answers: int) -> dict[str, Any]:
        self._progress.say("asking devices with all these drafts at once")
        return mixed.devices_at_once(str(self._pair.folder), answers, _TOKENS)


def layer_bits(graph: onnx.ModelProto) -> float:
    """Bits that a weight of the layers takes in the file on average, with scales and offsets; head and embedding are left out."""
    sizes = {tensor.name: len(tensor.raw_data) for tensor in graph.graph.initializer}
    weights = taken = 0
    for node in graph.graph.node:
        if node.op_type == "MatMulNBits" and not node.output[0].startswith("logits"):
            facts = {attribute.name: attribute.i for attribute in node.attribute}
            name = node.input[1].removesuffix(".all")
            width = facts["K"] * BLOCK // (BLOCK + 8 // facts["bits"])  # without the shares of sums
            weights += facts["N"] * width
            taken += 8 * sum(sizes[f"{name}.{part}"] for part in ("numbers", "offsets", "levels", "factors"))
    return taken / weights
