"""What a service sends about requests: pieces of answers while they grow, answers, refusals, and the calls that others carry out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edge_node.dialogue.calls import Call, CallReader
from edge_node.dialogue.report import answer_json
from edge_node.service.outbox import Outbox
from edge_node.service.worker import GOOD_S, Job, Reply
from shared.errors import LinkError
from shared.mqtt import MqttLink
from shared.mqtt_packets import Publish, reply_wanted
from shared.topics import STREAM, Topics, is_name

log = logging.getLogger(__name__)

_LEVELS = 4  # of a response topic below the asker's answers


class Replies:
    """To be used on the service's thread, but for `tell`, which any thread may use."""

    def __init__(self, link: MqttLink, topics: Topics, node: str, reader: CallReader, *, ros: bool) -> None:
        """With `ros` calls and what is said are published for ROS 2 too."""
        self._link, self._topics, self._node, self._reader, self._ros = link, topics, node, reader, ros
        self._outbox = Outbox(link)
        self.refused = {"busy": 0, "error": 0}  # requests that were not answered, by what they were told

    def wanted_by(self, publish: Publish) -> tuple[str, Reply]:
        """Who asks, and where the answer goes: where the request says, if that is below the asker's own answers. Raises ProtocolError."""
        asker = self._topics.asker_of(publish.topic)
        topic, correlation = reply_wanted(publish.properties)
        own = self._topics.node(self._node, "answer", asker)
        below = topic.removeprefix(f"{own}/").split("/") if topic.startswith(f"{own}/") else []
        is_own = 0 < len(below) <= _LEVELS and all(is_name(level) and level != STREAM for level in below)
        return asker, Reply(topic if is_own else own, correlation)

    def tell(self, job: Job, piece: dict[str, Any]) -> None:
        """Send a piece of an answer; one that is lost with the connection is not missed, as the answer has it all."""
        self._send(piece, job.reply, self._topics.stream(job.reply.topic))

    def call(self, job: Job, calls: Sequence[Call]) -> None:
        """Send the calls of an answer to whoever carries calls out."""
        for number, call in enumerate(calls):
            message = {
                "id": f"{job.key}/{number}",
                "answer": job.asked.id,
                "name": call.name,
                "arguments": call.arguments,
                "asker": job.asker,
                "chat": job.asked.chat,
            }
            self._outbox.send(self._topics.node(self._node, "call"), _json(message), good_for_s=GOOD_S)
            self._tell_ros("call", _json(message))

    def forget_calls(self) -> None:
        """Send no call again that nobody was given yet."""
        self._outbox.drop(self._topics.node(self._node, "call"))
        self._outbox.drop(self._topics.ros(self._node, "call"))

    def answer(self, job: Job) -> None:
        """Send an answer, and again until somebody has read it."""
        content, reply = self._content(job), job.reply
        if job.asked.acts:
            self._tell_ros("say", content["say"])
        if reply.to is not None:
            reply.to({**content, "error_kind": job.error_kind})
            return
        own = self._topics.node(self._node, "answer", job.asker)
        self._outbox.send(
            reply.topic,
            _json(content),
            good_for_s=GOOD_S,
            correlation=reply.correlation,
            otherwise=own if reply.topic != own else "",
        )

    def answer_again(self, job: Job, reply: Reply) -> None:
        """Send an answer to who has asked for it again; whoever misses it asks once more."""
        self._send(self._content(job), reply, reply.topic)

    def refuse(self, request_id: str, reason: str, finish: str, reply: Reply) -> None:
        """Say why a request is not answered; whoever misses it asks again."""
        self.refused[finish] += 1
        self._send({"id": request_id, "finish": finish, "error": reason}, reply, reply.topic)

    def send_again(self, *, lost: bool) -> None:
        """Send what nobody has read; after a connection was `lost` also what may never have come to the broker."""
        self._outbox.send_again(lost=lost)

    def _tell_ros(self, leaf: str, text: str) -> None:
        """Publish a text as a std_msgs/String in JSON."""
        if self._ros and text:
            self._outbox.send(self._topics.ros(self._node, leaf), _json({"data": text}), good_for_s=GOOD_S)

    def _content(self, job: Job) -> dict[str, Any]:
        content = {"id": job.asked.id, "chat": job.asked.chat, **answer_json(job.answer, self._reader, job.error)}
        if job.outcome is not None:
            content.update(text=job.shown, say=job.spoken, **job.outcome.as_json())
            if not job.shown.startswith(job.answer.text):
                content["sources"] = []  # what was shown is not its own text
            if not job.answer.ids:  # a yes to what was asked back about
                content["calls"] = list(map(asdict, job.outcome.others))
        return content

    def _send(self, content: dict[str, Any], reply: Reply, topic: str) -> None:
        if reply.to is not None:
            reply.to(content)
            return
        try:
            self._link.publish(topic, _json(content), correlation=reply.correlation)
        except LinkError as error:
            log.warning("%s", error)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)
