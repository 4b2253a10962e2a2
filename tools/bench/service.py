"""What a node's service adds to an answer, and whether it answers once: the service, a hub and a broker as processes, asked over MQTT.

ask_ms                 `sled-node ask` from its start to its end while the service runs, median; the answer's own time is in it
answer_ms              of that, what the service took for the answer
ready_s                from the start of `sled-node run` until it answers
added_first_token_ms   from a message on `ask` to the first one on `answer/stream`, less the time to the first token in the session, median
chats_at_once          chats that went on at the same time, of `turns` requests each
mismatches             answers of theirs that a conversation alone, one after the other, does not give
answers, restarts      answers while the broker was killed and started again so often
calls                  different calls that came
calls_twice            requests that led to more calls than their answer has
calls_repeated         messages that came again after a restart, with an id that had come before
calls_lost             calls of answers that never came
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode
from tools.bench.report import progress, show
from tools.demo import node_command
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.household import Household, running_service
from tools.rig.testbed import HubBed, running_hub

_NODE, _ALONE, _HOUSE = "pi", "plain", "house"
_REQUEST = "what time is it?"
_COMMANDS = 9
_FIRSTS = 30
_CHATS, _TURNS = 8, 3
_AT_ONCE = 4  # requests under way while the broker is restarted
_AWAY_S = 0.05  # seconds for which the broker is away
_LATE_S = 2.0  # seconds after the last answer in which a call may come that was sent again

Tracked = Callable[[Sequence[str]], Iterable[str]]  # shows how far one has come


def run(answers: int, restarts: int, as_json: bool) -> None:
    """Print the figures."""
    with (
        running_hub([_NODE, _ALONE], homes=[_HOUSE]) as bed,
        tempfile.TemporaryDirectory(prefix="sled-service-") as folder,
        progress() as bars,
    ):
        broker = bed.broker.settings(_NODE)
        began = time.monotonic()
        with running_service(broker, _NODE, Path(folder) / "service.log"):
            ready_s = time.monotonic() - began
            house = Household(bed.broker.settings(_HOUSE), _HOUSE, _NODE)
            try:
                house.answer(house.ask(_REQUEST))  # opens the session
                asked = [_command(bed) for _ in bars.track(range(_COMMANDS), description="sled-node ask")]
                added = [_added_ms(house) for _ in bars.track(range(_FIRSTS), description="first tokens")]
                mismatches = _mismatches(bed, house)
                shaken = _shaken(
                    bed, house, answers, restarts, lambda cases: bars.track(cases, description="broker restarts")
                )
            finally:
                house.close()
    show(
        "the service of a node",
        {
            "ask_ms": round(statistics.median(each for each, _ in asked), 1),
            "answer_ms": round(statistics.median(each for _, each in asked), 1),
            "ready_s": round(ready_s, 2),
            "added_first_token_ms": round(statistics.median(added), 2),
            "chats_at_once": _CHATS,
            "turns": _TURNS,
            "mismatches": mismatches,
            **shaken,
        },
        as_json,
    )


def _command(bed: HubBed) -> tuple[float, float]:
    """Milliseconds of `sled-node ask` from start to end, and of those the answer's own."""
    began = time.monotonic()
    command = node_command(bed.broker.settings(_NODE), _NODE, "ask", "--json", *_REQUEST.split())
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = 1e3 * (time.monotonic() - began)
    told = json.loads(done.stdout)
    if "id" not in told:
        raise RuntimeError("`sled-node ask` has not found the service that runs")
    return took, told["ms_per_token"] * told["tokens"]


def _added_ms(house: Household) -> float:
    """Milliseconds that the service adds to the time to the first token."""
    request = house.ask(_REQUEST)
    answer, told = house.answer(request), house.told[request]
    return 1e3 * (told.first_at - told.asked_at) - float(answer["first_token_ms"])


def _mismatches(bed: HubBed, house: Household) -> int:
    """How many answers of chats that went on at the same time are not those of the same chats alone."""
    rng = random.Random(5)
    chats = [[exchange(rng, HELD_OUT).request for _ in range(_TURNS)] for _ in range(_CHATS)]
    seeds = [[rng.getrandbits(64) for _ in chat] for chat in chats]
    said: list[list[str]] = [[] for _ in chats]
    for turn in range(_TURNS):
        asked = [
            house.ask(chat[turn], chat=f"chat {number}", seed=seeds[number][turn], temperature=0.8)
            for number, chat in enumerate(chats)
        ]
        for number, request in enumerate(asked):
            said[number].append(str(house.answer(request).get("text")))
    wrong = 0
    with connected(bed.node(_ALONE, mode=Mode.STREAM)) as alone:
        for chat, seeds_of_chat, got in zip(chats, seeds, said, strict=True):
            alone.clear()
            for request, seed, text in zip(chat, seeds_of_chat, got, strict=True):
                answer = Answer()
                for _ in alone.ask(request, Generation(temperature=0.8, seed=seed), answer):
                    pass
                wrong += answer.text != text
    return wrong


def _shaken(bed: HubBed, house: Household, answers: int, restarts: int, tracked: Tracked) -> dict[str, int]:
    """What became of answers, several at a time, while the broker was restarted again and again."""
    rng = random.Random(7)
    requests = [exchange(rng, HELD_OUT).request for _ in range(answers)]
    asked: list[str] = []
    due = [answers * (number + 1) // (restarts + 1) for number in range(restarts)]
    for number, request in enumerate(tracked(requests)):
        asked.append(house.ask(request, temperature=0.0))
        if number in due:
            bed.broker.crash()
            time.sleep(_AWAY_S)
            bed.broker.start()
        if len(asked) >= _AT_ONCE:
            house.answer(asked[-_AT_ONCE])
    for each in asked:
        house.answer(each)
    time.sleep(_LATE_S)
    told = [house.told[each] for each in asked]
    came = [{call["id"] for call in each.calls} for each in told]
    wanted = [len(each.answers[0]["calls"]) for each in told]
    return {
        "answers": len(told),
        "restarts": len(due),
        "calls": sum(map(len, came)),
        "calls_twice": sum(len(ids) > count for ids, count in zip(came, wanted, strict=True)),
        "calls_repeated": sum(len(each.calls) - len(ids) for each, ids in zip(told, came, strict=True)),
        "calls_lost": sum(max(0, count - len(ids)) for ids, count in zip(came, wanted, strict=True)),
    }
