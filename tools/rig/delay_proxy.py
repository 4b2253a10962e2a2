"""A TCP proxy that delivers everything some milliseconds later, in both directions: a network's round trip time on loopback.

    python -m tools.rig.delay_proxy --port 0 --to 127.0.0.1:1883 --rtt-ms 50

Prints the port it listens on. Bandwidth is not limited, and order is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from shared.program import run
from tools.rig.process import dying_with_parent

_CHUNK = 65_536
_MOST_CHUNKS = 4096  # chunks under way in one direction; then the sender has to wait


@contextmanager
def delayed(port: int, rtt_ms: float) -> Iterator[int]:
    """The port of a proxy, in a process of its own, to `port` on loopback."""
    command = [sys.executable, "-m", "tools.rig.delay_proxy", "--to", f"127.0.0.1:{port}", "--rtt-ms", str(rtt_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=dying_with_parent()) as process:  # noqa: PLW1509
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def _serve(port: int, host: str, host_port: int, delay_s: float) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(host, host_port)
        except OSError:
            writer.close()
            return
        for each in (writer, back):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(_carry(reader, back, delay_s), _carry(there, writer, delay_s))

    server = await asyncio.start_server(relay, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Write what is read, each piece in its time."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)

    async def deliver() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not piece:
                break
            writer.write(piece)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    with contextlib.suppress(OSError):
        while piece := await reader.read(_CHUNK):
            await under_way.put((clock() + delay_s, piece))
    await under_way.put((clock() + delay_s, b""))
    with contextlib.suppress(OSError):
        await delivery
    writer.close()


def main(
    to: Annotated[str, typer.Option(help="host:port to connect to")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="to listen on, on loopback; 0: a free one")] = 0,
    rtt_ms: Annotated[float, typer.Option(min=0, help="added to a round trip")] = 50.0,
) -> None:
    """Delay what goes through."""
    host, _, number = to.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", number) or not 1 <= int(number) <= 65_535:
        raise typer.BadParameter("give it as host:port", param_hint="--to")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(port, host, int(number), rtt_ms / 2e3))


if __name__ == "__main__":
    run("tools.rig.delay_proxy", main)
