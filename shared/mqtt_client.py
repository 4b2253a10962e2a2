"""paho's MQTT client, driven so that a message is on its way when `publish` returns, and that a lost broker is soon found again."""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from shared.mqtt_packets import Gate, MalformedStream, PacketReader, Publish

log = logging.getLogger(__name__)

_IDLE_S = 0.5  # seconds between two checks of keepalive and silence
_PIECE = 65_536  # bytes that are read at once
_FIRST_PAUSE_S = 0.1  # seconds before the first attempt to connect again; the pause doubles with each attempt
_LONGEST_PAUSE_S = 1.0  # seconds that the pause grows to: an attempt costs little, and whoever waits does so in vain
_LONGEST_REFUSED_S = 30.0  # seconds that the pause grows to while the broker answers and refuses
_CONNECT_S = 3.0  # seconds that an attempt to connect may take
_SILENCE_S = 5.0  # seconds within which a broker acknowledges something, if a publish awaits that
_SLOWEST = 16_384  # bytes a second that a link carries at least; large messages are given that time besides
_LAST_WRITES_S = 2.0  # seconds for which a client that is stopped goes on writing its waiting messages
_LONGEST_STOP_S = 10.0  # seconds for which `stop` waits for the thread: the last writes and an attempt to connect


class WriteThroughClient(paho.Client):
    """Reads on a thread of its own; whoever publishes writes to the socket itself.

    paho's own loop thread reads and writes. Each message then waits until that thread is awake and has the interpreter's
    lock, which takes 1 ms and more while other threads compute.

    paho's callbacks run under its locks. Here they may only call `afterwards`. Work given to `afterwards` runs on the
    reading thread without any lock, and may publish.
    """

    def __init__(self, client_id: str, deliver: Callable[[Publish], None], gate: Gate) -> None:
        """`client_id` must be this client's alone. `deliver` is given what `gate` admits, on the reading thread without any lock."""
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self.connect_timeout = _CONNECT_S
        self.connect_error: Exception | None = None  # why the last attempt to connect failed, if it did
        self.__deliver = deliver
        self.__gate = gate
        self.__reader = PacketReader(gate)
        self.__received = b""  # what paho has still to read
        self.__place = 0  # in those
        self.__refused_before = 0  # publishes that the gate had refused when it was looked last
        self.__asked_at: float | None = None  # when something was sent that awaits an answer, and none has come
        self.__asked_bytes = 0  # sent since then
        self.__refused = False  # whether the broker refused the last attempt to connect
        self.__writing = threading.Lock()
        self.__afterwards: deque[Callable[[], object]] = deque()
        self.__closing = threading.Event()
        self.__thread: threading.Thread | None = None
        self.__alarm: socket.socket | None = None

    def start(self) -> None:
        """Read, and connect again whenever the connection is lost. To be called once, after `connect`."""
        self.__alarm, alarmed = socket.socketpair()
        self.__alarm.setblocking(False)
        self.__thread = threading.Thread(target=self.__run, args=(alarmed,), name="mqtt", daemon=True)
        self.__thread.start()

    def stop(self) -> None:
        """Write the messages that wait, for at most _LAST_WRITES_S, then disconnect and end the thread."""
        self.__closing.set()
        self.__wake()
        if self.__thread is not None:
            self.__thread.join(_LONGEST_STOP_S)

    def afterwards(self, work: Callable[[], object]) -> None:
        """Have `work` done as soon as paho's callback has returned."""
        self.__afterwards.append(work)

    def refused(self) -> None:
        """The broker has refused the connection: it is asked again more seldom."""
        self.__refused = True

    @property
    def unanswered_s(self) -> float:
        """Seconds for which the broker has said nothing although a publish awaits its acknowledgement."""
        asked_at = self.__asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    def publish(self, topic: str, payload: Any = None, qos: int = 0, *rest: Any, **more: Any) -> paho.MQTTMessageInfo:
        """Publish as paho does."""
        if qos and self.is_connected():
            self.__ask(len(payload or b""))
        return super().publish(topic, payload, qos, *rest, **more)

    def reconnect(self) -> MQTTErrorCode:
        """Connect again."""
        self.__reader, self.__received, self.__place = PacketReader(self.__gate), b"", 0
        self.__refused_before = 0
        self.__asked_at = None
        self.__ask(0)
        return super().reconnect()

    def loop_write(self) -> MQTTErrorCode:
        """Write what waits to be sent, as paho does from `publish`."""
        reads = threading.current_thread() is self.__thread
        if isinstance(self.socket(), ssl.SSLSocket) and not reads:
            self.__wake()  # OpenSSL does not let one thread write while another reads
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        with self.__writing:
            result = super().loop_write()
        if self.want_write() and not reads:
            self.__wake()  # the socket is full: the reading thread writes the rest
        return result

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho reads: packets that have come whole, all but publishes."""
        piece = self.__received[self.__place : self.__place + bufsize]
        if not piece:
            raise BlockingIOError
        self.__place += len(piece)
        return piece

    def __run(self, alarmed: socket.socket) -> None:
        assert self.__alarm is not None
        pause_s = _FIRST_PAUSE_S
        with self.__alarm, alarmed:
            while not self.__closing.is_set():
                sock: Any = self.socket()
                if sock is not None:
                    self.__serve(sock, alarmed)
                    if self.is_connected():
                        pause_s, self.__refused = _FIRST_PAUSE_S, False
                elif not self.__closing.wait(pause_s * random.uniform(0.5, 1.0)):  # or all would come back at once
                    pause_s = min(2 * pause_s, _LONGEST_REFUSED_S if self.__refused else _LONGEST_PAUSE_S)
                    try:
                        self.reconnect()
                        self.connect_error = None
                    except Exception as error:
                        # Any exception would end this thread, and the device would receive nothing more.
                        self.connect_error = error
                        log.debug("the broker does not answer yet: %s", error)
            self.__finish(alarmed)

    def __finish(self, alarmed: socket.socket) -> None:
        deadline = time.monotonic() + _LAST_WRITES_S
        self.disconnect()  # its packet is written behind the messages that wait
        while (sock := self.socket()) is not None and time.monotonic() < deadline:
            self.__serve(sock, alarmed)
        if sock is not None:
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def __serve(self, sock: Any, alarmed: socket.socket) -> None:
        """Wait up to _IDLE_S for the socket or the alarm, then read, run the queued work and write."""
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        if self.__reader.refused > self.__refused_before:
            self.__refused_before = self.__reader.refused
            with self.__gate.turn():
                self.__read(sock)
        elif decrypted or self.__wait(sock, alarmed):
            self.__read(sock)
        self.__do_queued()
        if self.want_write():
            self.loop_write()
        if self.unanswered_s > _SILENCE_S + self.__asked_bytes / _SLOWEST:
            log.warning("the broker has acknowledged nothing for %.0f s; connecting anew", self.unanswered_s)
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self.loop_misc()

    def __wait(self, sock: Any, alarmed: socket.socket) -> bool:
        """Wait up to _IDLE_S for the socket or the alarm; whether the socket can be read."""
        poll = select.poll()
        try:
            poll.register(sock, select.POLLIN | (select.POLLOUT if self.want_write() else 0))
        except ValueError:
            return False  # a thread that failed to write has closed it
        poll.register(alarmed, select.POLLIN)
        ready = dict(poll.poll(1e3 * _IDLE_S))
        if alarmed.fileno() in ready:
            alarmed.recv(4096)
        return bool(ready.get(sock.fileno(), 0) & ~select.POLLOUT)

    def __read(self, sock: Any) -> None:
        """Read what is there, let paho handle it and deliver publishes; a connection that has ended is closed."""
        try:
            piece = sock.recv(_PIECE)
            if not piece:
                raise ConnectionResetError("the broker has closed the connection")
            received = self.__reader.feed(piece)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (OSError, MalformedStream) as error:
            log.debug("reading from the broker failed: %s", error)
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            return
        self.__asked_at = None
        if received.acknowledgements:
            self._packet_queue(paho.PUBACK, received.acknowledgements, 0, 0)
        self.__received, self.__place = received.rest, 0
        while self.__place < len(self.__received) and self.socket() is sock:
            self.loop_read()
            self.__do_queued()
        for publish in received.publishes:
            self.__deliver(publish)

    def __do_queued(self) -> None:
        while self.__afterwards:
            work = self.__afterwards.popleft()
            try:
                work()
            except Exception:
                log.exception("work queued by a callback failed")

    def __ask(self, size: int) -> None:
        """Something is sent that awaits an answer."""
        if self.__asked_at is None:
            self.__asked_at, self.__asked_bytes = time.monotonic(), 0
        self.__asked_bytes += size

    def __wake(self) -> None:
        if self.__alarm is not None:
            with contextlib.suppress(OSError):  # a full alarm wakes the thread already; a closed one has no thread
                self.__alarm.send(b"\0")
