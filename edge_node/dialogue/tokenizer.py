"""Text and ids: the pair's tokenizer, and its chat template with answers spliced in as the ids that they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.errors import PairError
from shared.pair import Pair
from shared.text_file import read_text
from shared.transcript import common_length
from shared.vocabulary import end_ids, load_tokenizer


@dataclass(frozen=True)
class Turn:
    """One message of a chat. `ids` are those that the target wrote, for an answer whose text they are."""

    role: Literal["system", "user", "assistant"]
    content: str
    ids: tuple[int, ...] | None = None


class ChatTokenizer:
    """Renders chats to ids and decodes answers."""

    def __init__(self, pair: Pair) -> None:
        """Load the tokenizer and the chat template. Raises PairError."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
        self._tokenizer = load_tokenizer(pair)
        template = read_text(pair.verify(pair.chat_template), "the chat template", PairError)
        try:
            self._template = environment.from_string(template)
        except TemplateError as error:
            raise PairError(f"{pair.chat_template} is not a valid chat template: {error}") from None
        self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.end_ids = end_ids(pair, self._tokenizer)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The ids of the chat up to where the assistant begins to write.

        Answers go in as the ids that were generated: re-tokenizing their text may give others. Where a template
        changes an answer's text, that can't be done, and the text decides. It may leave old turns out.
        """
        kept = {f"\ue000{i}\ue001": turn.ids for i, turn in enumerate(turns) if turn.ids is not None}
        marked = [Turn(t.role, f"\ue000{i}\ue001") if t.ids is not None else t for i, t in enumerate(turns)]
        plain, text = self._render(turns), self._render(marked)
        restored = text
        for i, turn in enumerate(turns):
            restored = restored.replace(f"\ue000{i}\ue001", turn.content)
        if restored != plain:
            return self._encode(plain)
        ids: list[int] = []
        for mark, answer in kept.items():
            if mark in text:
                before, text = text.split(mark, 1)
                ids += [*self._encode(before), *answer]
        return ids + self._encode(text)

    def beginning(self, opening: Sequence[Turn]) -> list[int]:
        """The ids that all chats have in common that begin with the turns of `opening`."""
        # Line feeds at both sides of a turn's edge are often one id: one of the requests begins with one.
        first, second = (self.prompt([*opening, Turn("user", request)]) for request in ("a", "\nb"))
        return first[: common_length(first, second)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _render(self, turns: Sequence[Turn]) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self._template.render(messages=messages, add_generation_prompt=True)
        except TemplateError as error:
            raise PairError(f"the chat template refuses these messages: {error}") from None

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _refuse(message: Any) -> NoReturn:
    raise TemplateError(str(message))
