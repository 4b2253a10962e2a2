"""The engine under whatever nodes may send, with too few pages and seats: every text is right, and nobody waits for ever.

The target is a fake that writes into each slot all ids up to the one whose K/V it would hold, and looks at every slot that it
reads. What it decodes depends on all ids before.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from zlib import crc32

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_node.rounds.session import NodeSession
from hub.engine.engine import Engine
from hub.engine.forward_time import ForwardTime
from hub.engine.inbox import Arrival
from hub.engine.window import Window
from hub.kv.pages import PAGE_SIZE, PagePool, slot_of
from hub.model.batch import Row
from hub.model.exits import Asked
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.session import Limits, SessionKey
from shared.messages import AnyMessage, Close, Draft, Early, Fault, FaultCode, Finish, Open, Opened, Verdict
from tests.clock import Clock

VOCAB = 32
PAGES = 8
LIMITS = Limits(context=PAGES * PAGE_SIZE, vocab_size=VOCAB, end_ids=frozenset({1}), max_draft=8)
# Texts that begin alike, two of them for two pages and a half, the third for one page.
PROMPTS = tuple(
    tuple(2 + i % 20 for i in range(same)) + (22 + number,) * (60 - same)
    for number, same in ((0, 40), (1, 40), (2, PAGE_SIZE))
)


def following(ids: Sequence[int]) -> int:
    """What the target writes behind `ids`; now and then it ends its turn."""
    number = crc32(bytes(tuple(ids)))
    return 1 if number % 23 == 0 else 2 + number % (VOCAB - 2)


def guessed(ids: Sequence[int]) -> int:
    """What the target's exit takes that for: now and then it is wrong."""
    token = following(ids)
    return 2 + token % (VOCAB - 2) if crc32(bytes(tuple(ids)), 1) % 5 == 0 else token


class KnownTime(ForwardTime):
    """Nothing is learnt, so that the same messages lead to the same plans."""

    def learn(self, rows: int, tokens: int, seconds: float) -> None:
        pass


class FakeTarget:
    book: SessionBook

    def __init__(self) -> None:
        self.cache = self
        self.exit_rest = 0.5
        self.slots: dict[int, tuple[int, ...]] = {}

    def copy_page(self, source: int, destination: int) -> None:
        for offset in range(PAGE_SIZE):
            self.slots[destination * PAGE_SIZE + offset] = self.slots.get(source * PAGE_SIZE + offset, ())

    def clear(self, pages: Sequence[int]) -> None:
        pass

    def before(self, row: Row) -> Sequence[int]:
        """The ids before a row's first, by the transcript of the session that holds the row's pages."""
        (session,) = (s for s in self.book if s.kv.pages[: len(row.pages)] == list(row.pages))
        return session.transcript.ids[: row.start]

    def prepare(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows

    def compute(self, rows: Sequence[Row], asked: Asked | None) -> torch.Tensor:
        if asked is not None:
            ends = [(*self.before(row), *row.ids[: place + 1]) for row in rows for place in range(len(row.ids))]
            guesses = torch.tensor([guessed(ends[place]) for place in asked.places])
            asked.tell(torch.nn.functional.one_hot(guesses, VOCAB).float())
        logits = []
        for row in rows:
            text = (*self.before(row), *row.ids)
            for position in range(row.start, row.end):
                self.slots[slot_of(row.pages, position)] = text[: position + 1]
        for row in rows:
            text = (*self.before(row), *row.ids)
            for position in range(row.end):
                assert self.slots[slot_of(row.pages, position)] == text[: position + 1], "read what is not its own"
            for end in range(row.end - row.wanted + 1, row.end + 1):
                logits += [torch.nn.functional.one_hot(torch.tensor(following(text[:end])), VOCAB).float()]
        return torch.stack(logits) if logits else torch.zeros(0, VOCAB)


class Engines(RuleBasedStateMachine):
    @initialize(token_s=st.sampled_from([1e-6, 0.1, 1.0]))
    def begin(self, token_s: float = 1e-6) -> None:
        """A hub whose forward takes a second, and `token_s` for each token; the dearest are not worth drafting."""
        self.clock = Clock(1000.0)  # by it the same messages lead to the same evictions
        target = FakeTarget()
        pool = PagePool(PAGES)
        memory = KVMemory(pool, target, lambda key: None if key.node == "c" else b"home")
        self.book = SessionBook(LIMITS, memory, max_sessions=4, max_per_node=3, ttl_s=60.0, patience_s=0.1)
        target.book = self.book
        self.engine = Engine(
            target,  # type: ignore[arg-type]
            self.book,
            memory,
            answer_open=lambda m: Opened(m.session, "fake", LIMITS.context, LIMITS.max_draft, (1,), 0.0, 0, 1.0),
            publish=self.hear,
            forward_time=KnownTime(fixed=1.0, row=0.0, token=token_s),
            window=Window(0.0, 0.5),
            budget=24,
            max_queue=8,
            clock=self.clock,
        )
        self.errors: list[str] = []  # the engine would take an exception for its own
        self.chats: dict[SessionKey, NodeSession] = {}
        self.prompts: dict[SessionKey, int] = {}  # length of what was appended last, with what is before it
        self.last: dict[SessionKey, Draft] = {}
        self.early: dict[SessionKey, Early] = {}  # those whose verdict is still to come
        self.earlies = self.right = 0

    def hear_early(self, key: SessionKey, early: Early) -> None:
        self.earlies += 1
        self.early[key] = early
        if key not in self.chats:
            return
        chat, draft, session = self.chats[key], self.last[key], self.book.get(key)
        if session is None or early.round != session.round:
            self.errors.append("an early verdict of a round that is over")
        if early.round < draft.round:
            return  # the hub has not read the next draft yet: on a slow machine it makes nodes wait that have cost it much
        if (early.round, early.base) != (draft.round, len(chat)) or chat.outstanding is None:
            self.errors.append("an early verdict of another round")
        text, tokens = list(chat.ids), draft.tokens[: early.accepted]
        for token in tokens:
            if guessed(text) != token:
                self.errors.append("an early verdict accepts what the exit does not say")
            text.append(token)
        if early.ids != (() if 1 in tokens else (guessed(text),)):
            self.errors.append("an early verdict has another id than the exit's")

    def hear(self, key: SessionKey, message: AnyMessage) -> None:
        if isinstance(message, Early):
            self.hear_early(key, message)
            return
        early = self.early.pop(key, None)
        if early is not None and isinstance(message, Verdict):
            self.right += (early.round, early.accepted, early.ids) == (message.round, message.accepted, message.ids)
        if isinstance(message, Fault):
            if message.code not in (FaultCode.BUSY, FaultCode.UNKNOWN_SESSION) or "failed" in message.detail:
                self.errors.append(str(message))
            self.chats.pop(key, None)  # evicted, or without a seat: the node would open another
        elif isinstance(message, Verdict) and key in self.chats:
            chat = self.chats[key]
            chat.receive(message)
            for end in range(self.prompts[key], len(chat)):
                if chat.ids[end] != following(chat.ids[:end]):
                    self.errors.append("another text than the target's")

    def send(self, key: SessionKey, message: Open | Draft | Close) -> None:
        self.engine.submit(Arrival.of(key, message, self.clock()))

    def step(self) -> None:
        """Once around the engine's loop, which takes a while."""
        self.engine.step()
        self.clock.sleep(0.03)

    def settle(self) -> None:
        """Go on until nobody has work any more."""
        for _ in range(400):
            if not self.engine.has_work:
                return
            self.step()
        raise AssertionError("a session waits for ever")

    keys = st.builds(SessionKey, st.sampled_from(["a", "b", "c"]), st.integers(0, 1).map(lambda n: bytes([n]) * 16))

    @rule(
        key=keys,
        prompt=st.sampled_from(PROMPTS),
        length=st.integers(1, 60),
        kept=st.integers(0, 60),
        credit=st.integers(0, 30),
    )
    def ask(self, key: SessionKey, prompt: tuple[int, ...], length: int, kept: int, credit: int) -> None:
        """Let the chat become the beginning of a prompt, keeping at most `kept` ids of it."""
        if key not in self.chats:
            self.settle()
            self.book.close(key)
            self.chats[key] = NodeSession()
            self.send(key, Open(key.id, "fake", bytes(16)))
        chat = self.chats[key]
        same = sum(
            1
            for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(chat.ids, prompt[:length], strict=False))
        )
        keep = min(kept, same)
        self.prompts[key] = max(length, keep)
        self.post(key, chat.compose(keep=keep, append=prompt[keep:length], until=length + credit if credit else 0))

    @precondition(lambda self: bool(self.chats))
    @rule(which=st.integers(0, 5), count=st.integers(0, 8), wrong=st.integers(0, 8), credit=st.integers(0, 9))
    def draft(self, which: int, count: int, wrong: int, credit: int) -> None:
        """Propose tokens that are right up to one that is not."""
        key = list(self.chats)[which % len(self.chats)]
        chat = self.chats[key]
        if chat.outstanding is not None and not self.last[key].until:
            return
        text = list(chat.ids)
        if not text or chat.finish is not Finish.NO or len(text) + 1 >= LIMITS.context:
            return
        for number in range(min(count, LIMITS.context - len(text) - 1)):
            token = following(text)
            text.append(token if number != wrong else 2 + (token + 1) % (VOCAB - 2))
        tokens = text[len(chat) :]
        self.post(key, chat.compose(tokens=tokens, until=len(chat) + credit if credit or not tokens else 0))

    def post(self, key: SessionKey, draft: Draft) -> None:
        self.last[key] = draft
        self.send(key, draft)

    @precondition(lambda self: bool(self.last))
    @rule(which=st.integers(0, 5))
    def repeat(self, which: int) -> None:
        key = list(self.last)[which % len(self.last)]
        if key in self.chats:
            self.send(key, self.last[key])

    @precondition(lambda self: bool(self.chats))
    @rule(which=st.integers(0, 5))
    def leave(self, which: int) -> None:
        key = list(self.chats)[which % len(self.chats)]
        del self.chats[key]
        self.send(key, Close())

    @precondition(lambda self: self.engine.has_work)
    @rule(times=st.integers(1, 4))
    def work(self, times: int) -> None:
        for _ in range(times):
            if self.engine.has_work:
                self.step()

    @rule(seconds=st.sampled_from([0.05, 0.2, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @invariant()
    def holds(self) -> None:
        self.book.check_integrity()
        assert self.errors == []
        assert (self.engine.stats.early, self.engine.stats.early_right) == (self.earlies, self.right)

    def teardown(self) -> None:
        self.settle()
        self.holds()


def test_a_row_whose_pages_an_older_answer_takes_is_not_run() -> None:
    """The younger session needs fewer pages than it held: it gets some again, but its K/V is gone."""
    engines = Engines()
    engines.begin()
    old, young = SessionKey("a", bytes(16)), SessionKey("b", bytes(16))
    for key, prompt in ((old, PROMPTS[0][: 4 * PAGE_SIZE - 8]), (young, (25,) * (2 * PAGE_SIZE - 2))):
        engines.chats[key] = NodeSession()
        engines.send(key, Open(key.id, "fake", bytes(16)))
        engines.prompts[key] = len(prompt)
        engines.post(key, engines.chats[key].compose(append=prompt, until=len(prompt) + 1))
        engines.settle()
    # A block of eight that is wrong from the start: the young one holds a page more than its text needs.
    engines.post(young, engines.chats[young].compose(tokens=[3 if following(engines.chats[young].ids) != 3 else 4] * 8))
    engines.settle()
    pool = engines.book._memory.pool
    spare = [pool.take() for _ in range(pool.available)]
    text = list(engines.chats[old].ids)
    for _ in range(8):
        text.append(following(text))
    engines.post(old, engines.chats[old].compose(tokens=text[len(engines.chats[old]) :]))
    engines.post(young, engines.chats[young].compose(tokens=[following(engines.chats[young].ids)]))
    engines.engine.step()
    for one in spare:
        pool.drop(one)
    engines.settle()
    assert engines.book.preempted == 1
    engines.holds()


def test_who_has_no_memory_leaves_its_place_in_the_forward_to_others() -> None:
    """Nodes that were served less than the oldest answer's would have the whole budget, and there are no pages for them."""
    engines = Engines()
    engines.begin()
    first, second, third = (SessionKey(node, bytes(16)) for node in "cab")
    for key in (first, second, third):
        engines.ask(key, PROMPTS[0], length=1, kept=0, credit=0)
    engines.settle()
    engines.ask(first, PROMPTS[2], length=60, kept=0, credit=8)
    engines.ask(second, PROMPTS[1], length=60, kept=0, credit=8)
    for _ in range(2):
        engines.engine.step()
    pool = engines.book._memory.pool
    spare = [pool.take() for _ in range(pool.available)]
    engines.ask(third, PROMPTS[0], length=60, kept=0, credit=8)
    oldest = engines.book.get(first)
    assert oldest is not None
    assert (oldest.computed, oldest.committed) == (24, 60)
    engines.engine.step()
    engines.engine.step()
    assert oldest.committed == 61, "it takes the second's pages, and the places of both"
    for one in spare:
        pool.drop(one)
    engines.settle()
    engines.holds()


def test_who_cannot_get_room_takes_nobodys_pages() -> None:
    engines = Engines()
    engines.begin()
    book, pool = engines.book, engines.book._memory.pool
    now = 0.0
    for begun, (node, pages) in enumerate((("a", 5), ("b", 0), ("c", 2))):
        key = SessionKey(node, bytes(16))
        assert book.open(key, now)
        session = book.get(key)
        assert session is not None
        session.begun, session.round = begun, 1
        session.transcript.extend(range(2, 2 + pages * PAGE_SIZE))
        pool.grow(session.kv.pages, pages * PAGE_SIZE)
        session.kv.computed = pages * PAGE_SIZE
    middle, youngest = (book.get(SessionKey(node, bytes(16))) for node in "bc")
    assert middle is not None
    assert youngest is not None
    assert book.take_pages(middle, 4 * PAGE_SIZE, (), book.givers(now)) is None, "the older one's are not to be had"
    assert (len(youngest.kv.pages), youngest.computed, book.preempted) == (2, 2 * PAGE_SIZE, 0)
    assert book.take_pages(middle, 3 * PAGE_SIZE, (), book.givers(now)) == [youngest]
    assert (len(middle.kv.pages), len(youngest.kv.pages), book.preempted) == (3, 0, 1)
    book.check_integrity()


def test_a_prompt_that_others_have_fed_needs_no_forward() -> None:
    """All but the last id are found computed, and no token is wanted yet."""
    engines = Engines()
    engines.begin()
    engines.ask(SessionKey("a", bytes(16)), PROMPTS[0], length=40, kept=0, credit=3)
    engines.settle()
    engines.ask(SessionKey("b", bytes(16)), PROMPTS[0], length=2 * PAGE_SIZE + 1, kept=0, credit=0)
    engines.settle()
    assert engines.engine.stats.shared_tokens == 2 * PAGE_SIZE
    engines.holds()


TestEngines = Engines.TestCase
TestEngines.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
