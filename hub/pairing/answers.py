"""What a target says to the prompts of `prompts.toml` or of a file: greedy answers, by the hub's own forward, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hub.kv.pages import pages_for
from hub.model.probe_rows import probe_rows
from hub.model.sampling import draw
from hub.model.target import Target
from shared.errors import PairError
from shared.sampling_parameters import Sampling
from shared.text_file import read_text, read_toml

_PROMPTS = Path(__file__).parent / "prompts.toml"
_AT_ONCE = 16  # answers that are written side by side
_MOST_BYTES = 2**24  # of a file of prompts
_HELD_OUT = 4  # of a file's prompts every so manieth measures, the others calibrate


@dataclass(frozen=True)
class Prompts:
    """Requests: those whose answers calibrate a draft, and those whose answers measure it."""

    calibration: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """A prompt and what the target says to it, as ids; the answer begins at `prompt`."""

    ids: tuple[int, ...]
    prompt: int


def read_prompts(file: Path | None) -> Prompts:
    """The prompts in a text file, one in a line, every fourth held out; without a file those of the package. Raises PairError."""
    if file is None:
        table = read_toml(_PROMPTS, "the prompts", PairError)
        return Prompts(tuple(table["calibration"]), tuple(table["held_out"]))
    lines = [line.strip() for line in read_text(file, "the prompts", PairError, most=_MOST_BYTES).splitlines()]
    asked = list(dict.fromkeys(filter(None, lines)))
    if len(asked) < 2 * _HELD_OUT:
        raise PairError(f"{file} has {len(asked)} different prompts; give one in each line, {2 * _HELD_OUT} or more")
    held_out = asked[_HELD_OUT - 1 :: _HELD_OUT]
    return Prompts(tuple(prompt for prompt in asked if prompt not in set(held_out)), tuple(held_out))


def answers(
    target: Target,
    prompts: Sequence[Sequence[int]],
    ends: frozenset[int],
    known: int,
    most: int,
    on_token: Callable[[int], None] = lambda _: None,
    samplings: Sequence[Sampling] | None = None,
) -> Iterator[Answered]:
    """The target's answers of up to `most` ids, an id of `ends` included, to prompts of ids, in order; several are written side by side.

    They are greedy, or sampled as `samplings` has it for each. Ids from `known` on are never written. `on_token` is told how many were written. Raises PairError when a prompt does not fit the context.
    """
    room = target.context - most
    if longest := max((len(prompt) for prompt in prompts if len(prompt) > room), default=0):
        raise PairError(f"a prompt has {longest} ids, and the target's context has room for {room}; give shorter ones")
    at_once = max(
        1,
        min(
            _AT_ONCE,
            target.pool.available // max(1, max(map(pages_for, (len(prompt) + most for prompt in prompts)), default=1)),
        ),
    )
    rules = samplings or [Sampling()] * len(prompts)
    for start in range(0, len(prompts), at_once):
        part = slice(start, start + at_once)
        yield from _side_by_side(target, prompts[part], rules[part], ends, known, most, on_token)


def _side_by_side(
    target: Target,
    prompts: Sequence[Sequence[int]],
    rules: Sequence[Sampling],
    ends: frozenset[int],
    known: int,
    most: int,
    on_token: Callable[[int], None],
) -> list[Answered]:
    texts = [list(prompt) for prompt in prompts]
    with probe_rows(target.pool, [(0, len(prompt) + most) for prompt in prompts]) as pages, torch.inference_mode():
        feed = [replace(row, ids=tuple(text), wanted=1) for row, text in zip(pages, texts, strict=True)]
        going = list(range(len(texts)))
        while going:
            logits = target.forward([feed[place] for place in going])[:, :known]
            chosen = draw(logits, [rules[place] for place in going], [len(texts[place]) for place in going])
            for place, token in zip(going, chosen, strict=True):
                feed[place] = replace(feed[place], start=len(texts[place]), ids=(token,))
                texts[place].append(token)
            on_token(len(going))
            going = [
                place
                for place in going
                if texts[place][-1] not in ends and len(texts[place]) < len(prompts[place]) + most
            ]
    return [Answered(tuple(text), len(prompt)) for text, prompt in zip(texts, prompts, strict=True)]
