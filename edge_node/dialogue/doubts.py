"""How sure the calls of an answer are: by what the target said of their ids, and by the list of the home. What is too unsure is asked back about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_node.dialogue.calls import in_a_line, parse_call
from edge_node.dialogue.lines import AnswerLines, Part
from edge_node.dialogue.listed import Compared, compared
from edge_node.dialogue.tokenizer import ChatTokenizer
from shared.confidence import Confidence
from shared.home_list import HomeList
from shared.pair import Pair


def doubts_of(pair: Pair, tokenizer: ChatTokenizer) -> Doubts | None:
    """What doubts the calls of that pair; None for one whose manifest does not say how."""
    if pair.confidence is None or pair.tools is None:
        return None
    return Doubts(pair.confidence, tokenizer, pair.listed)


@dataclass(frozen=True)
class Doubt:
    """`sure` is the chance, 0 to 1, that the calls of an answer are what was meant; None where there are none, or no hub has said.

    `says` is what is said in place of making them: a question, or that the home has not what they name. `as_listed` is the text with the
    calls as the list of the home has them, None where they are so already; without the calls where the home `lacks` what they name.
    """

    sure: float | None = None
    says: str = ""
    as_listed: str | None = None
    lacks: bool = False


class Doubts:
    """Any thread may use it."""

    def __init__(self, confidence: Confidence, tokenizer: ChatTokenizer, listed: HomeList | None = None) -> None:
        self._confidence, self._tokenizer, self._listed = confidence, tokenizer, listed

    def about(
        self, text: str, ids: Sequence[int], surprisal: Sequence[int | None], request: str, system: str = ""
    ) -> Doubt:
        """How sure the calls in `text` are, and what is said in place of making them.

        `request` is what they answer, `system` the chat's system message, if that is the list of all that the home has. `surprisal` is of
        each of `ids`, in thousandths of a nat.
        """
        lines = AnswerLines()
        parts = [*lines.take(text), *lines.finish()]
        end = max((part.end for part in parts if part.is_call), default=0)
        if not end:
            return Doubt()
        sure = self._sure(self._ids_up_to(end, ids), surprisal)
        said = "".join(part.text for part in parts if not part.is_call)
        fitted = self._compared(parts, request, system)
        if fitted is None:
            return Doubt(sure, self._question(sure, request, said))
        if fitted.missing:
            says = self._listed.says.replace("{}", fitted.missing) if self._listed is not None else ""
            return Doubt(sure, says, says, lacks=True)
        for name, meant in fitted.guessed:
            said = _renamed(said, name, meant)
        question = self._confidence.question(said) if fitted.guessed else self._question(sure, request, said)
        return Doubt(sure, question, "\n".join([*map(in_a_line, fitted.calls), said]))

    def _question(self, sure: float | None, request: str, said: str) -> str:
        return self._confidence.question(said) if self._confidence.asks_back(sure, request) else ""

    def _sure(self, count: int, surprisal: Sequence[int | None]) -> float | None:
        """How sure calls are that have the first `count` ids; None where no hub has said of each how probable it is."""
        told = [each for each in surprisal[:count] if each is not None]
        if len(told) < len(surprisal[:count]):
            return None
        return self._confidence.of(sum(told) / 1e3)

    def _compared(self, parts: Sequence[Part], request: str, system: str) -> Compared | None:
        """The calls beside the list of the home; None where they are as the list has them, or nothing can be told of them."""
        listed = None if self._listed is None or not system else self._listed.read(system)
        if listed is None:
            return None
        try:
            calls = tuple(parse_call(part.text) for part in parts if part.is_call)
        except ValueError:
            return None
        fitted = compared(calls, listed, request)
        return None if fitted == Compared(calls) else fitted

    def _ids_up_to(self, end: int, ids: Sequence[int]) -> int:
        """How many of the ids make up the first `end` characters."""
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            if len(self._tokenizer.decode(ids[:middle])) < end:
                low = middle + 1
            else:
                high = middle
        return low


def _renamed(said: str, name: str, meant: str) -> str:
    """What is said, with `meant` wherever it has `name`."""
    return re.sub(re.escape(name), lambda _: meant, said, flags=re.IGNORECASE)
