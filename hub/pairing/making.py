"""Makes a pair, step by step, in a folder beside the one that is wanted; what is done already is not done again.

    fetch     the target's files, the tokenizer and the chat template
    check     the target by the hub's own check of its logits; the template by what the device makes of it
    answer    what the target says to prompts
    draft     the draft's graph: rounded by those answers, exported, compared with transformers
    measure   how often the draft says what the target says, and how fast it is here
    write     the manifest with its hashes; then the folder gets its name

A model that is refused leaves nothing behind. A run that is interrupted leaves its folder, from which the next goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from hub.export.device import Device, device
from hub.export.export import export_draft
from hub.export.quantize import step_bytes
from hub.pairing.answers import Answered, read_prompts
from hub.pairing.asking import Answers, what_is_said
from hub.pairing.begun import Begun, begin, check_template
from hub.pairing.chat import has_same_ids, load_tokenizer, write_tokenizer
from hub.pairing.manifest import measured, write_manifest
from hub.pairing.progress import Progress
from hub.pairing.source import find_source
from hub.pairing.workplace import Workplace, workplace, write_whole
from shared.errors import PairError
from shared.pair import DEFAULT, MANIFEST, load_pair

NONE = "none"  # in place of a draft's name
_DRAFT = "draft.onnx"
_TOKENIZER = "draft-tokenizer.json"  # of a draft whose ids are not the target's
_COPIED = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
_OWN_DRAFT = 10**9  # weights up to which a target without a named draft drafts for itself
_CONTEXT = 8192  # positions of a draft at most, where nobody says how many: each device holds K/V for them
_LEAST = 0.4  # share of the target's tokens under which a draft costs more than it brings
_BITS = 8  # of a draft's weights, where nobody says how many


@dataclass(frozen=True)
class Wish:
    """What somebody wants made; a name of None is the target's, and numbers of None are chosen. Paths are absolute."""

    target: str
    draft: str | None
    name: str | None = None
    bits: int | None = None
    context: int | None = None
    text: str | None = None
    template: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    anyway: bool = False  # keep a draft that is seldom right


@dataclass(frozen=True)
class Figures:
    """What was measured of a draft: its share of the target's greedy ids on prompts that were held out, and tokens/s on this machine."""

    acceptance: float
    tokens_per_s: float
    compared: int


def make_pair(wish: Wish, out: Path, progress: Progress) -> Figures | None:
    """Make the pair that is wished for in the folder `out`, which must not be there yet, or be empty.

    Returns what was measured of the draft, None without one. Raises SledError, and leaves nothing then.
    """
    with workplace(out, asdict(wish)) as place:
        return _Making(wish, place, progress).run()


class _Making:
    """One pair in the making."""

    def __init__(self, wish: Wish, place: Workplace, progress: Progress) -> None:
        self._wish, self._place, self._progress = wish, place, progress
        self._source = find_source(wish.target)
        self._draft_source = (
            self._source if wish.draft is None else None if wish.draft == NONE else find_source(wish.draft)
        )
        self._template = Path(wish.template) if wish.template else None
        self._prompts = read_prompts(Path(wish.text) if wish.text else None)

    def run(self) -> Figures | None:
        """Do what is not done yet."""
        folder = self._place.folder
        checkpoint = self._source.folder(folder / "target", self._progress.say)
        begun = begin(self._source, folder, checkpoint, self._wish.dtype, self._template, self._wish.name)
        if self._source.kind == "folder":
            _link(checkpoint, folder / "target")
        with device() as on_device:
            self._progress.say("comparing the chat template on the device's side with transformers'")
            check_template(begun, on_device)
            path = self._place.scratch / "answers.json"
            answered = what_is_said(begun, self._prompts, on_device, self._wish.device, path, self._progress)
            draft = self._draft_checkpoint(begun)
            table: dict[str, Any] = {} if draft is None else self._vocabulary(begun, draft)
            figures = None if draft is None else self._draft(begun, draft, table, answered, on_device)
        facts = (
            {}
            if figures is None
            else {
                DEFAULT: {
                    "model": _DRAFT,
                    **table,
                    **measured(figures.acceptance, step_bytes(onnx.load(folder / _DRAFT))),
                }
            }
        )
        write_manifest(folder, begun.written(self._wish.name, facts), _recorded(self._place))
        load_pair(str(folder))
        return figures

    def _draft_checkpoint(self, begun: Begun) -> Path | None:
        if self._draft_source is None:
            return None
        if self._draft_source == self._source:
            return begun.checkpoint if begun.weights <= _OWN_DRAFT else None
        return self._draft_source.folder(self._place.scratch / "draft", self._progress.say)

    def _vocabulary(self, begun: Begun, draft: Path) -> dict[str, Any]:
        """What the draft's table says of its tokenizer: nothing if its ids are the target's."""
        if draft == begun.checkpoint:
            return {}
        tokenizer = load_tokenizer(draft)
        if has_same_ids(begun.chat, tokenizer):
            return {}
        write_tokenizer(tokenizer, draft, self._place.folder / _TOKENIZER)
        known, end = tokenizer.get_vocab(), tokenizer.eos_token
        words = {word: end for word in begun.chat.end if word not in known and end is not None}
        return {"tokenizer": _TOKENIZER, **({"words": words} if words else {})}

    def _draft(
        self, begun: Begun, checkpoint: Path, table: dict[str, Any], answered: Answers, on_device: Device
    ) -> Figures:
        folder, kept = self._place.folder, self._place.scratch / "figures.json"
        if kept.exists():
            return Figures(**json.loads(kept.read_text(encoding="utf-8")))
        if not (folder / _DRAFT).exists():
            self._progress.say("exporting the draft")
            half = self._place.scratch / _DRAFT
            context = self._wish.context or min(answered.context, _CONTEXT)
            texts = self._texts(begun, checkpoint, table, answered.calibration)
            export_draft(checkpoint, half, context, self._wish.bits or _BITS, texts=texts, on_layers=self._on_layers)
            half.replace(folder / _DRAFT)
        write_manifest(folder, begun.written(self._wish.name, {DEFAULT: {"model": _DRAFT, **table}}), ())
        on_device.open_draft(folder, DEFAULT)
        if table:
            said = [begun.chat.text(answer.ids[answer.prompt :]) for answer in answered.held_out]
            self._progress.say(on_device.cost_of_translation(said))
        figures = measure(on_device, answered.held_out, self._progress)
        if figures.acceptance < _LEAST and not self._wish.anyway:
            raise PairError(
                f"the draft says only {figures.acceptance:.0%} of {figures.compared} tokens as the target does, which makes devices slower; choose a "
                "draft of the target's family, or more --bits, or keep it with --anyway"
            )
        write_whole(kept, json.dumps(asdict(figures)))
        return figures

    def _texts(
        self, begun: Begun, checkpoint: Path, table: dict[str, Any], answers_: Sequence[Answered]
    ) -> list[Sequence[int]]:
        """The answers with their prompts in the draft's ids."""
        if not table:
            return [answer.ids for answer in answers_]
        tokenizer = load_tokenizer(checkpoint)
        return [tokenizer.encode(begun.chat.text(answer.ids), add_special_tokens=False) for answer in answers_]

    def _on_layers(self, count: int) -> Callable[[int], None]:
        return self._progress.of("rounding the draft's layers", count)


def measure(on_device: Device, held_out: Sequence[Answered], progress: Progress) -> Figures:
    """Follow the target's answers with the draft that is open on the device's side."""
    done = progress.of("measuring the draft", len(held_out))
    same = compared = 0
    seconds = []
    for answer in held_out:
        followed = on_device.follow(answer.ids, answer.prompt)
        said = answer.ids[answer.prompt :]
        same += sum(guess == token for guess, token in zip(followed.guesses, said, strict=True))
        compared += len(said)
        seconds.append(followed.s_per_token)
        done(1)
    return Figures(same / max(1, compared), len(seconds) / max(1e-9, sum(seconds)), compared)


def _link(checkpoint: Path, folder: Path) -> None:
    """Have the checkpoint's files in `folder` too, without a second copy where the disk allows it."""
    folder.mkdir(exist_ok=True)
    for pattern in _COPIED:
        for path in checkpoint.glob(pattern):
            to = folder / path.name
            if to.exists():
                continue
            try:
                os.link(path.resolve(), to)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(path, to)


def _recorded(place: Workplace) -> list[str]:
    """The files whose hashes the manifest has, by their paths in the folder."""
    files = (path for path in sorted(place.folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return [path.relative_to(place.folder).as_posix() for path in files if not path.is_relative_to(place.scratch)]
