"""Plan: which ids of which sessions go through the next forward, as one flat sequence without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hub.session import HubSession


@dataclass(frozen=True)
class Row:
    """A session's part of a batch: ids at positions [start, start + len(ids)), logits wanted of the last `wanted`.

    A verify row is [last committed, d₁ … d_γ] with γ + 1 logits, a stream row the last committed id with one; a chunk
    of a long prompt wants none.
    """

    session: HubSession
    start: int
    ids: tuple[int, ...]
    wanted: int
    prefill: bool  # feeds committed ids besides the last: not only a step of decoding

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.start + len(self.ids)


def plan(sessions: Iterable[HubSession], budget: int) -> list[Row]:
    """Rows for the sessions that have work, oldest work first as given, at most `budget` ids in all.

    Steps of decoding come first; prompts share what is left in chunks, so that a long one never stalls the others.
    """
    rows: list[Row] = []
    prompts: list[HubSession] = []
    for session in sessions:
        if session.committed - session.computed > 1:
            prompts.append(session)
        elif session.wants_tokens and budget > len(session.drafted):
            rows.append(_row(session, session.committed - 1, session.committed))
            budget -= len(rows[-1].ids)
    for session in prompts:
        if budget <= 0:
            break
        end = min(session.committed, session.computed + budget)
        if end == session.committed and session.wants_tokens and end - session.computed + len(session.drafted) > budget:
            end -= 1  # the drafted tokens do not fit any more: keep the last id back for the forward that verifies them
        if end > session.computed:
            rows.append(_row(session, session.computed, end))
            budget -= len(rows[-1].ids)
    return rows


def _row(session: HubSession, start: int, end: int) -> Row:
    ids = tuple(session.transcript.ids[start:end])
    prefill = end - start > 1
    if end < session.committed or not session.wants_tokens:
        return Row(session, start, ids, wanted=0, prefill=True)
    return Row(session, start, (*ids, *session.drafted), wanted=len(session.drafted) + 1, prefill=prefill)


def flatten(rows: Sequence[Row]) -> tuple[list[int], list[int], list[int]]:
    """The rows as one sequence: its ids, their positions, and the indices whose logits are wanted."""
    ids: list[int] = []
    positions: list[int] = []
    wanted: list[int] = []
    for row in rows:
        ids.extend(row.ids)
        positions.extend(range(row.start, row.end))
        wanted.extend(range(len(ids) - row.wanted, len(ids)))
    return ids, positions, wanted
