"""Whatever the network loses, repeats, delays or reorders between the two state machines, the oracle's text comes out."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_node.rounds.session import NodeSession, VerdictRuling
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.codec import decode, encode
from shared.messages import AnyMessage, Draft, Fault, FaultCode, Finish, Verdict

END, VOCAB, CONTEXT = 1, 12, 200
LIMITS = Limits(CONTEXT, VOCAB, frozenset({END}), max_draft=6)


def target(ids: Sequence[int]) -> int:
    """The token behind `ids`, a function of all of them: a wrong or missing id changes the text that follows."""
    choices: list[int] = [END, *range(2, VOCAB), *range(2, VOCAB)]
    return random.Random(repr(list(ids))).choice(choices)


def oracle(prompt: Sequence[int], limit: int) -> list[int]:
    ids = list(prompt)
    while len(ids) < limit:
        ids.append(target(ids))
        if ids[-1] == END:
            break
    return ids


class Hub:
    """The hub's rule for drafts over sessions that may be forgotten at any time, with a toy target."""

    def __init__(self) -> None:
        self.sessions: dict[int, HubSession] = {}

    def open(self, number: int) -> None:
        self.sessions.setdefault(number, HubSession(SessionKey("node", number.to_bytes(16, "big")), LIMITS))

    def receive(self, number: int, draft: Draft) -> AnyMessage | None:
        if number not in self.sessions:
            return Fault(FaultCode.UNKNOWN_SESSION, round=draft.round)
        return self.sessions[number].receive(draft)

    def step(self) -> list[tuple[int, AnyMessage]]:
        """One forward for every session that wants one."""
        verdicts: list[tuple[int, AnyMessage]] = []
        for number, session in self.sessions.items():
            if session.wants_tokens:
                ids = list(session.transcript.ids)
                drawn = [target([*ids, *session.drafted[:i]]) for i in range(len(session.drafted) + 1)]
                verdicts.append((number, session.commit(drawn)))
        return verdicts


class Node:
    """The node's rule for verdicts, driven as the round loop drives it, with a draft that is right now and then."""

    def __init__(self, hub: Hub, rng: random.Random) -> None:
        self.hub, self.rng = hub, rng
        self.number = 0
        self.session = NodeSession()
        self.limit = 0
        hub.open(0)

    def begin(self, prompt: Sequence[int], keep: int | None, max_tokens: int) -> Draft:
        length = (len(self.session) if keep is None else keep) + len(prompt)
        self.limit = min(length + max_tokens, CONTEXT)
        return self.session.compose(
            keep=keep, append=prompt, until=min(length + self.rng.choice((0, 1, 5)), self.limit)
        )

    @property
    def done(self) -> bool:
        return self.session.finish is not Finish.NO or len(self.session) >= self.limit

    def next_draft(self) -> Draft:
        ids = list(self.session.ids)
        tokens: list[int] = []
        for _ in range(min(self.rng.randrange(6), self.limit - len(ids) - 1)):
            tokens.append(target([*ids, *tokens]) if self.rng.random() < 0.7 else self.rng.randrange(2, VOCAB))
        ahead = self.rng.choice((1, 4, 20)) if not tokens or self.rng.random() < 0.3 else 0
        return self.session.compose(tokens=tokens, until=min(len(ids) + ahead, self.limit))

    def receive(self, message: AnyMessage) -> Draft | None:
        if isinstance(message, Fault):
            if message.round != self.session.round:
                return None
            return self.reopen()
        assert isinstance(message, Verdict)
        receipt = self.session.receive(message)
        if receipt.ruling is VerdictRuling.GAP:
            return self.session.compose(until=min(len(self.session) + 2, self.limit))
        if receipt.ruling is VerdictRuling.COMMIT and not self.done:
            return self.next_draft()
        return None

    def reopen(self) -> Draft:
        held = list(self.session.ids)
        self.number += 1
        self.hub.open(self.number)
        self.session = NodeSession()
        return self.session.compose(append=held, until=min(len(held) + 1, self.limit))

    def time_out(self) -> Draft:
        outstanding = self.session.outstanding
        if outstanding is not None:
            return outstanding
        return self.session.compose(until=min(len(self.session) + 3, self.limit))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.1, 0.4]), chaos=st.sampled_from([0.0, 0.2, 0.6]),
       forget=st.sampled_from([0.0, 0.02]))  # fmt: skip
def test_any_schedule_ends_with_the_oracles_text(seed: int, loss: float, chaos: float, forget: float) -> None:
    rng = random.Random(seed)
    hub = Hub()
    node = Node(hub, rng)
    up: list[tuple[int, bytes]] = []
    down: list[tuple[int, bytes]] = []

    def put(queue: list[tuple[int, bytes]], number: int, message: AnyMessage) -> None:
        for _ in range(0 if rng.random() < loss else 1 + (rng.random() < chaos)):
            at = rng.randrange(len(queue) + 1) if rng.random() < chaos else len(queue)
            queue.insert(at, (number, encode(message)))

    truth: list[int] = []
    for turn in range(3):
        prompt = [rng.randrange(2, VOCAB) for _ in range(rng.randrange(1, 6))]
        keep = rng.randrange(1, len(truth) + 1) if turn and rng.random() < 0.7 else None
        truth = (truth if keep is None else truth[:keep]) + prompt
        max_tokens = rng.randrange(1, 30)
        truth = oracle(truth, min(len(truth) + max_tokens, CONTEXT))
        put(up, node.number, node.begin(prompt, keep, max_tokens))
        for step in range(3000):
            if node.done:
                break
            if rng.random() < forget:
                hub.sessions.pop(node.number, None)
            if step > 2500:
                loss = chaos = forget = 0.0  # a network that never heals can't be survived
            if up and rng.random() < 0.8:
                number, payload = up.pop(0)
                draft = decode(payload)
                assert isinstance(draft, Draft)
                reply = hub.receive(number, draft)
                if reply is not None:
                    put(down, number, reply)
            if rng.random() < 0.8:
                for number, verdict in hub.step():
                    put(down, number, verdict)
            if down and rng.random() < 0.8:
                number, payload = down.pop(0)
                answer = node.receive(decode(payload)) if number == node.number else None
                if answer is not None:
                    put(up, node.number, answer)
            elif not up and not down:
                put(up, node.number, node.time_out())
        assert node.done
        assert list(node.session.ids) == truth
