"""A proxy before an MQTT broker that knows packets: each program has a lane of its own, which can be cut or disturbed.

All but what a lane's faults do to single messages passes in order. A cut holds everything back, new connections too,
and ends with the connections closed or with what was held back delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tools.rig.lane import HELD_S, Lane, Witness
from tools.rig.packets import PacketSplitter, Publish

Result = TypeVar("Result")

_CHUNK = 65_536
_MOST_PACKETS = 4096  # on their way in one direction; then the sender has to wait
_CONNECT_S = 30.0
_STEP_S = 0.05


class MqttProxy:
    """Lanes to one broker on loopback, served by a thread."""

    def __init__(self, broker_port: int, seed: int, witness: Witness) -> None:
        """`seed` decides which messages a disturbance hits."""
        self.lanes: dict[str, Lane] = {}
        self._broker_port = broker_port
        self._seed = seed
        self._witness = witness
        self._writers: dict[str, set[asyncio.StreamWriter]] = {}
        self._servers: list[asyncio.Server] = []
        self._relays: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections and the thread."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str) -> Lane:
        """A lane for the program of that name."""
        lane = Lane(name, random.Random(f"{self._seed}/{name}"), self._witness)
        self.lanes[name], self._writers[name] = lane, set()
        lane.port = self._call(self._listen(lane))
        return lane

    def cut(self, name: str, seconds: float, *, closes: bool) -> None:
        """Let nothing pass for so long, and then close the lane's connections or go on."""
        lane = self.lanes[name]
        lane.cut_until = max(lane.cut_until, time.monotonic() + seconds)
        if closes:
            self._loop.call_soon_threadsafe(self._close_after, seconds, lane)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for name, lane in self.lanes.items():
            lane.cut_until, lane.closings = 0.0, 0
            self._close_connections(name)
        while self._relays:
            await asyncio.wait(self._relays)

    def _close_after(self, seconds: float, lane: Lane) -> None:
        """What a cut holds back must not pass before it closes the connections, however late this thread gets to it."""
        lane.closings += 1

        def close() -> None:
            self._close_connections(lane.name)
            lane.closings -= 1

        self._loop.call_later(seconds, close)

    def _close_connections(self, name: str) -> None:
        for writer in self._writers[name]:
            writer.transport.abort()

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, lane: Lane) -> int:
        server = await asyncio.start_server(lambda r, w: self._relay(lane, r, w), "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _relay(self, lane: Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._writers[lane.name].add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        try:
            await _passable(lane)
            there, onward = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._broker_port), _CONNECT_S)
            ends.append(onward)
            self._writers[lane.name].add(onward)
            up, down = _Flow(lane, onward), _Flow(lane, writer)
            up.opposite, down.opposite = down, up
            for each in ends:
                each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tasks = [
                asyncio.create_task(up.take(reader)),
                asyncio.create_task(down.take(there)),
                asyncio.create_task(up.give(lambda publish: self._witness.passed(lane.name, True, publish))),
                asyncio.create_task(down.give(lambda publish: self._witness.passed(lane.name, False, publish))),
            ]
            _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await _passable(lane)  # who is at the other end of a cut does not learn that this end has gone
            for unfinished in rest:
                unfinished.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, TimeoutError):
            pass  # no broker there
        finally:
            for each in ends:
                self._writers[lane.name].discard(each)
                each.close()  # what was written before goes out still


class _Flow:
    """One direction of a connection: packets that were read wait for their time, and are written in order."""

    def __init__(self, lane: Lane, writer: asyncio.StreamWriter) -> None:
        self.opposite = self
        self._lane = lane
        self._writer = writer
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_PACKETS)
        self._held: list[bytes] = []

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Read until the connection ends, and wait until what was read has been written."""
        splitter = PacketSplitter()
        with contextlib.suppress(OSError, ValueError):
            while piece := await reader.read(_CHUNK):
                for packet in splitter.feed(piece):
                    await self._treat(packet)
        await self._under_way.join()

    async def give(self, passed: Callable[[Publish], None]) -> None:
        """Write what waits, each packet in its time and none during a cut."""
        with contextlib.suppress(OSError):
            while True:
                due, packet = await self._under_way.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await _passable(self._lane)
                self._writer.write(packet)
                await self._writer.drain()
                publish = Publish.read(packet)
                if publish is not None:
                    passed(publish)
                self._under_way.task_done()

    async def _treat(self, packet: bytes) -> None:
        passage = self._lane.treat(packet, self._held)
        if passage.back:
            await self.opposite.put(0.0, passage.back)
        for delay, each in passage.onward:
            await self.put(delay, each)
        if self._held and not passage.onward:
            asyncio.get_running_loop().call_later(HELD_S, self._release)

    async def put(self, delay_s: float, packet: bytes) -> None:
        """Have a packet written so much later."""
        await self._under_way.put((time.monotonic() + delay_s, packet))

    def _release(self) -> None:
        if self._held and not self._under_way.full():
            self._under_way.put_nowait((time.monotonic(), self._held.pop()))


async def _passable(lane: Lane) -> None:
    while (rest := lane.cut_until - time.monotonic()) > 0 or lane.closings > 0:
        await asyncio.sleep(min(max(rest, 0.0), _STEP_S))  # the lane may be cut for longer meanwhile, or the proxy end


@contextmanager
def mqtt_proxy(broker_port: int, seed: int, witness: Witness) -> Iterator[MqttProxy]:
    """A proxy that serves until the context ends."""
    proxy = MqttProxy(broker_port, seed, witness)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
