"""Emulated devices: sessions that speak the real protocol over the real broker, whose drafts are made up.

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

from edge_node.session import NodeSession, Ruling
from shared.codec import decode, encode
from shared.messages import Close, Draft, Fault, Finish, Open, Opened, Verdict
from shared.mqtt import MqttLink
from shared.sampling import Sampling
from shared.settings import BrokerSettings
from shared.topics import Topics

_CREDIT = 16  # tokens that a streaming device lets the hub decode ahead
_EXPIRY_S = 60


@dataclass(frozen=True)
class Drafting:
    """How devices draft: None for `length` is as many tokens as the hub advises."""

    acceptance: float
    length: int | None = None
    ms_per_token: float = 0.0


@dataclass
class Tally:
    """What one device has been given, and what its drafts were worth. `arrivals` are (time, tokens) of each verdict."""

    arrivals: list[tuple[float, int]] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    rounds: int = 0
    drafted: int = 0


class Device:
    """One session: asks for `length` tokens behind `prompt`, and then for the same again, while it is `running`."""

    def __init__(self, number: int, prompt: Sequence[int], length: int) -> None:
        self.id = secrets.token_bytes(16)
        self.tally = Tally()
        self.drafting: Drafting | None = None  # None: the hub streams
        self.running = False
        self.idle = True  # nothing is under way
        self._text: list[int] = []  # what the target writes behind the prompt, as far as it was seen
        self._prompt = tuple(prompt)
        self._limit = len(self._prompt) + length
        self._session = NodeSession()
        self._until = 0
        self._rng = random.Random(number)
        self._advised = 4
        self._longest = 1
        self._sampling = Sampling(seed=number)

    @property
    def recorded(self) -> bool:
        """Whether the text is known."""
        return len(self._prompt) + len(self._text) == self._limit

    def opened(self, answer: Opened) -> None:
        """Note what the hub allows."""
        self._longest = answer.max_draft

    def next_draft(self) -> tuple[Draft, int]:
        """What to send while nothing is under way, and how many tokens of it are drafted."""
        length = len(self._session)
        if length == 0 or length >= self._limit or self._session.finish is not Finish.NO:
            return self._begin(), 0
        if self.drafting is None:
            self._until = min(self._limit, length + _CREDIT)
            return self._session.compose(until=self._until), 0
        tokens = self._draft(self.drafting, length)
        self._until = 0 if tokens else length + 1
        return self._session.compose(tokens=tokens, until=self._until), len(tokens)

    def receive(self, verdict: Verdict, now: float) -> tuple[Draft, int] | None:
        """What to send upon a verdict, if anything, and how many tokens of it are drafted."""
        sent = self._session.outstanding
        receipt = self._session.receive(verdict)
        if receipt.ruling is not Ruling.COMMIT:
            return None
        self._count(sent, verdict, len(receipt.committed), now)
        length = len(self._session)
        if not self.recorded:
            self._text = list(self._session.ids[len(self._prompt) : self._limit])
        running = self.running  # the other thread may pause at any time
        under_way = self._session.finish is Finish.NO and length < self._until
        spent = self._until - length <= _CREDIT // 2 and self._until < self._limit
        if under_way and not (self.drafting is None and running and spent):
            return None
        self.idle = not running
        return self.next_draft() if running else None

    def _begin(self) -> Draft:
        """The draft that begins an answer: the whole prompt, or, once the hub has it, its last id again."""
        first = len(self._session) == 0
        kept = 0 if first else len(self._prompt) - 1
        self._until = min(self._limit, len(self._prompt) + (1 if self.drafting else _CREDIT))
        return self._session.compose(
            keep=None if first else kept, append=self._prompt[kept:], until=self._until, sampling=self._sampling
        )

    def _draft(self, drafting: Drafting, length: int) -> tuple[int, ...]:
        """The text from `length` on, each token replaced by a wrong one with the chance that it is to be rejected."""
        count = min(drafting.length or self._advised, self._longest, self._limit - length - 1)
        start = length - len(self._prompt)
        return tuple(
            token if self._rng.random() < drafting.acceptance else token + 1 if token > 1 else 2
            for token in self._text[start : start + max(0, count)]
        )

    def _count(self, sent: Draft | None, verdict: Verdict, committed: int, now: float) -> None:
        self.tally.arrivals.append((now, committed))
        self._advised = verdict.advised or self._advised
        if sent is not None and sent.tokens and sent.round == verdict.round:
            self.tally.rounds += 1
            self.tally.drafted += len(sent.tokens)
            self.tally.accepted += verdict.accepted
            expected = sent.tokens[verdict.accepted : verdict.accepted + 1]
            self.tally.rejected += bool(expected) and verdict.ids[:1] != expected


class Fleet:
    """Devices over one connection, in the name of one node."""

    def __init__(self, settings: BrokerSettings, node: str, hub: str, pair: str, tokenizer: bytes) -> None:
        self.devices: list[Device] = []
        self.faults: list[Fault] = []
        self._by_id: dict[bytes, Device] = {}
        self._node, self._hub, self._pair, self._tokenizer = node, hub, pair, tokenizer
        self._topics = Topics(settings.prefix)
        self._link = MqttLink(settings, node)
        self._opened: queue.SimpleQueue[Opened | Fault] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Device, Draft]] = []  # drafts that a device is still at work on
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._pacer = threading.Thread(target=self._pace, daemon=True)

    def connect(self) -> None:
        """Connect and listen. Raises LinkError."""
        self._link.connect()
        self._link.subscribe(self._topics.opened(self._node), self._on_opened)
        self._link.subscribe(self._topics.verdict(self._hub, self._node, "+"), self._on_verdict)
        self._pacer.start()

    def open(self, devices: Sequence[Device], wait_s: float = 60.0) -> None:
        """Open a session for each. Raises TimeoutError when the hub does not answer, RuntimeError when it refuses."""
        for device in devices:
            self._by_id[device.id] = device
            self._link.publish(
                self._topics.open(self._hub, self._node), encode(Open(device.id, self._pair, self._tokenizer))
            )
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

    def start(self, drafting: Drafting | None) -> None:
        """Let all devices, which must be idle, go on with their answers in this way."""
        for device in self.devices:
            device.drafting, device.running, device.idle, device.tally = drafting, True, False, Tally()
            self._send_after(device, *device.next_draft())

    def pause(self, wait_s: float = 120.0) -> None:
        """Let the devices end what is under way. Raises TimeoutError."""
        for device in self.devices:
            device.running = False
        deadline = time.monotonic() + wait_s
        while not all(device.idle for device in self.devices):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a device waits for its verdict; faults: {self.faults[:3]}")
            time.sleep(0.005)

    def fewest_verdicts(self, since: float) -> int:
        """The number of verdicts of the device that got the fewest since then."""
        return min(sum(at >= since for at, _ in device.tally.arrivals) for device in self.devices)

    def dismiss(self, count: int) -> None:
        """End the sessions of the last `count` devices, which must be idle."""
        for _ in range(count):
            device = self.devices.pop()
            self._link.publish(self._topic(device), encode(Close()))
            del self._by_id[device.id]

    def close(self) -> None:
        """End the sessions and disconnect."""
        self.dismiss(len(self.devices))
        self._link.flush()
        self._link.close()

    def _send(self, device: Device, draft: Draft) -> None:
        self._link.publish(self._topic(device), encode(draft), expiry_s=_EXPIRY_S)

    def _topic(self, device: Device) -> str:
        return self._topics.draft(self._hub, self._node, device.id.hex())

    def _on_opened(self, _: str, payload: bytes) -> None:
        message = decode(payload)
        if isinstance(message, (Opened, Fault)):
            self._opened.put(message)

    def _on_verdict(self, topic: str, payload: bytes) -> None:
        now, message = time.monotonic(), decode(payload)
        device = self._by_id[self._topics.session_of(topic).session]
        if isinstance(message, Fault):
            self.faults.append(message)
        elif isinstance(message, Verdict):
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
