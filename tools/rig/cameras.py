"""A camera's program that has every picture described, as a process of its own: sessions that stream one caption after the other, without a pause.

    python -m tools.rig.cameras --to 127.0.0.1:1883 --user camera-1 --password-file FILE --pair home --sessions 16

Captions are of ids drawn at random: what the hub computes is real, what is said does not matter. It ends with its standard
input, and prints how many captions it was given.
"""

from __future__ import annotations

import queue
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer

from edge_node.rounds.session import NodeSession, VerdictRuling
from shared.errors import SledError
from shared.messages import AnyMessage, Fault, Finish, Open, Opened, Verdict
from shared.pair import load_pair
from shared.program import run
from shared.sampling_parameters import Sampling
from shared.settings import BrokerSettings
from shared.vocabulary import ids_below, load_tokenizer
from tools.rig.process import dying_with_parent
from tools.rig.transport import BrokerTransport

_PROMPT, _CAPTION = 160, 40  # ids
_WAIT_S = 20.0  # seconds without a message after which something is wrong


class Cameras:
    """The sessions of one node; messages are handled on the thread that calls `work`."""

    def __init__(self, transport: BrokerTransport, pair: str, sessions: int) -> None:
        loaded = load_pair(pair)
        self.captions = 0
        self._transport = transport
        self._opening = loaded.name, loaded.tokenizer_hash()
        self._vocab_size = ids_below(load_tokenizer(loaded))
        self._rng = random.Random(sessions)
        self._sessions: dict[bytes, NodeSession] = {}
        self._heard: queue.SimpleQueue[tuple[bytes, AnyMessage] | None] = queue.SimpleQueue()
        transport.listen(lambda session, message: self._heard.put((session, message)))
        for _ in range(sessions):
            self._open()

    def end(self) -> None:
        """Have `work` return, from any thread."""
        self._heard.put(None)

    def work(self) -> None:
        """Ask for captions until `end`. Raises SledError when the hub falls silent."""
        while True:
            try:
                heard = self._heard.get(timeout=_WAIT_S)
            except queue.Empty:
                raise SledError(f"the hub has said nothing for {_WAIT_S:.0f} s") from None
            if heard is None:
                return
            self._take(*heard)

    def _open(self) -> None:
        session = secrets.token_bytes(16)
        self._sessions[session] = NodeSession()
        self._transport.send(session, Open(session, *self._opening))

    def _take(self, session: bytes, message: AnyMessage) -> None:
        state = self._sessions.get(session)
        if state is None:
            return
        match message:
            case Opened():
                self._ask(session, state)
            case Fault():
                del self._sessions[session]
                self._open()
            case Verdict() if state.receive(message).ruling is VerdictRuling.COMMIT:
                if state.finish is not Finish.NO or len(state) >= _PROMPT + _CAPTION:
                    self.captions += 1
                    self._ask(session, state)

    def _ask(self, session: bytes, state: NodeSession) -> None:
        """Have the next picture described."""
        prompt = [self._rng.randrange(self._vocab_size) for _ in range(_PROMPT)]
        keep = 0 if len(state) else None
        draft = state.compose(keep=keep, append=prompt, until=_PROMPT + _CAPTION, sampling=Sampling())
        self._transport.send(session, draft)


@contextmanager
def describing(settings: BrokerSettings, node: str, pair: str, sessions: int) -> Iterator[list[int]]:
    """The process, while the block runs; behind it the list has the number of captions that it was given."""
    command = [sys.executable, "-m", "tools.rig.cameras", "--to", f"{settings.host}:{settings.port}", "--user", node]
    command += ["--password-file", str(settings.password_file), "--pair", pair, "--sessions", str(sessions)]
    captions: list[int] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dying_with_parent(),  # noqa: PLW1509
    ) as process:
        try:
            yield captions
        finally:
            told, _ = process.communicate(timeout=_WAIT_S)
    captions.append(int(told))


def main(
    to: Annotated[str, typer.Option(help="the broker, host:port")],
    user: Annotated[str, typer.Option(help="the node")],
    password_file: Annotated[Path, typer.Option()],
    pair: Annotated[str, typer.Option(help="name or folder")],
    sessions: Annotated[int, typer.Option(min=1)] = 16,
) -> None:
    """Have pictures described until standard input ends."""
    host, _, port = to.rpartition(":")
    transport = BrokerTransport(
        BrokerSettings(host=host, port=int(port), username=user, password_file=password_file), user
    )
    cameras = Cameras(transport, pair, sessions)

    def wait_for_the_end() -> None:
        sys.stdin.read()
        cameras.end()

    Thread(target=wait_for_the_end, daemon=True).start()
    try:
        cameras.work()
    finally:
        transport.close()
    typer.echo(cameras.captions)


if __name__ == "__main__":
    run("tools.rig.cameras", main)
