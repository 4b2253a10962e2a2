"""The service: requests in, answers and calls out, and what it tells about itself."""

from __future__ import annotations

import json
import logging
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any

from edge_node.assembly import Node
from edge_node.dialogue.answer import Ending
from edge_node.dialogue.calls import Call, CallReader
from edge_node.home_assistant.agent import HomeAgent
from edge_node.service.begun import BegunRequests
from edge_node.service.chats import Chat, Chats
from edge_node.service.description import description
from edge_node.service.desk import Desk
from edge_node.service.figures import ServiceFigures
from edge_node.service.presence import Presence
from edge_node.service.replies import Replies
from edge_node.service.requests import FORMAT, Asked, BadRequest, read_cancel, read_request
from edge_node.service.stop_words import is_stop, stop_call
from edge_node.service.tally import Tally
from edge_node.service.worker import Job, Reply, Worker
from edge_node.settings import Mode, NodeSettings
from shared.cache import cache_folder
from shared.discovery import AGAIN_S, Discovery
from shared.errors import ProtocolError, SettingsError
from shared.json_object import json_object
from shared.mqtt import MqttLink
from shared.mqtt_packets import Publish
from shared.program import sentence
from shared.topics import Topics

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # seconds between two looks at what has changed
_MOST_ARRIVALS = 256  # events that wait for the service's thread, before messages are dropped
_SHORT = 100  # bytes of a message that may be a word that stops
_CLAIM_S = 1.0  # seconds within which a service that runs says so to one that begins
_STOPPED = "Stopping."
_BEGUN = "what this request asks for was begun before the service was started again, and may be done; ask anew, with another id"
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
        self._begun = BegunRequests(cache_folder() / f"begun-{settings.name}")
        self._mode = settings.mode  # of the answers that begin from now on
        self._ends = False
        self._other = False  # whether another service answers in this node's name
        self._presence = Presence()
        self._link = MqttLink(settings.broker, settings.name, will=(self._own("status"), self._presence.offline))
        self._replies = Replies(self._link, self._topics, settings.name, self._reader, ros=settings.ros)
        self._version = version("sled-mqtt")
        self._discovery = Discovery(
            settings.broker, description(self._topics, settings.name, node.pair.name, self._version)
        )
        self._told_at = -AGAIN_S  # when all figures were told
        hire = partial(
            Worker,
            tell=self._replies.tell,
            done=self._done,
            reader=self._reader,
            agent=agent,
            mode=lambda: self._mode,
            begun=self._begun,
            node=node,
        )
        self._desk = Desk(
            lambda: hire(node.conversation()), settings.at_once, settings.queue, Chats(settings.chat_s), self._failed
        )
        self._figures = ServiceFigures(settings.name, node, self._link, self._desk, self._replies, self._tally)

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._desk.answering)

    def metrics(self) -> dict[str, Any]:
        """What `stats` tells, and what is so at this moment. To be asked by any thread."""
        return self._figures.for_metrics(self._mode, self._lost)

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
            self._link.listen(self._own("mode"), partial(self._queue, self._set_mode))
            self._discovery.follow(self._link, lambda: self._events.put(self._greet))
            self._link.greet(lambda: self._events.put(self._greet))
            if not self._ends:
                ready()
            looked_at = -_LOOK_S
            while not self._ends:
                with suppress(queue.Empty):
                    self._do(self._events.get(timeout=_LOOK_S))
                if time.monotonic() >= looked_at + _LOOK_S:
                    self._do(self._look)
                    looked_at = time.monotonic()  # behind it: between two `stats` are no fewer seconds
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

    def _done(self, worker: Worker, job: Job) -> None:
        self._events.put(partial(self._finish, worker, job))

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
        except ProtocolError as error:
            log.warning("%s", error)
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
        self._replies.send_again(lost=True)

    def _announce(self) -> None:
        self._link.publish_json(self._own("status"), self._presence.online)

    def _look(self) -> None:
        """Tell what has changed since the last look."""
        self._desk.chats.forget_old()
        self._replies.send_again(lost=False)
        if time.monotonic() >= self._told_at + AGAIN_S:
            self._told_at = time.monotonic()
            self._tally.forget_told()
        stats = self._tally.changed(**self._figures.now(self._mode, self._lost))
        if stats is not None:
            self._link.publish_json(self._own("stats"), stats)

    def _take(self, publish: Publish) -> None:
        asker, reply = self._replies.wanted_by(publish)
        try:
            asked = read_request(publish.payload, self._settings.max_tokens)
        except BadRequest as error:
            self._replies.refuse(error.id, str(error), "error", reply)
            return
        self._take_asked(asked, asker, reply)

    def _take_asked(self, asked: Asked, asker: str, reply: Reply) -> None:
        before = self._desk.repeated(asker, asked)
        if asked.acts and is_stop(asked.text) and self._stop_call is not None:
            self._stop(Job(asked, asker, reply, Chat(None, is_named=False)), self._stop_call)
        elif self._ends:
            self._replies.refuse(asked.id, "the service is ending", "busy", reply)
        elif before is not None:
            self._repeat(before, asked, reply)
        elif asked.has_own_id and self._begun.had_begun(asker, asked.id):
            self._replies.refuse(asked.id, _BEGUN, "error", reply)
        elif not self._desk.take(asked, asker, reply):
            self._replies.refuse(asked.id, _BUSY.format(len(self._desk.waiting)), "busy", reply)

    def _repeat(self, before: Job, asked: Asked, reply: Reply) -> None:
        """A request has come again: its answer is told again, once there is one."""
        if before.asked != asked:
            self._replies.refuse(
                asked.id, "this id was another request's; give each request an id of its own", "error", reply
            )
        elif before.is_over:
            self._replies.answer_again(before, reply)

    def _cancel(self, publish: Publish) -> None:
        asker, reply = self._replies.wanted_by(publish)
        try:
            self._end(self._desk.cancel(asker, read_cancel(publish.payload)))
        except BadRequest as error:
            self._replies.refuse("", str(error), "error", reply)

    def _set_mode(self, publish: Publish) -> None:
        """Who decodes is chosen by a home; a choice that can't be taken changes nothing."""
        wanted = publish.payload[:_SHORT].decode(errors="replace").strip()
        modes = {mode.value: mode for mode in Mode}
        if wanted not in modes:
            log.warning("the mode must be one of %s, not %s", ", ".join(modes), sentence(repr(wanted)))
        elif modes[wanted] is not Mode.STREAM and not self._node.drafts:
            log.warning("no draft model is loaded, as the service was started with the mode stream: it stays so")
        else:
            self._mode = modes[wanted]

    def _stop(self, job: Job, call: Call) -> None:
        """Stop at once, and end whatever might move the robot on."""
        self._desk.chats.forget_questions()
        self._replies.forget_calls()  # what nobody was given yet must not come behind this
        self._replies.call(job, [call])
        job.answer.text = f"{json.dumps({'name': call.name, 'arguments': call.arguments})}\n{_STOPPED}"
        job.answer.ending = Ending.END
        job.is_over = True
        self._desk.remember(job)
        self._replies.answer(job)
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
            self._replies.call(job, job.calls(self._reader))
            self._replies.answer(job)

    def _own(self, leaf: str, asker: str = "") -> str:
        return self._topics.node(self._settings.name, leaf, asker)


def _status_in(payload: bytes) -> dict[str, Any]:
    """The status in a message; one that says nothing for what is none."""
    try:
        return json_object(payload, "a status")
    except ProtocolError:
        return {}
