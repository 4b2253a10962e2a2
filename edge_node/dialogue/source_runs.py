"""Which characters of an answer are from where: runs of one source each, for whoever shows an answer in colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_node.rounds.progress import Source

PROVISIONAL = "provisional"  # told of characters that no hub has verified


class SourceRuns:
    """Runs of an answer that grows. Where a run ends is known by decoding what is there up to its last id, once for each run.

    A character that several ids make up belongs to the last of them.
    """

    def __init__(self) -> None:
        self._ends: list[tuple[Source, int]] = []  # of each run its source, and the character behind its last one

    def add(self, decode: Callable[[Sequence[int]], str], ids: Sequence[int], sources: Sequence[Source]) -> None:
        """The last of `ids`, which are all that the answer has, have come, with a source for each of them."""
        begin = len(ids) - len(sources)
        for at, source in enumerate(sources):
            if at + 1 < len(sources) and sources[at + 1] is source:
                continue
            end = len(decode(ids[: begin + at + 1]).rstrip("\ufffd"))
            if self._ends and self._ends[-1][0] is source:
                self._ends.pop()
            self._ends.append((source, end))

    def between(self, start: int, end: int) -> list[tuple[Source, int]]:
        """The runs of the characters [start, end), each with the number of its characters there."""
        runs: list[tuple[Source, int]] = []
        for source, run_end in self._ends:
            length = min(run_end, end) - start
            if length > 0:
                runs.append((source, length))
                start += length
        return runs


def told_runs(runs: SourceRuns, start: int, end: int, provisional: int = 0) -> list[list[str | int]]:
    """The runs of [start, end) as programs are told of them, and `provisional` characters behind them."""
    told: list[list[str | int]] = [[source.name.lower(), length] for source, length in runs.between(start, end)]
    return [*told, [PROVISIONAL, provisional]] if provisional else told
