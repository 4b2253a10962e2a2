"""An MQTT 5 client that keeps its subscriptions over reconnects, sends without delay and never queues without bound."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.matcher import MQTTMatcher
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared.diagnosis import diagnosis, lost_because, remedy
from shared.errors import BrokerRefused, BrokerUnreachable, LinkError
from shared.last_will import LastWill
from shared.limits import MAX_FRAME
from shared.mqtt_client import WriteThroughClient
from shared.mqtt_packets import Gate, OpenGate, Publish
from shared.settings import BrokerSettings
from shared.tls import tls_context
from shared.topics import Topics

log = logging.getLogger(__name__)

MAX_OUTGOING = 10_000  # messages that wait for the broker
MAX_INFLIGHT = 1_000  # QoS 1 messages without their PUBACK; deploy/mosquitto/sled.conf gives mosquitto the same limit
MAX_PACKET = MAX_FRAME + 1024  # bytes of an MQTT packet: a frame with its session's id, topic and properties
_AT_MOST_ONCE = 0  # a QoS: a message without a PUBACK costs both sides half as much
_AT_LEAST_ONCE = 1  # a QoS: a lost round costs a timeout, a repeated round costs nothing

_NOBODY = "No matching subscribers"  # MQTT 5's name for what a PUBACK may say

_SILENT_S = 1.0  # seconds without an acknowledgement after which the broker counts as silent
_OVERHEAD = 64  # bytes of a publish besides topic and payload, at most

Handler = Callable[[str, bytes], object]  # what it returns does not matter
Listener = Callable[[Publish], object]


class _Subscription(NamedTuple):
    options: SubscribeOptions
    handler: Listener  # of new messages
    kept: Listener  # of those that the broker kept from before


class Sent:
    """What becomes of a message. `remarks` is what the broker said to messages with ids, as far as it is not that all is well."""

    def __init__(self, info: paho.MQTTMessageInfo | None, remarks: Mapping[int, ReasonCode]) -> None:
        self._info, self._remarks = info, remarks

    @property
    def is_answered(self) -> bool:
        """Whether the broker has said something to it."""
        try:
            return self._info is not None and self._info.is_published()
        except (RuntimeError, ValueError):
            return False  # it was lost with its connection

    @property
    def was_read(self) -> bool:
        """Whether the broker has given it to somebody, as far as it tells."""
        return self.is_answered and self._remark is None

    @property
    def refusal(self) -> str:
        """Why the broker has not taken it; nothing if it has, or has not answered yet."""
        remark = self._remark if self.is_answered else None
        return str(remark) if remark is not None and remark.is_failure else ""

    @property
    def _remark(self) -> ReasonCode | None:
        return None if self._info is None else self._remarks.get(self._info.mid)


NOT_SENT = Sent(None, {})


class MqttLink:
    """A connection to the broker.

    Handlers run on the client's own thread and should only decode and queue. A handler that raises is logged and
    counted in `handler_errors`, and the connection goes on.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        name: str,
        will: tuple[str, dict[str, Any]] | None = None,
        gate: Gate | None = None,
        most_bytes: int = MAX_PACKET,
    ) -> None:
        """`will` is a topic and the retained JSON object that the broker publishes there when this client is lost.

        What `gate` does not admit is dropped before anybody reads it, and so is, by the broker, every packet
        of more than `most_bytes`.
        """
        self.handler_errors = 0
        self.refused_publishes = 0
        self.retains = True  # whether the broker keeps retained messages
        self.on_refused: Callable[[str], None] = lambda reason: log.error("the broker refused a publish: %s", reason)
        self._settings = settings
        self._most_bytes = most_bytes
        self._broker_takes = MAX_PACKET  # bytes of a packet
        self._qos = _AT_LEAST_ONCE  # the highest that the broker has
        self._subscriptions: dict[str, _Subscription] = {}  # by filter
        self._matching = MQTTMatcher()  # the same by topic; never changed, but replaced, since two threads use it
        self._greetings: list[Callable[[], object]] = []
        self._connected = threading.Event()
        self._refusal: str | None = None
        self._answered = threading.Event()  # the broker has accepted or refused the first connection, or closed it
        self._remarks: dict[int, ReasonCode] = {}  # of the broker, to messages that it refused or had nobody to give to
        self._grants: dict[int, threading.Event] = {}
        self._grants_lock = threading.Lock()  # a SUBACK can arrive before subscribe() has returned its id
        # The id is random and told to nobody: a client that connects with another's id would disconnect it.
        client = WriteThroughClient(f"sled-{secrets.token_hex(8)}", self._deliver, gate or OpenGate())
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.max_queued_messages_set(MAX_OUTGOING)
        client.on_socket_open = _without_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        self._asks_less = False  # whether the next attempt to connect asks less of the broker than this one
        self._will = None if will is None else LastWill(client, *will)
        password = settings.password()
        username = settings.username or (name if password is not None else "")
        if username:
            client.username_pw_set(username, password)
        context = tls_context(settings)
        if context is not None:
            client.tls_set_context(context)
        self._username = username
        self._client = client

    def connect(self, timeout_s: float = 10.0, *, at_once: bool = True) -> None:
        """Connect and keep connected. Raises BrokerRefused when the broker refuses.

        Raises BrokerUnreachable when no broker answers; where it need not be `at_once`, connecting just goes on then.
        """
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            limits = Properties(PacketTypes.CONNECT)
            limits.MaximumPacketSize = self._most_bytes
            self._client.connect(
                self._settings.host,
                self._settings.port,
                keepalive=self._settings.keepalive_s,
                clean_start=True,
                properties=limits,
            )
        except OSError as error:
            if at_once:
                raise BrokerUnreachable(diagnosis(self._settings, error)) from None
            self._client.connect_error = error
        self._client.start()
        if self._client.connect_error is not None:
            return
        self._answered.wait(timeout_s)
        if self._refusal is not None:
            self.close()
            raise BrokerRefused(f"the broker at {where} refused the connection: {self._refusal}")
        if at_once and not self._connected.is_set():
            self.close()
            raise BrokerUnreachable(diagnosis(self._settings, None))

    def subscribe(
        self,
        topic_filter: str,
        handler: Handler,
        *,
        retained: bool = True,
        kept: Handler | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Call `handler` with topic and payload of what arrives on `topic_filter`, now and after every reconnect.

        Messages that the broker kept from before go to `kept`, where it is given, and are not delivered without `retained`.
        Returns when the broker has confirmed the subscription, or at once while the link is not connected. Raises LinkError
        when the broker does not confirm it within `timeout_s`.
        """
        self._subscribe(topic_filter, _of_payload(handler), _of_payload(kept or handler), retained, timeout_s)

    def listen(self, topic_filter: str, listener: Listener, *, timeout_s: float = 10.0) -> None:
        """As `subscribe`, for who wants new messages whole, with their properties. Raises LinkError."""
        self._subscribe(topic_filter, listener, listener, False, timeout_s)

    def _subscribe(
        self, topic_filter: str, handler: Listener, kept: Listener, retained: bool, timeout_s: float
    ) -> None:
        handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
        options = SubscribeOptions(qos=_AT_LEAST_ONCE, retainHandling=handling)
        self._subscriptions[topic_filter] = _Subscription(options, handler, kept)
        matching = MQTTMatcher()
        for each, subscription in self._subscriptions.items():
            matching[each] = subscription
        self._matching = matching
        granted = threading.Event()
        with self._grants_lock:
            result, mid = self._client.subscribe(topic_filter, options=options)
            if result is not MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
                return  # not connected: _on_connect subscribes on the next connect
            self._grants[mid] = granted
        if not granted.wait(timeout_s):
            raise LinkError(f"the broker did not confirm the subscription to {topic_filter}")

    def greet(self, greeting: Callable[[], object]) -> None:
        """Call `greeting` now and after every reconnect. Its messages replace the last will."""
        self._greetings.append(greeting)
        greeting()

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        droppable: bool = False,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes = b"",
    ) -> Sent:
        """Send at QoS 1 without waiting, or at QoS 0 to a broker that has no other. What is returned tells what becomes of it.

        What is published while there is no connection is lost, and so is what the broker has not acknowledged when the
        connection ends: whoever needs an answer asks again. Raises LinkError when MAX_OUTGOING messages already wait for
        the broker, or for a message that it does not take. A droppable message is sent at QoS 0, and dropped while any
        other message waits to be written. `correlation` goes along as MQTT 5's correlation data.
        """
        if not self._client.is_connected() or (droppable and self._client.want_write()):
            return NOT_SENT
        if len(payload) + _OVERHEAD + len(topic) > self._broker_takes:
            raise LinkError(
                f"the broker takes packets of at most {self._broker_takes} bytes, and {len(payload)} are to be sent; "
                "raise its limit (max_packet_size and message_size_limit of mosquitto)"
            )
        qos = _AT_MOST_ONCE if droppable else self._qos
        properties = None
        if expiry_s is not None or correlation:
            properties = Properties(PacketTypes.PUBLISH)
            if expiry_s is not None:
                properties.MessageExpiryInterval = expiry_s
            if correlation:
                properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise LinkError(f"{MAX_OUTGOING} messages already wait for the broker; this one is not sent")
        return Sent(info, self._remarks) if info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS else NOT_SENT

    def publish_json(self, topic: str, value: dict[str, Any]) -> None:
        """Send `value` as a JSON object, retained by a broker that does; state that can't be sent now is left to the next greeting."""
        try:
            self.publish(topic, json.dumps(value), retain=self.retains)
        except LinkError as error:
            log.warning("%s", error)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return bool(self._client.is_connected())

    @property
    def trouble(self) -> str:
        """What is wrong between this device and the broker, whose fault it is as far as that can be told; nothing if all is well."""
        where = f"{self._settings.host}:{self._settings.port}"
        if self._refusal is not None:
            return f"the broker at {where} refuses the connection: {self._refusal}"
        unanswered_s = self._client.unanswered_s
        if self.connected:
            return f"the broker at {where} acknowledges nothing" if unanswered_s > _SILENT_S else ""
        return lost_because(where, self._client.connect_error)

    @property
    def sends_without_delay(self) -> bool:
        """Whether the connection's socket has TCP_NODELAY."""
        sock: Any = self._client.socket()
        return sock is not None and bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def close(self) -> None:
        """Wait for the broker to confirm what was published, as `flush` does, then disconnect and end the client's thread.

        Closing a socket with an unread PUBACK resets the connection, and the broker would lose what it has not read yet.
        """
        if self._client.is_connected():
            self.flush()
        self._client.stop()

    def flush(self, timeout_s: float = 2.0) -> None:
        """Wait until the broker has confirmed a marker publish behind all earlier ones, at most `timeout_s`."""
        info = self._client.publish(Topics(self._settings.prefix).flush, b"", qos=self._qos)
        try:
            info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError):
            log.debug("not connected: nothing to flush")

    def _deliver(self, publish: Publish) -> None:
        for subscription in self._matching.iter_match(publish.topic):
            try:
                handler = subscription.kept if publish.retained else subscription.handler
                handler(publish)
            except Exception:
                # An exception would end the client's thread, and the device would receive nothing more.
                self.handler_errors += 1
                log.exception("a handler failed on %s", publish.topic)

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: Any,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        granted: Properties | None,
    ) -> None:
        self._client.drop_out_messages()  # a message that makes the broker hang up must not be sent for ever
        self._asks_less = reason.is_failure and self._will is not None and self._will.ask_less(reason)
        if self._asks_less:
            return
        if reason.is_failure:
            self._refusal = f"{reason}; {remedy(self._settings, self._username, str(reason))}"
            self._client.refused()
            log.warning("the broker refused the connection: %s", reason)
        else:
            self._refusal = None
            self._broker_takes = min(MAX_PACKET, getattr(granted, "MaximumPacketSize", MAX_PACKET))
            self._qos = min(_AT_LEAST_ONCE, getattr(granted, "MaximumQoS", _AT_LEAST_ONCE))
            self.retains = bool(getattr(granted, "RetainAvailable", True))
            for topic_filter, subscription in list(self._subscriptions.items()):
                client.subscribe(topic_filter, options=subscription.options)
            for greeting in self._greetings:
                self._client.afterwards(greeting)
            self._connected.set()
        self._answered.set()

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: Any,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        if self._asks_less:
            self._asks_less = False  # that attempt was refused, and the next one follows at once
            return
        self._answered.set()
        if reason.is_failure:
            log.warning("lost the broker (%s); reconnecting", reason)

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _: Properties | None
    ) -> None:
        self._remarks.pop(mid, None)  # ids are used again
        if reason.is_failure or reason == _NOBODY:
            self._remarks[mid] = reason
        if reason.is_failure:
            self.refused_publishes += 1
            self._client.afterwards(lambda: self.on_refused(str(reason)))

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                log.error("the broker refused a subscription: %s", reason)
        self._client.afterwards(partial(self._granted, mid))

    def _granted(self, mid: int) -> None:
        with self._grants_lock:
            granted = self._grants.pop(mid, None)
        if granted is not None:
            granted.set()


def _without_delay(_client: paho.Client, _userdata: Any, sock: Any) -> None:
    # With Nagle's algorithm a message behind a PUBACK waits for a delayed ACK: 44 ms on each side in each round.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _of_payload(handler: Handler) -> Listener:
    return lambda publish: handler(publish.topic, publish.payload)
