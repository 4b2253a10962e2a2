"""Runs the example flow for Node-RED against a node's service: `python -m tools.try_node_red`.

A broker with TLS, a hub, `sled-node run` and Node-RED run as they would in a house. The flow of deploy/node-red is
imported through Node-RED's admin API, with the broker's address, CA and credentials in place of its own, and its buttons
are pressed. Exits with status 1 where something is not as it should be.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import typer

from hub.enrolment.authority import new_authority
from hub.enrolment.configuration import Listener
from shared.mqtt import MqttLink
from shared.private_file import write_file
from shared.program import run
from shared.streams import put_line
from shared.topics import Topics
from tools.node_red.install import installed
from tools.node_red.node_red import NodeRed, Nodes, running_node_red
from tools.rig.broker import free_port
from tools.rig.household import running_service
from tools.rig.testbed import HubBed, running_hub

FLOW = Path(__file__).resolve().parents[1] / "deploy" / "node-red" / "flow.json"
_NODE, _HOUSE, _GUEST = "pi", "house", "guest"
_SETTLE_S = 1.0  # in which something would come that must not
_LATE_S = 3  # seconds after which the flow gives up, when nobody is there to answer
_LIGHTS = {"do": "on", "area": "kitchen", "domain": "light"}
_PRESS = "another.press"  # the button of a flow that asks through the example
_BEDROOM = {"do": "temperature", "area": "bedroom", "temperature": 20}


class Trial:
    """The flow in a Node-RED, its buttons, and what came of them."""

    def __init__(self, node_red: NodeRed, flow: Nodes) -> None:
        self.node_red, self.failed = node_red, 0
        self.ids = {each["name"]: each["id"] for each in flow if each.get("name")}

    def check(self, what: str, good: bool) -> None:
        """Print whether something is as it should be."""
        self.failed += not good
        put_line(f"{'ok  ' if good else 'FAIL'} {what}")

    def press(self, button: str, payload: str | None = None) -> None:
        """Press the button of an inject node."""
        self.node_red.press(self.ids[button], payload)

    def shown(self, name: str) -> list[Any]:
        """What the debug node of that name has shown."""
        return [value for node, value in self.node_red.shown if node == name]

    @property
    def done(self) -> list[dict[str, Any]]:
        """What was carried out, without ids."""
        return [{key: value for key, value in each.items() if key != "id"} for each in self.shown("carried out")]

    def answer(self, button: str, payload: str | None = None) -> dict[str, Any]:
        """Press, and wait for the answer. Raises TimeoutError."""
        before = len(self.shown("answer"))
        self.press(button, payload)
        return self.answers(before + 1)[-1]

    def answers(self, count: int) -> list[dict[str, Any]]:
        """All answers, once there are so many. Raises TimeoutError."""
        if not self.node_red.wait(lambda: len(self.shown("answer")) >= count):
            raise TimeoutError(f"the flow shows {len(self.shown('answer'))} answers after 30 s, not {count}")
        return self.shown("answer")

    def settle(self) -> None:
        """Wait a while for what must not come."""
        self.node_red.wait(lambda: False, _SETTLE_S)


def main() -> None:
    """Import the flow, press its buttons, and check what is carried out."""
    command = installed()
    flow: Nodes = json.loads(FLOW.read_text(encoding="utf-8"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sled-node-red-")))
        listener, ca = _encrypted(folder)
        bed = stack.enter_context(running_hub([_NODE], homes=[_HOUSE], crowds=[_GUEST], listeners=[listener]))
        service = running_service(bed.broker.settings(_NODE), _NODE, folder / "service.log")
        service_runs = stack.enter_context(ExitStack())
        service_runs.enter_context(service)
        node_red = stack.enter_context(running_node_red(command, folder))
        ours = _with_broker(
            [*flow, *_another(flow)], listener.port, ca, bed.broker.password_file(_HOUSE).read_text().strip()
        )
        node_red.deploy(ours)
        trial = Trial(node_red, flow)
        _requests(trial)
        _others(trial)
        _calls_once(trial, bed)
        _cancel(trial, bed)
        _broker_away(trial, bed)
        service_runs.close()
        node_red.deploy(_with_patience(ours))
        said = trial.answer("turn on the kitchen lights")
        trial.check(f"nobody answers: {said.get('error')!r}", said.get("error") == f"no answer came within {_LATE_S} s")
    if trial.failed:
        raise typer.Exit(1)


def _requests(trial: Trial) -> None:
    """Requests with one call, two and none; each is spoken in whole sentences."""
    for button, payload, expected in (
        ("turn on the kitchen lights", None, [_LIGHTS]),
        ("two things at once", None, [_LIGHTS, _BEDROOM]),
        ("two things at once", "go to the kitchen", [{"do": "RobotGoTo", "place": "kitchen"}]),
        ("two things at once", "what is the capital of France?", []),
    ):
        before, spoken = len(trial.done), len(trial.shown("say"))
        answer = trial.answer(button, payload)
        trial.settle()
        done = trial.done[before:]
        trial.check(f"{payload or button!r}: {len(expected)} carried out, {done}", done == expected)
        said = trial.shown("say")[spoken:]
        in_time = [name for name, _ in trial.node_red.shown if name in {"say", "answer"}][-1] == "answer"
        good = bool(said) and " ".join(said) == answer["say"].strip() and in_time
        trial.check(f"{payload or button!r}: says {said} before the answer has ended", good)


def _others(trial: Trial) -> None:
    """Another flow asks by a link call, and is given the answer."""
    trial.node_red.press(_PRESS, "what time is it?")
    came = trial.node_red.wait(lambda: bool(trial.shown("given")))
    finish = trial.shown("given")[0].get("finish") if came else "nothing"
    trial.check(f"another flow asks by a link call, and is given an answer: {finish}", finish == "end")


def _calls_once(trial: Trial, bed: HubBed) -> None:
    """A call that comes again is carried out once."""
    before = len(trial.done)
    with closing(MqttLink(bed.broker.settings(_GUEST), _GUEST)) as guest:
        guest.connect()
        for call_id, name in (("a/0", "RobotDock"), ("a/0", "RobotDock"), ("b/0", "RobotStop"), ("a/0", "RobotDock")):
            call = {"id": call_id, "answer": "", "name": name, "arguments": {}, "asker": "", "chat": ""}
            guest.publish_json(Topics().node(_NODE, "call"), call)
    trial.node_red.wait(lambda: len(trial.done) >= before + 2)
    trial.settle()
    done = trial.done[before:]
    trial.check(
        f"one call that comes three times, another beside it: {done}",
        done == [{"do": "RobotDock"}, {"do": "RobotStop"}],
    )


def _cancel(trial: Trial, bed: HubBed) -> None:
    """While the hub stands still nothing can be answered: what is cancelled calls nothing."""
    before, answers = len(trial.done), len(trial.shown("answer"))
    with _frozen(bed.hub_pid):
        trial.press("turn on the kitchen lights")
        trial.press("two things at once")
        trial.press("cancel all of mine")
        ends = [answer["finish"] for answer in trial.answers(answers + 2)[answers:]]
    trial.settle()
    trial.check(f"two requests that are cancelled: {ends}", ends == ["cancelled"] * 2)
    trial.check("nothing of them is carried out", len(trial.done) == before)


def _broker_away(trial: Trial, bed: HubBed) -> None:
    """The broker is killed with a request under way, asked another one while it is away, and started again."""
    before, answers = len(trial.done), len(trial.shown("answer"))
    with _frozen(bed.hub_pid):
        trial.press("turn on the kitchen lights")
        bed.broker.crash()
    trial.press("two things at once")
    bed.broker.start()
    trial.answers(answers + 2)
    expected = [_LIGHTS, _LIGHTS, _BEDROOM]
    trial.node_red.wait(lambda: len(trial.done) >= before + len(expected))  # one is sent again after a second
    trial.settle()
    finishes = [answer["finish"] for answer in trial.shown("answer")[answers:]]
    trial.check(
        f"the broker is killed under a request, another one comes meanwhile: {finishes}", finishes == ["end"] * 2
    )
    done = sorted(map(str, trial.done[before:]))
    trial.check(f"each is carried out once: {len(done)} calls", done == sorted(map(str, expected)))


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    """Have a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _encrypted(folder: Path) -> tuple[Listener, Path]:
    """A port with TLS, as `sled-hub init-broker` sets one up, and the CA's certificate."""
    authority = new_authority()
    issued = authority.issue_broker(["localhost"])
    ca, certificate, key = folder / "ca.crt", folder / "broker.crt", folder / "broker.key"
    ca.write_text(authority.certificate)
    certificate.write_text(issued.certificate)
    write_file(key, issued.key)
    return Listener(free_port(), "127.0.0.1", certificate=certificate, key=key), ca


def _another(flow: Nodes) -> Nodes:
    """A flow of somebody's who asks through that one."""
    ask = next(each["id"] for each in flow if each.get("name") == "ask SLED")
    tab, call, show = "another.tab", "another.call", "another.show"
    link = {"linkType": "static", "links": [ask], "timeout": "30"}
    shows = {"name": "given", "active": True, "tosidebar": True, "complete": "payload"}
    return [
        {"id": tab, "type": "tab", "label": "another flow"},
        {"id": _PRESS, "z": tab, "type": "inject", "props": [{"p": "payload"}], "x": 100, "y": 100, "wires": [[call]]},
        {"id": call, "z": tab, "type": "link call", **link, "x": 300, "y": 100, "wires": [[show]]},
        {"id": show, "z": tab, "type": "debug", **shows, "x": 500, "y": 100, "wires": []},
    ]


def _with_broker(flow: Nodes, port: int, ca: Path, password: str) -> Nodes:
    """The flow with another broker's address, CA and credentials."""
    theirs: dict[str, dict[str, Any]] = {
        "mqtt-broker": {
            "broker": "localhost",
            "port": str(port),
            "credentials": {"user": _HOUSE, "password": password},
        },
        "tls-config": {"ca": str(ca)},
    }
    return [{**each, **theirs.get(each["type"], {})} for each in flow]


def _with_patience(flow: Nodes) -> Nodes:
    """The flow as it is when somebody sets its WAIT_S."""
    tab = next(each for each in flow if each["type"] == "tab")
    env = [{**each, "value": str(_LATE_S)} if each["name"] == "WAIT_S" else each for each in tab["env"]]
    return [{**each, "env": env} if each is tab else each for each in flow]


if __name__ == "__main__":
    run("tools.try_node_red", main, RuntimeError, TimeoutError)
