"""A thread that answers one request after the other over a conversation of its own."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_node.assembly import Node
from edge_node.dialogue.answer import Answer, Ending
from edge_node.dialogue.calls import Call, CallReader, stops
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.source_runs import told_runs
from edge_node.dialogue.speech import Speech
from edge_node.dialogue.tokenizer import Tool
from edge_node.home_assistant.agent import HomeAgent
from edge_node.home_assistant.confirming import CONFIRMED_S, NOT_SURE, Outcome, Question, reply_to
from edge_node.service.begun import BegunRequests
from edge_node.service.chats import Chat
from edge_node.service.requests import Asked
from edge_node.settings import Mode
from shared.errors import AnswerCancelled, SledError
from shared.program import sentence

log = logging.getLogger(__name__)

GOOD_S = 30.0  # seconds for which a request may be carried out, by this node or by others: a lamp that goes on minutes later frightens people


@dataclass(frozen=True)
class Reply:
    """Where an answer goes: a topic, and what the asker wants to find it by, or a part of this program that is given it."""

    topic: str = ""
    correlation: bytes = b""
    to: Callable[[dict[str, Any]], object] | None = None


@dataclass(eq=False)
class Job:
    """A request under way."""

    asked: Asked
    asker: str
    reply: Reply
    chat: Chat
    is_unwanted: threading.Event = field(default_factory=threading.Event)
    answer: Answer = field(default_factory=Answer)
    error: str = ""
    error_kind: str = ""  # the error's class
    shown: str = ""  # what its stream has told of the text
    outcome: Outcome | None = None  # of its calls, where this node carries them out itself
    is_over: bool = False
    spoken: str = ""  # what its stream has told to be spoken
    asked_at: float = field(default_factory=time.monotonic)
    key: str = field(
        default_factory=lambda: secrets.token_hex(8)
    )  # by which its calls are known, whoever repeats a request's id

    @property
    def may_act(self) -> bool:
        """Whether its calls may be made: it has come to its end, and a hub has verified all of it."""
        done = self.answer.ending is Ending.END and not self.answer.provisional
        return done and not self.error and not self.is_unwanted.is_set()

    def calls(self, reader: CallReader) -> tuple[Call, ...]:
        """The calls that others are to carry out."""
        if not self.may_act or not self.asked.acts:
            return ()
        return reader.read(self.answer.meant).calls if self.outcome is None else self.outcome.others


Tell = Callable[[Job, dict[str, Any]], None]  # sends a piece of an answer


class Worker:
    """To be given jobs by one thread, one at a time; `done` is called on its own thread with each job that has ended."""

    def __init__(
        self,
        conversation: Conversation,
        tell: Tell,
        done: Callable[[Worker, Job], None],
        reader: CallReader,
        agent: HomeAgent | None,
        mode: Callable[[], Mode],
        begun: BegunRequests,
        node: Node,
    ) -> None:
        self.job: Job | None = None  # written by the thread that gives jobs
        self.chat: Chat | None = None  # that it has answered last
        self._conversation, self._tell, self._done = conversation, tell, done
        self._reader, self._agent, self._mode, self._begun = reader, agent, mode, begun
        self._node = node
        self._asked_as: tuple[str | None, tuple[Tool, ...]] = None, ()  # system message and tools of the conversation
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    @property
    def hub(self) -> str | None:
        """The hub that it has a session with."""
        channel = self._conversation.loop.channel
        return None if channel is None else channel.hub

    def give(self, job: Job) -> None:
        """Have a job done."""
        self.job = job
        self._jobs.put(job)

    def cancel(self) -> None:
        """End the job under way."""
        if self.job is not None:
            self.job.is_unwanted.set()
            self._conversation.loop.wake()

    def close(self) -> None:
        """End the job under way, and the thread."""
        self.cancel()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._renew()
                self._answer(job)
                if job.answer.ids:
                    self._node.answered(self._conversation)
            except AnswerCancelled:
                log.info("request %s was cancelled", job.asked.id)
            except SledError as error:
                job.error, job.error_kind = sentence(str(error)), type(error).__name__
            except Exception as error:
                # An exception would end this thread, and nobody would be answered any more.
                log.exception("request %s failed", job.asked.id)
                job.error = sentence(f"this is a mistake in the program; report it with the log ({error!r})")
                self._node.failed(self._conversation, error)
            self._done(self, job)

    def _renew(self) -> None:
        """Answer by the draft that the node uses now."""
        fresh = self._node.renewed(self._conversation)
        if fresh is not self._conversation:
            self._conversation, self.chat = fresh, None

    def _answer(self, job: Job) -> None:
        conversation, asked, chat = self._conversation, job.asked, job.chat
        agent = self._agent if asked.acts else None
        conversation.loop.is_unwanted = job.is_unwanted.is_set
        if job.is_unwanted.is_set():
            return
        pieces = _Pieces(job, self._tell, Speech(has_calls=self._reader.has_calls, holds=agent is not None))
        question, chat.question = chat.question, None
        if question is not None:
            self._note_begin(job)
        last = chat.turns[-1].content if chat.turns else ""
        if (outcome := _reply(agent, asked.text, question, last)) is not None:
            job.outcome, job.answer.ending = outcome, Ending.END
            pieces.finish(outcome.say)
            return
        said = [turn.content for turn in chat.turns if turn.role == "user"]
        system = chat.system
        if system is None and agent is not None:
            system = agent.system(asked.text, said)
        asked_as = system, asked.tools
        if chat is not self.chat or asked_as != self._asked_as or tuple(conversation.said) != chat.turns:
            # The agent knows the home better than the part of it that it lists.
            by_list = agent is None or chat.system is not None
            conversation.resume(system, chat.turns, chat.unverified, asked.tools, by_list=by_list)
        self.chat, self._asked_as = chat, asked_as
        conversation.loop.on_wait = pieces.wait
        if conversation.loop.mode is not (mode := self._mode()):
            conversation.loop.mode = mode
        try:
            for piece in conversation.ask(asked.prompt, asked.generation, job.answer, asked.role):
                pieces.take(piece)
            chat.turns, chat.unverified = tuple(conversation.said), tuple(conversation.unverified)
            if agent is not None:
                job.outcome = self._outcome(agent, job, said, system or "")
            if job.outcome is None and asked.acts and job.answer.question and job.may_act:
                job.outcome = _asked_back(job, self._reader)
            chat.question = None if job.outcome is None else job.outcome.question
        finally:
            pieces.finish("" if job.outcome is None else job.outcome.say)

    def _outcome(self, agent: HomeAgent, job: Job, said: list[str], listed: str) -> Outcome | None:
        """What becomes of the answer's calls at home."""
        read = self._reader.read(job.answer.meant)
        if not read.calls and not read.refused:
            return None
        if not job.may_act:
            return Outcome("The answer broke off, so I have changed nothing.")
        if not read.calls:
            return Outcome("I could not make anything of that, so I have changed nothing.")
        if time.monotonic() > job.asked_at + GOOD_S:
            return Outcome("That took too long, so I have changed nothing.")
        self._note_begin(job)
        return agent.carry_out(
            read.calls,
            job.asked.text,
            said,
            listed,
            can_confirm=job.chat.is_named,
            doubt=job.answer.question,
        )

    def _note_begin(self, job: Job) -> None:
        """Its calls are about to be carried out: should this service end meanwhile, the next one is not to do it again."""
        if job.asked.has_own_id:
            self._begun.begin(job.asker, job.asked.id)


def _reply(agent: HomeAgent | None, request: str, question: Question | None, last: str) -> Outcome | None:
    """What becomes of a yes or a no; None where the request is for the pair to answer."""
    if agent is not None:
        return agent.reply(request, question, last)
    if question is None:
        return None
    return reply_to(request, question, last, time.monotonic(), lambda asked: Outcome("All right.", others=asked.calls))


def _asked_back(job: Job, reader: CallReader) -> Outcome | None:
    """What becomes of calls that others would carry out, where the pair is not sure of them; None where all of them stop something."""
    calls = reader.read(job.answer.meant).calls
    made = tuple(filter(stops, calls))
    waits = tuple(call for call in calls if call not in made)
    if job.answer.doubt.lacks:
        return Outcome(job.answer.question)
    if not waits:
        return None
    if not job.chat.is_named:
        return Outcome(NOT_SURE, others=made)
    return Outcome(job.answer.question, question=Question(waits, time.monotonic() + CONFIRMED_S), others=made)


class _Pieces:
    """An answer as its stream tells it, each message with the next number."""

    def __init__(self, job: Job, tell: Tell, speech: Speech) -> None:
        self._job, self._send, self._speech = job, tell, speech
        self._number = 0
        self._provisional = ""
        self._is_own = True  # whether all that was shown is the answer's own text

    def take(self, piece: str) -> None:
        """A piece of the answer's text, or "" where only its provisional part has changed."""
        self._speech.is_doubted = bool(self._job.answer.question)
        shown, said = self._speech.take(piece)
        sources = self._sources(shown)
        self._job.shown += shown
        # Behind a call nothing is told that is not certain yet.
        provisional = "" if self._speech.holds else self._job.answer.provisional
        if shown or provisional != self._provisional:
            more = {"provisional": provisional} if provisional or self._provisional else {}
            self._provisional = provisional
            self._tell(text=shown, say=said, sentences=self._speech.sentences, **sources, **more)

    def wait(self, what: str) -> None:
        """The answer waits for something, or goes on."""
        self._tell(text="", say="", sentences=self._speech.sentences, waits_for=sentence(what) if what else "")

    def finish(self, also: str) -> None:
        """Nothing more comes of the answer, but what has become of its calls."""
        left = self._speech.finish(also)
        self._job.spoken = self._speech.text
        told = self._job.shown + left
        sources = self._sources(left)
        left += ("\n" if also and told and not told.endswith("\n") else "") + also
        self._job.shown += left
        self._tell(text=left, say=also, sentences=self._speech.sentences, **sources, last=True)

    def _sources(self, fresh: str) -> dict[str, Any]:
        """Where the characters are from that are shown next, as far as they are the answer's own."""
        answer, start = self._job.answer, len(self._job.shown)
        self._is_own = self._is_own and answer.text.startswith(fresh, start)
        return {"sources": told_runs(answer.runs, start, start + len(fresh))} if fresh and self._is_own else {}

    def _tell(self, **content: Any) -> None:
        self._send(self._job, {"id": self._job.asked.id, "seq": self._number, **content})
        self._number += 1
