"""A broker, a hub and a node's service with an HTTP server, as they run in a house, and what a trial of them says."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import typer

from shared.streams import put_line
from tools.rig.broker import free_port
from tools.rig.household import Household, running_service
from tools.rig.testbed import running_hub

LIGHTS = "turn on the kitchen lights"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "HassTurnOn",
        "description": "Turns something on",
        "parameters": {"type": "object", "properties": {"area": {"type": "string"}, "domain": {"type": "string"}}},
    },
}
_CLIENTS = 8
_NODE, _HOUSE = "pi", "house"
_SOON_S = 10.0


@dataclass
class Served:
    """`house` asks the same service over MQTT, for what should be the same answers."""

    url: str
    house: Household
    pid: int
    model: str = "home"

    def answer(self, text: str, **fields: Any) -> dict[str, Any]:
        """What the service answers over MQTT."""
        return self.house.answer(self.house.ask(text, **fields))

    @property
    def cancelled(self) -> int:
        """How many answers the service has told to have been cancelled."""
        count: int = self.house.stats.get("cancelled", 0)
        return count

    def comes_to_cancel(self, count: int) -> bool:
        """Whether so many answers come to be cancelled."""
        until = time.monotonic() + _SOON_S
        while self.cancelled < count and time.monotonic() < until:
            time.sleep(0.05)
        return self.cancelled == count

    def resident_bytes(self) -> int:
        """Memory of the service's process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096


@dataclass
class Trial:
    """What was checked."""

    served: Served
    failed: list[str] = field(default_factory=list)

    def check(self, what: str, good: bool, seen: object = "") -> None:
        """Note whether something is as it should be, and what was seen where it is not."""
        put_line(f"{'ok  ' if good else 'FAIL'} {what}{'' if good else f': {seen!r:.300}'}")
        if not good:
            self.failed.append(what)

    def refused(self, what: str, ask: Callable[[], object], error: type[Exception]) -> str:
        """Note whether something is refused as it should be; what was said."""
        try:
            answer = ask()
        except error as refusal:
            self.check(what, good=True)
            return str(refusal)
        except Exception as other:
            self.check(what, good=False, seen=other)
        else:
            self.check(what, good=False, seen=answer)
        return ""

    def at_once(self, text: Callable[[int], str | None]) -> None:
        """Ask for the texts of some seeds one after the other, and at once, each for itself."""
        alone = [text(seed) for seed in range(_CLIENTS)]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            together = list(pool.map(text, range(_CLIENTS)))
        self.check(f"{_CLIENTS} clients at once have the answers that they have alone", together == alone, together)


class Checks(Protocol):
    """What one client is asked."""

    @property
    def checks(self) -> list[Callable[[], None]]:
        """All of them, in order."""

    def close(self) -> None:
        """Leave the server."""


def try_it(made: Callable[[Trial], Checks]) -> None:
    """Run all checks of a client, and exit with status 1 where something is not as it should be."""
    with tempfile.TemporaryDirectory(prefix="sled-") as folder, served(Path(folder)) as serving:
        trial = Trial(serving)
        with closing(made(trial)) as client:
            for check in client.checks:
                check()
    put_line(f"{len(trial.failed)} of the checks failed" if trial.failed else "all as it should be")
    raise typer.Exit(bool(trial.failed))


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Start all of it; logs go to `folder`. Raises RuntimeError where something does not start."""
    port = free_port()
    given = ["--http-port", str(port), "--at-once", "8", "--queue", "64", *options]
    with (
        running_hub([_NODE], homes=[_HOUSE]) as bed,
        running_service(bed.broker.settings(_NODE), _NODE, folder / "service.log", given) as service,
        closing(Household(bed.broker.settings(_HOUSE), _HOUSE, _NODE)) as house,
    ):
        yield Served(f"http://127.0.0.1:{port}", house, service.pid)
