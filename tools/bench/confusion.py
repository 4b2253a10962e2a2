"""Where the calls of answers are wrong: by call, expected against got, and by argument.

The calls of an answer are laid beside the expected ones in order, calls of the same name on each other where that can
be; a call that has no partner stands beside NOTHING. A pair of the same name has wrong arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from edge_node.dialogue.calls import parse_call
from tools.bench.report import show_rows

Calls = Sequence[tuple[str, dict[str, Any]]]  # name and arguments
NOTHING = "(none)"
UNREADABLE = "(unreadable)"
_KINDS = ("missing", "extra", "wrong")


def calls_of(text: str) -> Calls | None:
    """The calls in an answer, a line of JSON each, or None when a line is no call."""
    calls = []
    for line in text.split("\n"):
        if line.startswith("{"):
            try:
                call = parse_call(line)
            except ValueError:
                return None
            calls.append((call.name, call.arguments))
    return calls


def right(text: str, expected: Calls) -> bool:
    """Whether the calls in `text` are exactly the expected ones, in order; what is said besides does not count."""
    got = calls_of(text)
    return got is not None and list(got) == list(expected)


@dataclass
class Confusion:
    """Counts over answers: pairs of call names (expected, got), and errors (argument, kind) in calls of the right name."""

    names: Counter[tuple[str, str]] = field(default_factory=Counter)
    slots: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, answers: Iterable[tuple[Calls, str]]) -> Confusion:
        """Count the errors of answers, given as the expected calls and the text."""
        confusion = cls()
        for expected, text in answers:
            confusion.add(expected, text)
        return confusion

    def add(self, expected: Calls, text: str) -> None:
        """Count what is wrong with one answer."""
        got = calls_of(text)
        if got is None:
            self.names.update((name, UNREADABLE) for name, _ in expected or [(NOTHING, {})])
            return
        for wanted, given in _side_by_side(expected, got):
            if wanted == given:
                continue
            self.names[wanted[0] if wanted else NOTHING, given[0] if given else NOTHING] += 1
            if wanted and given and wanted[0] == given[0]:
                self.slots.update(_slot_errors(wanted[1], given[1]))

    def as_json(self) -> list[dict[str, Any]]:
        """The pairs of names, most frequent first."""
        return [{"expected": a, "got": b, "count": n} for (a, b), n in self.names.most_common()]

    def slots_as_json(self) -> dict[str, dict[str, int]]:
        """For each argument that was wrong somewhere: how often it was missing, extra, or had a wrong value."""
        totals: Counter[str] = Counter()
        for (argument, _), count in self.slots.items():
            totals[argument] += count
        return {a: {kind: self.slots[a, kind] for kind in _KINDS} for a, _ in totals.most_common()}

    def show(self, title: str) -> None:
        """Print the 20 most frequent pairs of names, and the arguments."""
        pairs = ((count, a, b if a != b else "its arguments") for (a, b), count in self.names.most_common(20))
        show_rows(f"{title}: calls", ("count", "expected", "got"), pairs)
        slots = ((name, *(kinds[k] for k in _KINDS)) for name, kinds in self.slots_as_json().items())
        show_rows(f"{title}: arguments", ("argument", *_KINDS), slots)


def _side_by_side(
    expected: Calls, got: Calls
) -> Iterator[tuple[tuple[str, dict[str, Any]] | None, tuple[str, dict[str, Any]] | None]]:
    matcher = SequenceMatcher(None, [name for name, _ in expected], [name for name, _ in got], autojunk=False)
    for _, a, a_end, b, b_end in matcher.get_opcodes():
        yield from zip_longest(expected[a:a_end], got[b:b_end])


def _slot_errors(wanted: dict[str, Any], given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for argument in sorted(wanted.keys() | given.keys()):
        if argument not in given:
            yield argument, "missing"
        elif argument not in wanted:
            yield argument, "extra"
        elif wanted[argument] != given[argument]:
            yield argument, "wrong"
