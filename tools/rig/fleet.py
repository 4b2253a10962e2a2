"""Emulated devices: sessions that speak the real protocol to a real hub, whose drafts are made up.

A device knows the text that its session will get, since it has streamed it before, and drafts from it: each token is
right with probability `acceptance`, which is decided before anything is sent. So rounds, verdicts and the hub's work
are real, and the draft model's quality and speed are numbers to be set.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import random
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_node.rounds.session import NodeSession, VerdictRuling
from shared.messages import AnyMessage, Close, Draft, Fault, Finish, Open, Opened, Verdict
from shared.sampling_parameters import Sampling
from tools.rig.transport import Transport

_CREDIT = 16  # tokens that a streaming device lets the hub decode ahead
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Drafting:
    """How devices draft: None for `length` is as many tokens as the hub advises."""

    acceptance: float
    length: int | None = None
    ms_per_token: float = 0.0


@dataclass
class Tally:
    """What one device has been given, and what its drafts were worth."""

    arrivals: list[tuple[float, int]] = field(default_factory=list)  # time and tokens of each verdict
    waits_s: list[float] = field(default_factory=list)  # from sending a draft to the first verdict for it
    accepted: int = 0
    matched: int = 0  # drafted behind those, not verified, and yet the target's own
    rejected: int = 0
    differing: int = 0  # verdicts after which the text is not the one that was recorded
    rounds: int = 0


class Device:
    """One session: asks for `length` tokens behind `prompt`, and then for the same again, while it is `running`."""

    def __init__(self, number: int, prompt: Sequence[int], length: int) -> None:
        self.id = secrets.token_bytes(16)
        self.tally = Tally()
        self.drafting: Drafting | None = None  # None: the hub streams
        self.running = False
        self.idle = True  # nothing is under way
        self.recorded = False  # whether the whole text is known
        self._text: list[int] = []  # what the target writes behind the prompt, as far as it was seen
        self._prompt = tuple(prompt)
        self._limit = len(self._prompt) + length
        self._session = NodeSession()
        self._rounds: int | None = None
        self._sent_at = 0.0
        self._until = 0
        self._rng = random.Random(number)
        self._advised = 4
        self._longest = 1
        self._sampling = Sampling(seed=number)

    def opened(self, answer: Opened) -> None:
        """Note what the hub allows."""
        self._longest = answer.max_draft

    def start(self, drafting: Drafting | None, rounds: int | None) -> tuple[Draft, int]:
        """Go on with the answer in this way, for that many rounds of drafted tokens or until it is paused."""
        self.drafting, self.running, self.idle, self.tally, self._rounds = drafting, True, False, Tally(), rounds
        return self.next_draft()

    def sent(self, now: float) -> None:
        """Note when the last draft was sent."""
        self._sent_at = now

    def next_draft(self) -> tuple[Draft, int]:
        """What to send while nothing is under way, and how many tokens of it are drafted."""
        length = len(self._session)
        if length == 0 or length >= self._limit:
            return self._begin(), 0
        tokens = () if self.drafting is None or self._streams else self._draft(self.drafting, length)
        self._until = min(self._limit, length + _CREDIT) if self._streams else 0 if tokens else length + 1
        return self._session.compose(tokens=tokens, until=self._until), len(tokens)

    @property
    def _streams(self) -> bool:
        """Whether the hub is to decode: always, or as long as it advises so, which every verdict may change."""
        return self.drafting is None or (self.drafting.length is None and self._advised == 0)

    def receive(self, verdict: Verdict, now: float) -> tuple[Draft, int] | None:
        """What to send upon a verdict, if anything, and how many tokens of it are drafted."""
        sent = self._session.outstanding
        receipt = self._session.receive(verdict)
        if receipt.ruling is not VerdictRuling.COMMIT:
            return None
        self._count(sent, verdict, len(receipt.committed), now)
        length = len(self._session)
        finished = self._session.finish is not Finish.NO
        if not self.recorded:
            self._text = list(self._session.ids[len(self._prompt) : self._limit])
            if finished:
                self._limit = length
            self.recorded = length >= self._limit
        else:
            written = self._session.ids[len(self._prompt) : self._limit]
            self.tally.differing += list(written) != self._text[: len(written)]
        if self.tally.rounds == self._rounds:
            self.running = False
        running = self.running  # the other thread may pause at any time
        under_way = not finished and length < self._until
        spent = self._until - length <= _CREDIT // 2 and self._until < self._limit
        if under_way and not (self._streams and running and spent):
            return None
        self.idle = not running
        return self.next_draft() if running else None

    def _begin(self) -> Draft:
        """The draft that begins an answer: the whole prompt, or, once the hub has it, its last id again."""
        first = len(self._session) == 0
        kept = 0 if first else len(self._prompt) - 1
        self._until = min(self._limit, len(self._prompt) + (_CREDIT if self._streams else 1))
        return self._session.compose(
            keep=None if first else kept, append=self._prompt[kept:], until=self._until, sampling=self._sampling
        )

    def _draft(self, drafting: Drafting, length: int) -> tuple[int, ...]:
        """The text from `length` on, each token replaced by a wrong one with the chance that it is to be rejected."""
        count = min(drafting.length or max(1, self._advised), self._longest, self._limit - length - 1)
        start = length - len(self._prompt)
        return tuple(
            token if self._rng.random() < drafting.acceptance else token - 1 if token > 1 else token + 1
            for token in self._text[start : start + max(0, count)]
        )

    def _count(self, sent: Draft | None, verdict: Verdict, committed: int, now: float) -> None:
        self.tally.arrivals.append((now, committed))
        if sent is not None:
            self.tally.waits_s.append(now - self._sent_at)
        self._advised = self._advised if verdict.advised is None else verdict.advised
        if sent is not None and sent.tokens and sent.round == verdict.round:
            self.tally.rounds += 1
            self.tally.accepted += verdict.accepted
            expected = sent.tokens[verdict.accepted : verdict.accepted + 1]
            if expected and verdict.ids:
                # Where the hub looked at fewer tokens than were drafted, the next may well be the target's own.
                self.tally.matched += verdict.ids[:1] == expected
                self.tally.rejected += verdict.ids[:1] != expected


class Fleet:
    """Devices that share a transport."""

    def __init__(self, transport: Transport, pair: str, tokenizer: bytes) -> None:
        """Devices open sessions for `pair` with that tokenizer's hash."""
        self.devices: list[Device] = []
        self.faults: list[Fault] = []
        self._resting: list[Device] = []
        self._by_id: dict[bytes, Device] = {}
        self._transport, self._pair, self._tokenizer = transport, pair, tokenizer
        self._opened: queue.SimpleQueue[Opened | Fault] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Device, Draft]] = []  # drafts that a device is still at work on
        self._order = itertools.count()
        self._wake = threading.Condition()
        threading.Thread(target=self._pace, daemon=True).start()
        transport.listen(self._receive)

    def open(self, devices: Sequence[Device], wait_s: float = 60.0) -> None:
        """Open a session for each. Raises TimeoutError when the hub does not answer, RuntimeError when it refuses."""
        for device in devices:
            self._by_id[device.id] = device
            self._transport.send(device.id, Open(device.id, self._pair, self._tokenizer))
        for _ in devices:
            try:
                answer = self._opened.get(timeout=wait_s)
            except queue.Empty:
                raise TimeoutError("the hub does not answer") from None
            match answer:
                case Opened():
                    self._by_id[answer.session].opened(answer)
                case Fault():
                    raise RuntimeError(f"the hub refuses a session: {answer.detail}")
        self.devices += devices

    def start(self, drafting: Drafting | None, rounds: int | None = None) -> None:
        """Let all devices, which must be idle, go on in this way: for so many rounds, or until they are paused."""
        for device in self.devices:
            self._send_after(device, *device.start(drafting, rounds))

    def record(self) -> None:
        """Let every device's text be streamed once. Raises TimeoutError."""
        self.start(None)
        deadline = time.monotonic() + _PATIENCE_S
        while not all(device.recorded for device in self.devices):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the hub does not stream; faults: {self.faults[:3]}")
            time.sleep(0.002)
        self.pause()

    def pause(self) -> None:
        """Let the devices end what is under way. Raises TimeoutError."""
        for device in self.devices:
            device.running = False
        if not self.is_idle_within(_PATIENCE_S):
            raise TimeoutError(f"a device waits for its verdict; faults: {self.faults[:3]}")

    def is_idle_within(self, wait_s: float) -> bool:
        """Wait until no device has anything under way, at most so long; whether it came to that."""
        deadline = time.monotonic() + wait_s
        while not all(device.idle for device in self.devices):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def fewest_verdicts(self, since: float) -> int:
        """The number of verdicts of the device that got the fewest since then."""
        return min(sum(at >= since for at, _ in device.tally.arrivals) for device in self.devices)

    def muster(self, count: int) -> int:
        """Have `count` devices take part, of those there are, and the others rest; the number of devices that are missing."""
        everyone = self.devices + self._resting
        self.devices, self._resting = everyone[:count], everyone[count:]
        return count - len(self.devices)

    def dismiss(self, count: int) -> None:
        """End the sessions of the last `count` devices, which must be idle."""
        for _ in range(count):
            device = self.devices.pop()
            self._transport.send(device.id, Close())
            del self._by_id[device.id]

    def _receive(self, session: bytes, message: AnyMessage) -> None:
        now = time.monotonic()
        if isinstance(message, Opened) or (isinstance(message, Fault) and message.session is not None):
            self._opened.put(message)
        elif isinstance(message, Fault):
            self.faults.append(message)
        elif isinstance(message, Verdict):
            device = self._by_id[session]
            following = device.receive(message, now)
            if following is not None:
                self._send_after(device, *following)

    def _send_after(self, device: Device, draft: Draft, drafted: int) -> None:
        """Send a draft when its device would have finished it."""
        pause = drafted * device.drafting.ms_per_token / 1e3 if device.drafting else 0.0
        if not pause:
            self._send(device, draft)
            return
        with self._wake:
            heapq.heappush(self._later, (time.monotonic() + pause, next(self._order), device, draft))
            self._wake.notify()

    def _pace(self) -> None:
        """Send what is to be sent later, each in its time."""
        while True:
            with self._wake:
                while not self._later or self._later[0][0] > time.monotonic():
                    self._wake.wait(self._later[0][0] - time.monotonic() if self._later else None)
                _, _, device, draft = heapq.heappop(self._later)
            self._send(device, draft)

    def _send(self, device: Device, draft: Draft) -> None:
        device.sent(time.monotonic())
        self._transport.send(device.id, draft)
