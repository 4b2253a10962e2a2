"""What is fuzzed by coverage, and what must hold whatever comes: the codec, and both sessions with their rules.

The product is imported where it is used, so that atheris can instrument it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Body = Callable[[bytes], None]

_CONTEXT, _VOCAB, _END = 48, 12, 1
_MOST = 24  # messages that one input makes


@dataclass(frozen=True)
class Target:
    """Something to be given bytes. `body` imports the product; `seeds` are inputs to begin with."""

    name: str
    body: Callable[[], Body]
    seeds: Callable[[], Iterator[bytes]]


class Numbers:
    """Small numbers from the bytes of an input, 0 when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def below(self, limit: int) -> int:
        """A number from 0 to limit − 1."""
        return next(self._data, 0) % limit

    def ids(self, most: int) -> tuple[int, ...]:
        """At most so many token ids, now and then one that does not exist."""
        return tuple(self.below(_VOCAB + 1) for _ in range(self.below(most + 1)))


def _codec() -> Body:
    from shared.codec import decode, encode
    from shared.errors import ProtocolError

    def body(data: bytes) -> None:
        try:
            message = decode(data)
        except ProtocolError:
            return
        again = decode(encode(message))
        assert again == message, f"{message} comes back as {again}"

    return body


def _codec_seeds() -> Iterator[bytes]:
    from tools.fuzz.frames import Frames

    frames = Frames(random.Random(0), "home", bytes(16))
    for make in (
        frames.open,
        frames.opened,
        frames.draft,
        frames.verdict,
        frames.early,
        frames.fault,
        frames.close,
        frames.fetch,
        frames.piece,
    ):
        for _ in range(4):
            yield frames.of((make,))


def _hub() -> Body:
    from hub.sessions.session import DraftRuling, HubSession, Limits, SessionKey, rule
    from shared.messages import Draft, Fault, Verdict
    from shared.transcript import Transcript

    limits = Limits(_CONTEXT, _VOCAB, frozenset({_END}), max_draft=6)

    def digest_of(ids: list[int]) -> int:
        transcript = Transcript()
        transcript.extend(ids)
        return transcript.digest(len(ids))

    def draft(numbers: Numbers, session: HubSession) -> Draft:
        """One that may go on from what the session holds, or not."""
        held = list(session.transcript.ids)
        base = max(0, len(held) - numbers.below(4) + (1 if numbers.below(8) == 7 else 0))
        digest = numbers.below(3) if numbers.below(16) == 15 else session.transcript.digest(min(base, len(held)))
        number = max(1, session.round + 1 - (numbers.below(3) if numbers.below(4) == 3 else 0))
        return Draft(
            number, base, digest, numbers.ids(8), base + numbers.below(6), numbers.ids(10), numbers.below(2) == 1
        )

    def receive(session: HubSession, sent: Draft) -> None:
        before = list(session.transcript.ids)
        state = (session.round, session.until, session.drafted, session.finish)
        ruling = rule(sent, session.round, session.committed, session.transcript.digest)
        reply = session.receive(sent)
        after = list(session.transcript.ids)
        refused = isinstance(reply, Fault) or ruling in (DraftRuling.DROP, DraftRuling.REPEAT)
        if refused:
            assert after == before, "what is refused changes no ids"
            assert state == (session.round, session.until, session.drafted, session.finish), "nor anything else"
        else:
            kept = sent.base if ruling is DraftRuling.TRUNCATE else len(before)
            added = () if ruling is DraftRuling.CATCH_UP else sent.append
            assert after == [*before[:kept], *added], "a draft cuts to its base, and appends"
            assert session.round == sent.round
        if isinstance(reply, Verdict):
            assert list(reply.ids) == after[reply.base :], "an answer tells what the hub holds"
        holds(session)

    def holds(session: HubSession) -> None:
        assert session.computed <= session.committed <= _CONTEXT
        assert len(session.drafted) <= limits.max_draft

    def body(data: bytes) -> None:
        numbers = Numbers(data)
        session = HubSession(SessionKey("node", bytes(16)), limits)
        for number in range(_MOST):
            if numbers.below(3) or not session.wants_tokens:
                receive(session, draft(numbers, session))
                continue
            before = list(session.transcript.ids)
            drawn = [numbers.below(_VOCAB) for _ in range(1 + numbers.below(len(session.drafted) + 1))]
            verdict = session.commit(drawn)
            assert verdict.base == len(before)
            assert list(session.transcript.ids[: len(before)]) == before, "what is committed stays"
            assert len(session.transcript.ids) == len(before) + verdict.accepted + len(verdict.ids), number
            holds(session)
        ids = list(session.transcript.ids)
        assert session.transcript.digest(len(ids)) == digest_of(ids), "the digest is that of the ids"

    return body


def _node() -> Body:
    from edge_node.rounds.session import NodeSession, VerdictRuling
    from shared.messages import Finish, Verdict

    def send(numbers: Numbers, session: NodeSession) -> None:
        held = len(session)
        before = list(session.ids)
        keep = max(0, held - numbers.below(5)) if numbers.below(4) == 3 else None
        append = numbers.ids(5) if numbers.below(4) == 3 else ()
        draft = session.compose(keep=keep, append=append, tokens=numbers.ids(6), until=held + numbers.below(8))
        assert draft.base == (held if keep is None else keep)
        assert list(session.ids) == [*before[: draft.base], *append], "a draft cuts, and appends, and no more"

    def receive(numbers: Numbers, session: NodeSession) -> None:
        before = list(session.ids)
        finish, outstanding = session.finish, session.outstanding
        verdict = Verdict(
            max(1, session.round - numbers.below(4) + numbers.below(2)),
            max(0, len(before) - numbers.below(5) + numbers.below(3)),
            numbers.below(7) if numbers.below(2) else 0,
            numbers.ids(6),
            Finish(numbers.below(3)),
        )
        receipt = session.receive(verdict)
        assert list(session.ids) == [*before, *receipt.committed], "what is committed stays, and the rest is told"
        if receipt.ruling is VerdictRuling.COMMIT:
            assert verdict.base <= len(before)
            assert len(session) == verdict.base + verdict.accepted + len(verdict.ids), "it leads to the verdict's end"
            assert session.finish is verdict.finish
        else:
            assert not receipt.committed
            assert (session.finish, session.outstanding) == (finish, outstanding), "what is dropped changes nothing"

    def body(data: bytes) -> None:
        numbers = Numbers(data)
        session = NodeSession()
        session.compose(append=(3, 4, 5), until=6)
        for _ in range(_MOST):
            (send if numbers.below(3) == 0 else receive)(numbers, session)

    return body


def _bytes() -> Iterator[bytes]:
    rng = random.Random(0)
    for size in (1, 20, 100, 400):
        yield rng.randbytes(size)


TARGETS = {
    target.name: target
    for target in (
        Target("codec", _codec, _codec_seeds),
        Target("hub", _hub, _bytes),
        Target("node", _node, _bytes),
    )
}
