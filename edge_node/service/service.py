"""The service: requests in, answers and calls out, and what it tells about itself."""

from __future__ import annotations

import json
import logging
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any

from edge_node.assembly import Node
from edge_node.dialogue.calls import Call, CallReader
from edge_node.dialogue.conversation import Ending
from edge_node.dialogue.report import answer_json
from edge_node.home_assistant.agent import HomeAgent
from edge_node.service.chats import Chat, Chats
from edge_node.service.description import description
from edge_node.service.desk import Desk
from edge_node.service.outbox import Outbox
from edge_node.service.presence import Presence
from edge_node.service.requests import FORMAT, Asked, BadRequest, read_cancel, read_request
from edge_node.service.stop_words import is_stop, stop_call
from edge_node.service.tally import Tally
from edge_node.service.worker import Job, Reply, Worker
from edge_node.settings import NodeSettings
from shared.discovery import AGAIN_S, Discovery, is_birth
from shared.errors import LinkError, ProtocolError, SettingsError
from shared.json_object import json_object
from shared.mqtt import MqttLink
from shared.mqtt_packets import Publish, reply_wanted
from shared.topics import STREAM, Topics, is_name

log = logging.getLogger(__name__)

_GOOD_S = 30.0  # seconds for which answers and calls are sent again: a lamp that goes on minutes later frightens people
_LOOK_S = 1.0  # seconds between two looks at what has changed
_MOST_ARRIVALS = 256  # events that wait for the service's thread, before messages are dropped
_LEVELS = 4  # of a response topic below the asker's answers
_SHORT = 100  # bytes of a message that may be a word that stops
_CLAIM_S = 1.0  # seconds within which a service that runs says so to one that begins
_STOPPED = "Stopping."
_BUSY = "the node is busy, and as many requests wait as may ({}); ask again later"

Event = Callable[[], None]  # something to be done on the service's thread


class NodeService:
    """Answers in the name of a node. All but the answering itself happens on the thread that calls `run`."""

    def __init__(self, settings: NodeSettings, node: Node, agent: HomeAgent | None = None) -> None:
        """`agent` carries out the calls that are Home Assistant's. Raises SledError for a pair whose calls can't be read."""
        self._settings, self._node = settings, node
        self._topics = Topics(settings.broker.prefix)
        self._reader = CallReader(node.pair)
        self._stop_call = stop_call(self._reader)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._tally = Tally()
        self._lost = 0  # messages that found too many others waiting; the MQTT client's thread counts them
        self._ends = False
        self._other = False  # whether another service answers in this node's name
        self._presence = Presence()
        self._link = MqttLink(settings.broker, settings.name, will=(self._own("status"), self._presence.offline))
        self._outbox = Outbox(self._link)
        self._version = version("sled-mqtt")
        self._discovery = Discovery(
            settings.broker, description(self._topics, settings.name, node.pair.name, self._version)
        )
        self._told_at = -AGAIN_S  # when all figures were told
        hire = partial(Worker, tell=self._tell, done=self._done, reader=self._reader, agent=agent)
        self._desk = Desk(
            lambda: hire(node.conversation()), settings.at_once, settings.queue, Chats(settings.chat_s), self._failed
        )

    def end(self) -> None:
        """Have `run` return, from any thread or a signal's handler."""
        self._ends = True
        self._events.put(lambda: None)

    def run(self, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Connect, and serve until `end` is called. `ready` is called once requests are answered, `beat` about once a second.

        Raises LinkError when the broker can't be reached, SettingsError when another service answers in this name.
        """
        self._link.connect()
        try:
            self._claim()
            for leaf, take in (("ask", self._take), ("cancel", self._cancel)):
                for asker in ("", "+"):
                    self._link.listen(self._own(leaf, asker), partial(self._queue, take))
            if self._discovery.wanted:
                self._link.subscribe(self._discovery.birth, self._note_birth)
            self._link.greet(lambda: self._events.put(self._greet))
            if not self._ends:
                ready()
            looked_at = -_LOOK_S
            while not self._ends:
                with suppress(queue.Empty):
                    self._do(self._events.get(timeout=_LOOK_S))
                if time.monotonic() >= looked_at + _LOOK_S:
                    looked_at = time.monotonic()
                    self._do(self._look)
                    beat()
        finally:
            self._ends = True
            self._end(self._desk.cancel_all())
            self._desk.close()
            while not self._events.empty():
                self._do(self._events.get())  # what was under way is answered as far as it came
            if not self._other:
                self._link.publish_json(self._own("status"), self._presence.offline)
            self._link.close()
        if self._other:
            raise SettingsError(
                f"another `sled-node run` answers as {self._settings.name!r} already, so this one ends; ask that one, or give this node a name of its own"
            )

    def ask(self, asked: Asked, asker: str, to: Callable[[dict[str, Any]], object]) -> None:
        """Have a request answered, from any thread; `to` is given the messages of its stream, and at last its answer."""
        self._events.put(partial(self._take_asked, asked, asker, Reply(to=to)))

    def cancel(self, asker: str, request_id: str) -> None:
        """Cancel what was asked so, from any thread."""
        self._events.put(lambda: self._end(self._desk.cancel(asker, request_id)))

    # On the MQTT client's thread, and on those of the workers

    def _queue(self, take: Callable[[Publish], None], publish: Publish) -> None:
        # A word that stops is let in where all else is dropped.
        most = _MOST_ARRIVALS if len(publish.payload) > _SHORT else 2 * _MOST_ARRIVALS
        if self._events.qsize() < most:
            self._events.put(partial(take, publish))
        else:
            self._lost += 1

    def _note_status(self, _: str, payload: bytes) -> None:
        self._events.put(partial(self._look_at_status, _status_in(payload)))

    def _note_birth(self, _: str, payload: bytes) -> None:
        if is_birth(payload):
            self._events.put(self._greet)

    def _done(self, worker: Worker, job: Job) -> None:
        self._events.put(partial(self._finish, worker, job))

    def _tell(self, job: Job, piece: dict[str, Any]) -> None:
        """Send a piece of an answer; one that is lost with the connection is not missed, as the answer has it all."""
        if job.reply.to is not None:
            job.reply.to(piece)
            return
        try:
            self._link.publish(self._topics.stream(job.reply.topic), _json(piece), correlation=job.reply.correlation)
        except LinkError as error:
            log.warning("%s", error)

    # On the service's thread

    def _claim(self) -> None:
        """Learn whether a service answers in this node's name already: one that runs says so when it hears of this one."""
        kept: list[dict[str, Any]] = []
        self._link.subscribe(
            self._own("status"), self._note_status, kept=lambda _, payload: kept.append(_status_in(payload))
        )
        self._link.flush()  # the broker's word on this comes behind what it has kept
        if any(status.get("online") is True for status in kept):
            self._announce()
            until = time.monotonic() + _CLAIM_S
            while not self._ends and (left := until - time.monotonic()) > 0:
                with suppress(queue.Empty):
                    self._do(self._events.get(timeout=left))

    def _do(self, event: Event) -> None:
        try:
            event()
        except Exception:
            # An exception would end the service for everybody.
            log.exception("something that came could not be handled")

    def _look_at_status(self, status: dict[str, Any]) -> None:
        """Somebody has written this node's status: the last will of a connection that was lost, or another service of the same name."""
        if self._ends:
            return
        if self._presence.yields_to(status):
            self._other = self._ends = True
        elif not self._presence.is_told_by(status):
            self._announce()  # an older connection's last will is corrected, and a younger service hears that there is one already

    def _greet(self) -> None:
        """The broker is there, or there again."""
        info = {
            "format": FORMAT,
            "pair": self._node.pair.name,
            "settings": self._settings.fingerprint,
            "max_tokens": self._settings.max_tokens,
            "version": self._version,
        }
        self._link.publish_json(self._own("info"), info)
        self._announce()
        self._discovery.tell(self._link)
        self._tally.forget_told()
        self._outbox.send_again(lost=True)

    def _announce(self) -> None:
        self._link.publish_json(self._own("status"), self._presence.online)

    def _look(self) -> None:
        """Tell what has changed since the last look."""
        self._desk.chats.forget_old()
        self._outbox.send_again(lost=False)
        if time.monotonic() >= self._told_at + AGAIN_S:
            self._told_at = time.monotonic()
            self._tally.forget_told()
        stats = self._tally.changed(
            waiting=len(self._desk.waiting),
            answering=len(self._desk.answering),
            chats=len(self._desk.chats),
            lost=self._lost,
            hub=self._node.link.directory.choose(None, set(), None),
        )
        if stats is not None:
            self._link.publish_json(self._own("stats"), stats)

    def _take(self, publish: Publish) -> None:
        asker, reply = self._asker(publish)
        if reply is None:
            return
        try:
            asked = read_request(publish.payload, self._settings.max_tokens)
        except BadRequest as error:
            self._refuse(error.id, str(error), "error", reply)
            return
        self._take_asked(asked, asker, reply)

    def _take_asked(self, asked: Asked, asker: str, reply: Reply) -> None:
        before = self._desk.repeated(asker, asked)
        if is_stop(asked.text) and self._stop_call is not None:
            self._stop(Job(asked, asker, reply, Chat(None, is_named=False)), self._stop_call)
        elif self._ends:
            self._refuse(asked.id, "the service is ending", "busy", reply)
        elif before is not None:
            self._repeat(before, asked, reply)
        elif not self._desk.take(asked, asker, reply):
            self._refuse(asked.id, _BUSY.format(len(self._desk.waiting)), "busy", reply)

    def _repeat(self, before: Job, asked: Asked, reply: Reply) -> None:
        """A request has come again: its answer is told again, once there is one."""
        if before.asked != asked:
            self._refuse(asked.id, "this id was another request's; give each request an id of its own", "error", reply)
        elif before.is_over:
            self._tell_once(self._content(before), reply)

    def _cancel(self, publish: Publish) -> None:
        asker, reply = self._asker(publish)
        if reply is None:
            return
        try:
            self._end(self._desk.cancel(asker, read_cancel(publish.payload)))
        except BadRequest as error:
            self._refuse("", str(error), "error", reply)

    def _asker(self, publish: Publish) -> tuple[str, Reply | None]:
        """Who asks, and where the answer goes: where the request says, if that is below the asker's own answers."""
        try:
            asker = self._topics.asker_of(publish.topic)
        except ProtocolError as error:
            log.warning("%s", error)
            return "", None
        topic, correlation = reply_wanted(publish.properties)
        own = self._own("answer", asker)
        below = topic.removeprefix(f"{own}/").split("/") if topic.startswith(f"{own}/") else []
        is_own = 0 < len(below) <= _LEVELS and all(is_name(level) and level != STREAM for level in below)
        return asker, Reply(topic if is_own else own, correlation)

    def _stop(self, job: Job, call: Call) -> None:
        """Stop at once, and end whatever might move the robot on."""
        self._outbox.drop(self._own("call"))  # what nobody was given yet must not come behind this
        self._call(job, [call])
        job.answer.text = _json({"name": call.name, "arguments": call.arguments}) + f"\n{_STOPPED}"
        job.answer.ending = Ending.END
        job.is_over = True
        self._desk.remember(job)
        self._answer(job, job.reply)
        self._end(self._desk.cancel_all())

    def _finish(self, worker: Worker, job: Job) -> None:
        """A request has been answered, or not."""
        try:
            self._end([job])
        finally:
            self._desk.finished(worker, job)

    def _failed(self, job: Job) -> None:
        self._end([job])

    def _end(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.is_over = True
            if job.is_unwanted.is_set() and job.outcome is None:
                job.answer.ending = Ending.CANCELLED
            self._tally.add(job)
            self._call(job, job.calls(self._reader))
            self._answer(job, job.reply)

    def _call(self, job: Job, calls: Sequence[Call]) -> None:
        for number, call in enumerate(calls):
            message = {
                "id": f"{job.key}/{number}",
                "answer": job.asked.id,
                "name": call.name,
                "arguments": call.arguments,
                "asker": job.asker,
                "chat": job.asked.chat,
            }
            self._outbox.send(self._own("call"), _json(message), good_for_s=_GOOD_S)

    def _answer(self, job: Job, reply: Reply) -> None:
        if reply.to is not None:
            reply.to(self._content(job))
            return
        own = self._own("answer", job.asker)
        otherwise = own if reply.topic != own else ""
        content = _json(self._content(job))
        self._outbox.send(reply.topic, content, good_for_s=_GOOD_S, correlation=reply.correlation, otherwise=otherwise)

    def _content(self, job: Job) -> dict[str, Any]:
        content = {"id": job.asked.id, "chat": job.asked.chat, **answer_json(job.answer, self._reader, job.error)}
        if job.outcome is not None:
            content.update(text=job.shown, say=job.outcome.say, **job.outcome.as_json())
        return content

    def _refuse(self, request_id: str, reason: str, finish: str, reply: Reply) -> None:
        self._tell_once({"id": request_id, "finish": finish, "error": reason}, reply)

    def _tell_once(self, content: dict[str, Any], reply: Reply) -> None:
        """Send what is not kept until somebody reads it: whoever misses it asks again."""
        if reply.to is not None:
            reply.to(content)
            return
        try:
            self._link.publish(reply.topic, _json(content), correlation=reply.correlation)
        except LinkError as error:
            log.warning("%s", error)

    def _own(self, leaf: str, asker: str = "") -> str:
        return self._topics.node(self._settings.name, leaf, asker)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


def _status_in(payload: bytes) -> dict[str, Any]:
    """The status in a message; one that says nothing for what is none."""
    try:
        return json_object(payload, "a status")
    except ProtocolError:
        return {}
