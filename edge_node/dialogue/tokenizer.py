"""Text and ids: the pair's tokenizer, and its chat template with answers spliced in as the ids that they were."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge_node.dialogue.control_words import ControlWords
from edge_node.dialogue.template import ChatTemplate
from shared.errors import PairError, PromptTooLong, SettingsError
from shared.pair import TOKENIZER_CONFIG, Pair
from shared.text_file import read_text
from shared.transcript import common_length
from shared.typed_text import plain_line, plain_lines
from shared.vocabulary import end_ids, ids_below, load_tokenizer

_MOST_CONFIG = 2**24  # bytes: it may describe a hundred thousand added tokens


Asking = Literal["user", "tool"]  # whom the assistant answers: a tool says what came of a call
Tool = Mapping[str, Any]  # a function that may be called, as templates take it: {"type": "function", "function": {…}}


@dataclass(frozen=True)
class Turn:
    """One message of a chat. `ids` are those that the target wrote, for an answer whose text they are."""

    role: Literal["system", "assistant"] | Asking
    content: str
    ids: tuple[int, ...] | None = None


class ChatTokenizer:
    """Renders chats to ids and decodes answers."""

    def __init__(self, pair: Pair) -> None:
        """Load the tokenizer and the chat template. Raises PairError."""
        template = ChatTemplate(pair.verify(pair.chat_template), _variables(pair))
        self.tokenizer = load_tokenizer(pair)
        self._path = pair.tokenizer
        try:
            self._words = ControlWords(self.tokenizer)
        except Exception as error:  # the tokenizers package raises bare Exception
            raise PairError(f"{self._path} is not a tokenizer file: {error}") from None
        self._template = template.loaded()
        self._listed = pair.listed
        self._plain = pair.plain
        self.vocab_size = ids_below(self.tokenizer)
        self.end_ids = end_ids(pair, self.tokenizer)

    def prompt(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> list[int]:
        """The ids of the chat up to where the assistant begins to write. Templates of models that call tools describe `tools`.

        Control words come from the template; what stands in a turn is text, whatever it looks like. Answers go in as
        the ids that were generated: re-tokenizing their text may give others. Where a template changes an answer's
        text, that can't be done, and the text decides. It may leave old turns out. Raises PairError, PromptTooLong or
        SettingsError.
        """
        turns = [turn for turn in turns if turn.role != "system" or self._takes(turn.content)]
        if self._plain:
            turns = [_typed(turn) for turn in turns]
        spare = _spare_characters(turns)
        hidden: dict[int, str] = {}
        contents = [self._hide(turn, spare, hidden) for turn in turns]
        text = self._render(turns, contents, tools)
        apart = [self._set_apart(content, spare, hidden) for content in contents]
        if apart != contents:
            text_apart = self._render(turns, apart, tools)
            if self._found(text_apart) != self._found(text):  # a turn and the template around it make one word
                contents, text = apart, text_apart
        answers: dict[str, tuple[int, ...]] = {}
        marked = list(contents)
        for i, turn in enumerate(turns):
            if turn.ids is not None:
                marked[i] = next(spare)
                answers[marked[i]] = turn.ids
        if answers:
            with_marks = self._render(turns, marked, tools)
            if with_marks.translate({ord(mark): contents[marked.index(mark)] for mark in answers}) == text:
                return self._encode(with_marks, hidden, answers)
        return self._encode(text, hidden, {})

    def _takes(self, system: str) -> bool:
        """Whether the pair makes anything of a system message: one that was trained with lists of homes alone takes any other for a list that lacks everything."""
        return self._listed is None or self._listed.read(system) is not None

    def beginning(self, opening: Sequence[Turn]) -> list[int]:
        """The ids that all chats have in common that begin with the turns of `opening`."""
        # Line feeds at both sides of a turn's edge are often one id: one of the requests begins with one.
        first, second = (self.prompt([*opening, Turn("user", request)]) for request in ("a", "\nb"))
        return first[: common_length(first, second)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _hide(self, turn: Turn, spare: Iterator[str], hidden: dict[int, str]) -> str:
        """The turn's content, with one character of each control word replaced and noted in `hidden`.

        Words stay that the target wrote as such, by which a template may find the thinking in an answer: those of
        which there are as many among its ids as in its text.
        """
        written = Counter(turn.ids)
        content = turn.content
        while found := self._words.find(content):
            read = Counter(control.word for control in found)
            own = {word for word, count in read.items() if count == written[self._words.ids[word]]}
            foreign = [control.start for control in found if control.word not in own]
            if not foreign:
                break
            content = _replaced(content, foreign, spare, hidden)
        return content

    def _set_apart(self, content: str, spare: Iterator[str], hidden: dict[int, str]) -> str:
        """`content`, with the characters replaced by which it could be part of a control word."""
        return _replaced(content, self._words.touches(content), spare, hidden)

    def _found(self, text: str) -> list[str]:
        return [found.word for found in self._words.find(text)]

    def _render(self, turns: Sequence[Turn], contents: Sequence[str], tools: Sequence[Tool]) -> str:
        messages = [{"role": turn.role, "content": content} for turn, content in zip(turns, contents, strict=True)]
        return self._template.render(messages, tools)

    def _encode(self, text: str, hidden: dict[int, str], answers: dict[str, tuple[int, ...]]) -> list[int]:
        try:
            return self._words.encode(text, hidden, answers)
        except ValueError as error:
            raise PairError(f"{self._path} cannot be used for chats: {error}") from None


def _typed(turn: Turn) -> Turn:
    """The turn in plain characters, unless the model wrote it."""
    if turn.role == "assistant":
        return turn
    return replace(turn, content=plain_lines(turn.content) if turn.role == "system" else plain_line(turn.content))


def _spare_characters(turns: Sequence[Turn]) -> Iterator[str]:
    """Characters of the private planes that no turn holds. Raises SettingsError when a turn is no text."""
    held: set[str] = set()
    for turn in turns:
        try:
            held.update(turn.content.encode().decode())
        except UnicodeEncodeError:
            raise SettingsError(f"a message of the {turn.role} holds bytes that are not UTF-8 text") from None
    return _private(held)


def _private(held: set[str]) -> Iterator[str]:
    for code in range(0xF0000, 0x110000):
        if chr(code) not in held:
            yield chr(code)
    raise PromptTooLong("a message holds every private character there is; leave some out")


def _replaced(text: str, positions: Sequence[int], spare: Iterator[str], hidden: dict[int, str]) -> str:
    """`text` with spare characters at those positions; `hidden` tells what they stand for."""
    characters = list(text)
    for i in positions:
        stand_in = next((s for s, original in hidden.items() if original == text[i]), None)
        if stand_in is None:
            stand_in = ord(next(spare))
            hidden[stand_in] = text[i]
        characters[i] = chr(stand_in)
    return "".join(characters)


def _variables(pair: Pair) -> dict[str, Any] | None:
    """What templates may use besides messages, such as `bos_token`, as the model's files say; None without such a file."""
    for folder in (pair.tokenizer.parent, Path(pair.target)):
        path = folder / TOKENIZER_CONFIG
        if not (path.is_relative_to(pair.folder) and path.is_file()):
            continue
        try:
            config = json.loads(
                read_text(pair.verify(path), "the tokenizer's configuration", PairError, most=_MOST_CONFIG)
            )
            entries = {name: _text(value) for name, value in config.items() if name.endswith("_token")}
        except (ValueError, AttributeError, RecursionError) as error:
            raise PairError(f"{path} cannot be read: {error}") from None
        return {name: text for name, text in entries.items() if isinstance(text, str)}
    return None


def _text(value: Any) -> Any:
    """What a token is written as: files have it as a string or as an object."""
    return value.get("content") if isinstance(value, dict) else value
