"""How sure the calls of an answer are, by what the target said of their ids; what is too unsure is asked back about."""

from __future__ import annotations

from collections.abc import Sequence

from edge_node.dialogue.calls import parse_call
from edge_node.dialogue.lines import AnswerLines
from edge_node.dialogue.tokenizer import ChatTokenizer
from shared.confidence import Confidence
from shared.pair import Pair


def doubts_of(pair: Pair, tokenizer: ChatTokenizer) -> Doubts | None:
    """What doubts the calls of that pair; None for one whose manifest does not say how."""
    if pair.confidence is None or pair.tools is None:
        return None
    return Doubts(pair.confidence, tokenizer)


class Doubts:
    """Any thread may use it."""

    def __init__(self, confidence: Confidence, tokenizer: ChatTokenizer) -> None:
        self._confidence, self._tokenizer = confidence, tokenizer

    def about(
        self, text: str, ids: Sequence[int], surprisal: Sequence[int | None], request: str, system: str = ""
    ) -> tuple[float | None, str]:
        """How sure the calls in `text` are, and what is asked in place of making them, if they are too unsure.

        `request` is what they answer, `system` the chat's system message, which may list the home. `surprisal` is of each of `ids`,
        in thousandths of a nat. None and no question where there are no calls yet, or no hub has said how sure one is.
        """
        lines = AnswerLines()
        parts = [*lines.take(text), *lines.finish()]
        end = max((part.end for part in parts if part.is_call), default=0)
        if not end:
            return None, ""
        thousandths = surprisal[: self._ids_up_to(end, ids)]
        told = [each for each in thousandths if each is not None]
        if len(told) < len(thousandths):
            return None, ""
        is_unlisted = any(self._names_unlisted(part.text, system) for part in parts if part.is_call)
        is_denied = self._confidence.is_denied(request)
        sure = self._confidence.of(sum(told) / 1e3, is_unlisted=is_unlisted, is_denied=is_denied)
        said = "".join(part.text for part in parts if not part.is_call)
        return sure, self._confidence.question(said) if sure < self._confidence.ask_below else ""

    def _names_unlisted(self, call: str, system: str) -> bool:
        try:
            return self._confidence.is_unlisted(parse_call(call).arguments, system)
        except ValueError:
            return False

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
