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

import contextlib
import fcntl
import gc
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from hub.export.device import Device, device
from hub.export.export import export_draft
from hub.export.quantize import step_bytes
from hub.model.attention import NAME as ATTENTION
from hub.model.checkpoint import look_at
from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from hub.model.weight_files import read_json
from hub.model.windows import windows_of
from hub.pairing.answers import Answered, answers, read_prompts
from hub.pairing.chat import Chat, write_chat
from hub.pairing.manifest import Written, write_manifest
from hub.pairing.progress import Progress
from hub.pairing.source import find_source
from hub.settings import Exact
from shared.errors import PairError, SledError
from shared.pair import DEFAULT, MANIFEST, REMOTE, Pair, load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer, require_known

NONE = "none"  # in place of a draft's name
_WISH, _ANSWERS, _DRAFT, _FIGURES = "wish.json", "answers.json", "draft.onnx", "figures.json"
_DRAFT_FOLDER = "draft"  # of a draft's checkpoint that was made of a GGUF file
_COPIED = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
_JSON_BYTES = 2**22  # of the largest config.json that is read
_TOKENS = 96  # most ids of an answer
_KV_BYTES = 2**30  # for the answers that are written side by side
_OWN_DRAFT = 10**9  # weights up to which a target without a named draft drafts for itself
_CONTEXT = 8192  # positions of a draft at most, where nobody says how many: each device holds K/V for them
_LEAST = 0.4  # share of the target's tokens under which a draft costs more than it brings
_BITS = 8  # of a draft's weights, where nobody says how many
_CHATS: tuple[tuple[dict[str, str], ...], ...] = (
    ({"role": "user", "content": "Hello, who are you?"},),
    ({"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is 2 + 2?"}),
    (
        {"role": "user", "content": "  Two spaces, “quotes” and\ntwo lines. "},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Grüße, 你好, 🙂 <b>"},
    ),
)


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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PairError(f"{out} is there already; remove it, or give another --out")
    work = out.with_name(f".{out.name}.making")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            return _made(wish, work, out, progress)
    except OSError as error:
        raise PairError(
            f"cannot write {work}: {error.strerror or error}; mend that, and run it again to go on"
        ) from None


def _made(wish: Wish, work: Path, out: Path, progress: Progress) -> Figures | None:
    try:
        _forget_another(wish, work)
        figures = _Making(wish, work, progress).run()
    except SledError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    for name in (_WISH, _ANSWERS, _FIGURES):
        (work / name).unlink(missing_ok=True)
    shutil.rmtree(work / _DRAFT_FOLDER, ignore_errors=True)
    if out.exists():
        out.rmdir()
    work.rename(out)
    return figures


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the folder. Raises PairError where another program does."""
    folder = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PairError(f"another program is making this pair in {work}; wait for it") from None
    finally:
        os.close(folder)


def _forget_another(wish: Wish, work: Path) -> None:
    """Empty the folder if it is of another wish."""
    asked = json.dumps(asdict(wish), sort_keys=True)
    path = work / _WISH
    if path.exists() and path.read_text(encoding="utf-8") == asked:
        return
    for each in work.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    path.write_text(asked, encoding="utf-8")


class _Making:
    """One pair in the making."""

    def __init__(self, wish: Wish, work: Path, progress: Progress) -> None:
        self._wish, self._work, self._progress = wish, work, progress
        self._source = find_source(wish.target)
        self._draft_source = (
            self._source if wish.draft is None else None if wish.draft == NONE else find_source(wish.draft)
        )
        self._template = Path(wish.template) if wish.template else None
        self._prompts = read_prompts(Path(wish.text) if wish.text else None)

    def run(self) -> Figures | None:
        """Do what is not done yet."""
        work = self._work
        checkpoint = self._source.folder(work / "target", self._progress.say)
        dtype = _dtype(checkpoint) if self._wish.dtype == "auto" else self._wish.dtype
        _, stored = look_at(checkpoint, dtype=pick_dtype(dtype), attention=ATTENTION, refuse=windows_of)
        chat = write_chat(checkpoint, work, self._template)
        if self._source.kind == "folder":
            _link(checkpoint, work / "target")
        written = self._written(chat, checkpoint, dtype)
        write_manifest(work, written, ())
        pair = load_pair(str(work))
        with device() as on_device:
            self._check_template(chat, on_device)
            answered = self._answered(pair, checkpoint, on_device)
            draft = self._draft_checkpoint(checkpoint, sum(math.prod(tensor.shape) for tensor in stored.values()))
            figures = None if draft is None else self._draft(draft, answered, on_device)
        facts = {} if figures is None else {DEFAULT: _facts(work, figures)}
        write_manifest(work, self._written(chat, checkpoint, dtype, facts), _recorded(work))
        load_pair(str(work))
        return figures

    def _written(
        self, chat: Chat, checkpoint: Path, dtype: str, drafts: dict[str, dict[str, Any]] | None = None
    ) -> Written:
        remote = self._source.kind == "remote"
        return Written(
            name=self._wish.name or self._source.name,
            checkpoint=f"{REMOTE}{self._source.pinned(checkpoint)}" if remote else "target",
            dtype=dtype,
            end=chat.end,
            defaults=chat.defaults,
            drafts=drafts or {},
        )

    def _check_template(self, chat: Chat, on_device: Device) -> None:
        """Raise PairError unless the device makes the same ids of chats as transformers does."""
        self._progress.say("comparing the chat template on the device's side with transformers'")
        for turns in _CHATS:
            try:
                expected = chat.prompt(turns)
            except Exception:  # noqa: S112 - a template may refuse a system message; the device refuses it too
                continue
            if on_device.prompts(self._work, [turns]) != [expected]:
                raise PairError(
                    f"the chat template of {self._wish.target} gives other ids on a device than in transformers; this can't be served, "
                    "please report the model"
                )

    def _answered(self, pair: Pair, checkpoint: Path, on_device: Device) -> _Answers:
        """What the target says; the first time, it is loaded as a hub loads it, with all the checks of one."""
        path = self._work / _ANSWERS
        if path.exists():
            return _Answers.read(path)
        self._progress.say("loading the target and comparing its logits with those of transformers")
        target = Target(
            checkpoint,
            device=pick_device(self._wish.device),
            dtype=pick_dtype(pair.target_dtype),
            kv_memory=None if torch.cuda.is_available() else _KV_BYTES,
            exact=Exact.OFF,
            threads=0,
        )
        tokenizer = load_tokenizer(pair)
        ends = end_ids(pair, tokenizer)
        require_known(pair, tokenizer, ends, target.vocab_size)
        known = min(ids_below(tokenizer), target.vocab_size)
        asked = [*self._prompts.calibration, *self._prompts.held_out]
        prompts = on_device.prompts(self._work, [[{"role": "user", "content": prompt}] for prompt in asked])
        done = self._progress.of("asking the target", len(prompts) * _TOKENS)
        found: list[Answered] = []
        for some in answers(target, prompts, ends, known, _TOKENS, done):
            found += some
        count = len(self._prompts.calibration)
        told = _Answers(tuple(found[:count]), tuple(found[count:]), target.context)
        told.write(path)
        del target
        gc.collect()
        return told

    def _draft_checkpoint(self, checkpoint: Path, weights: int) -> Path | None:
        if self._draft_source is None:
            return None
        if self._draft_source == self._source:
            return checkpoint if weights <= _OWN_DRAFT else None
        return self._draft_source.folder(self._work / _DRAFT_FOLDER, self._progress.say)

    def _draft(self, checkpoint: Path, answered: _Answers, on_device: Device) -> Figures | None:
        path, kept = self._work / _DRAFT, self._work / _FIGURES
        if kept.exists():
            return Figures(**json.loads(kept.read_text(encoding="utf-8")))
        if not path.exists():
            self._progress.say("exporting the draft")
            half = self._work / f"half-{_DRAFT}"
            context = self._wish.context or min(answered.context, _CONTEXT)
            texts = [answer.ids for answer in answered.calibration]
            export_draft(checkpoint, half, context, self._wish.bits or _BITS, texts=texts, on_layers=self._on_layers)
            half.replace(path)
        figures = measure(on_device, path, answered.held_out, self._progress)
        if figures.acceptance < _LEAST and not self._wish.anyway:
            raise PairError(
                f"the draft says only {figures.acceptance:.0%} of {figures.compared} tokens as the target does, which makes devices slower; choose a "
                "draft of the target's family, or more --bits, or keep it with --anyway"
            )
        kept.write_text(json.dumps(asdict(figures)), encoding="utf-8")
        return figures

    def _on_layers(self, count: int) -> Callable[[int], None]:
        return self._progress.of("rounding the draft's layers", count)


@dataclass(frozen=True)
class _Answers:
    """What the target said, to prompts for calibration and to those that were held out; `context` is the target's."""

    calibration: tuple[Answered, ...]
    held_out: tuple[Answered, ...]
    context: int

    def write(self, path: Path) -> None:
        half = path.with_suffix(".half")
        half.write_text(json.dumps(asdict(self)), encoding="utf-8")
        half.replace(path)

    @classmethod
    def read(cls, path: Path) -> _Answers:
        told = json.loads(path.read_text(encoding="utf-8"))
        calibration, held_out = (
            tuple(Answered(tuple(each["ids"]), each["prompt"]) for each in told[part])
            for part in ("calibration", "held_out")
        )
        return cls(calibration, held_out, told["context"])


def measure(on_device: Device, draft: Path, held_out: Sequence[Answered], progress: Progress) -> Figures:
    """Follow the target's answers with the draft, on the device's side, on as many threads as it chooses."""
    on_device.open(draft)
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


def _dtype(checkpoint: Path) -> str:
    """The type of numbers that a checkpoint was saved in, as far as its configuration says."""
    config = read_json(checkpoint / "config.json", _JSON_BYTES)
    said = config.get("dtype", config.get("torch_dtype"))
    return said if said in {"float32", "bfloat16", "float16"} else "float32"


def _facts(work: Path, figures: Figures) -> dict[str, Any]:
    """The draft's table in the manifest."""
    size = step_bytes(onnx.load(work / _DRAFT))
    return {"model": _DRAFT, "acceptance": round(figures.acceptance, 4), "step_bytes": size}


def _recorded(work: Path) -> list[str]:
    """The files whose hashes the manifest has, by their paths in the folder."""
    files = (path for path in sorted(work.rglob("*")) if path.is_file())
    named = (path.relative_to(work) for path in files)
    unnamed = {MANIFEST, _WISH, _ANSWERS, _FIGURES}
    return [path.as_posix() for path in named if path.name not in unnamed and path.parts[0] != _DRAFT_FOLDER]
