"""paho's MQTT client, driven so that a message is on its way when `publish` returns."""

from __future__ import annotations

import contextlib
import logging
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

log = logging.getLogger(__name__)

_IDLE_S = 1.0  # seconds between two checks of the keepalive
_FIRST_PAUSE_S = 1.0  # seconds before the first attempt to connect again; the pause doubles with each attempt
_LONGEST_PAUSE_S = 30.0  # seconds that the pause before an attempt grows to
_LAST_WRITES_S = 2.0  # seconds for which a client that is stopped goes on writing its waiting messages
_LONGEST_STOP_S = 10.0  # seconds for which `stop` waits for the thread: the last writes and an attempt to connect


class WriteThroughClient(paho.Client):
    """Reads on a thread of its own; whoever publishes writes to the socket itself.

    paho's own loop thread reads and writes. Each message then waits until that thread is awake and has the interpreter's
    lock, which takes 1 ms and more while other threads compute.

    paho's callbacks run under its locks. Here they may only call `afterwards`. Work given to `afterwards` runs on the
    reading thread without any lock, and may publish.
    """

    def __init__(self, client_id: str) -> None:
        """`client_id` must be this client's alone. Work given to `afterwards` for a message must acknowledge the message."""
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        self.__writing = threading.Lock()
        self.__afterwards: deque[Callable[[], None]] = deque()
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

    def afterwards(self, work: Callable[[], None]) -> None:
        """Have `work` done as soon as paho's callback has returned."""
        self.__afterwards.append(work)

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

    def __run(self, alarmed: socket.socket) -> None:
        assert self.__alarm is not None
        pause_s = _FIRST_PAUSE_S
        with self.__alarm, alarmed:
            while not self.__closing.is_set():
                sock: Any = self.socket()
                if sock is not None:
                    self.__serve(sock, alarmed)
                    if self.is_connected():
                        pause_s = _FIRST_PAUSE_S
                elif not self.__closing.wait(pause_s):
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    try:
                        self.reconnect()
                    except Exception as error:
                        # Any exception would end this thread, and the device would receive nothing more.
                        log.debug("the broker does not answer yet: %s", error)
            self.__finish(alarmed)

    def __finish(self, alarmed: socket.socket) -> None:
        deadline = time.monotonic() + _LAST_WRITES_S
        self.disconnect()  # its packet is written behind the messages that wait
        while (sock := self.socket()) is not None and time.monotonic() < deadline:
            self.__serve(sock, alarmed)
        if sock is not None:
            sock.close()

    def __serve(self, sock: Any, alarmed: socket.socket) -> None:
        """Wait up to _IDLE_S for the socket or the alarm, then read, run the queued work and write."""
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        poll = select.poll()
        try:
            poll.register(sock, select.POLLIN | (select.POLLOUT if self.want_write() else 0))
        except ValueError:
            return  # a thread that failed to write has closed it
        poll.register(alarmed, select.POLLIN)
        ready = dict(poll.poll(0 if decrypted else 1e3 * _IDLE_S))
        happened = ready.get(sock.fileno(), 0)
        if alarmed.fileno() in ready:
            alarmed.recv(4096)
        if decrypted or happened & ~select.POLLOUT:
            self.loop_read()
        while self.__afterwards:
            self.__do(self.__afterwards.popleft())
        if self.want_write():
            self.loop_write()
        self.loop_misc()

    def __do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("work queued by a callback failed")

    def __wake(self) -> None:
        if self.__alarm is not None:
            with contextlib.suppress(OSError):  # a full alarm wakes the thread already; a closed one has no thread
                self.__alarm.send(b"\0")
