"""The web page's server, without a broker and without a browser: who may, what is told, and how much of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from hub.fleet.settings import FleetSettings, UiSettings
from hub.fleet.watching import Watch
from hub.ui.answers import answer, piece
from hub.ui.app import MOST_BROWSERS, Page
from hub.ui.asking import Asking, TooManyRequests
from hub.ui.door import Door, TooManyTries
from hub.ui.feed import MOST_HUBS, MOST_NODES, Feed
from hub.ui.history import History
from shared.errors import SettingsError
from tests.clock import Clock
from tests.published_fleet import PublishedFleet

PASSWORD = "open sesame"
HERE = "http://127.0.0.1:8012"
OWN = {"origin": HERE}


class ScriptedAsking:
    """Answers every request in two messages."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.is_busy = False

    async def ask(self, node: str, text: str, chat: str) -> AsyncGenerator[dict[str, object], None]:
        if self.is_busy:
            raise TooManyRequests
        self.asked.append((node, text, chat))
        yield {"text": "On.", "sources": [["drafted", 3]]}
        yield {"answer": {"text": "On."}}


class SeenFleet:
    """What `Watch` has of a fleet."""

    def __init__(self, published: PublishedFleet) -> None:
        self._published = published
        self.trouble = ""

    @property
    def view(self) -> Any:
        return self._published.fleet.view


class Served:
    """A page with all that it stands on."""

    def __init__(self, password: str | None = PASSWORD) -> None:
        self.clock = Clock(1000.0)
        self.published = PublishedFleet()
        self.seen = SeenFleet(self.published)
        self.feed = Feed(cast(Watch, self.seen), FleetSettings())
        self.asking = ScriptedAsking()
        door = Door(password, self.clock)
        self.page = Page(self.feed, door, cast(Asking, self.asking) if password else None)
        self.client = TestClient(self.page, base_url=HERE, client=("192.0.2.7", 999))

    def post(self, path: str, body: object, **headers: str) -> Any:
        return self.client.post(path, json=body, headers={**OWN, **headers})

    def log_in(self, password: str = PASSWORD) -> Any:
        return self.post("/login", {"password": password})


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    with made.client:
        yield made


def test_a_login_is_a_cookie_that_no_script_reads_and_opens_the_chat(served: Served) -> None:
    request = {"node": "pi", "text": "lights on", "chat": "a"}
    assert served.post("/ask", request).status_code == 401
    assert served.client.get("/session").json() == {"can_ask": True, "is_in": False}
    given = served.log_in().headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in given.split(";")}
    assert PASSWORD not in given
    assert served.client.get("/session").json() == {"can_ask": True, "is_in": True}
    told = [json.loads(line) for line in served.post("/ask", request).text.splitlines()]
    assert told == [{"text": "On.", "sources": [["drafted", 3]]}, {"answer": {"text": "On."}}]
    served.asking.is_busy = True
    assert served.post("/ask", request).status_code == 429
    served.clock.now += 13 * 3600
    assert served.post("/ask", request).status_code == 401, "a login ends by itself"
    served.log_in()
    assert served.post("/logout", {}).json()["is_in"] is False
    assert served.post("/ask", request).status_code == 401


def test_chats_of_two_logins_are_not_one(served: Served) -> None:
    for _ in range(2):
        served.log_in()
        served.post("/ask", {"node": "pi", "text": "lights on", "chat": "a"})
        served.post("/ask", {"node": "pi", "text": "and off", "chat": "a"})
    chats = [chat for _, _, chat in served.asking.asked]
    assert chats[0] == chats[1] != chats[2] == chats[3]


def test_wrong_passwords_are_counted_by_address_and_forgotten(served: Served) -> None:
    for _ in range(5):
        assert served.log_in("open").status_code == 401
    assert served.log_in().status_code == 429, "the right one is not looked at either"
    other = TestClient(served.page, base_url=HERE, client=("192.0.2.8", 999))
    assert other.post("/login", json={"password": PASSWORD}, headers=OWN).status_code == 200
    served.clock.now += 61
    assert served.log_in().status_code == 200


def test_an_ipv6_network_is_one_address() -> None:
    door = Door(PASSWORD, Clock(0.0))
    for host in range(5):
        assert door.log_in("wrong", f"2001:db8:1:2::{host:x}") is None
    with pytest.raises(TooManyTries):
        door.log_in("wrong", "2001:db8:1:2::5")
    assert door.log_in(PASSWORD, "2001:db8:1:3::1")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": HERE, "sec-fetch-site": "cross-site"},
        {"origin": HERE, "content-type": "text/plain"},
        {"origin": "http://127.0.0.1:9999"},
    ],
)
def test_no_other_site_posts(served: Served, headers: dict[str, str]) -> None:
    served.log_in()
    sent = {"content-type": "application/json", **headers}
    body = json.dumps({"node": "pi", "text": "unlock the door", "chat": "a"})
    assert served.client.post("/ask", content=body, headers=sent).status_code == 403
    assert not served.asking.asked


def test_without_a_password_there_is_no_chat_and_only_this_machine_is_answered() -> None:
    served = Served(password=None)
    assert served.client.get("/session").json() == {"can_ask": False, "is_in": False}
    assert served.log_in("").status_code == 403
    assert served.log_in("None").status_code == 403
    assert served.post("/ask", {"node": "pi", "text": "on", "chat": "a"}).status_code == 401
    rebound = served.client.get("/", headers={"host": "evil.example:8012"})
    assert rebound.status_code == 403
    assert served.client.get("/", headers={"host": "localhost:8012"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 60_000, 400),
        (b"x" * 70_000, 413),
        (json.dumps({"node": "#", "text": "a", "chat": "a"}).encode(), 400),
        (json.dumps({"node": "a/b", "text": "a", "chat": "a"}).encode(), 400),
        (json.dumps({"node": "pi", "text": "a" * 8_001, "chat": "a"}).encode(), 400),
        (json.dumps({"node": "pi", "text": "a\0", "chat": "a"}).encode(), 400),
        (json.dumps({"node": "pi", "text": "\ud800", "chat": "a"}).encode(), 400),
        (json.dumps({"node": "pi", "text": 5, "chat": "a"}).encode(), 400),
        (json.dumps({"node": "pi", "text": "a"}).encode(), 400),
    ],
)
def test_odd_requests_are_refused(served: Served, body: bytes, status: int) -> None:
    served.log_in()
    reply = served.client.post("/ask", content=body, headers={**OWN, "content-type": "application/json"})
    assert reply.status_code == status
    assert reply.json()["error"]
    assert not served.asking.asked


def test_every_answer_keeps_browsers_from_elsewhere(served: Served) -> None:
    for path in ("/", "/main.js", "/session", "/nothing", "/../door.py", "/static/index.html"):
        reply = served.client.get(path)
        assert reply.headers["content-security-policy"].startswith("default-src 'self';"), path
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.status_code == (404 if path in {"/nothing", "/../door.py", "/static/index.html"} else 200)
    page = served.client.get("/").text
    assert "://" not in page
    assert "innerHTML" not in "".join(
        served.client.get(f"/{name}.js").text for name in ("main", "dom", "chat", "fleet")
    )


def test_an_address_for_others_needs_a_password(tmp_path: Path) -> None:
    assert UiSettings().password() is None
    with pytest.raises(SettingsError, match="'ui_host' opens the web page to other machines, so 'ui_password_file'"):
        UiSettings(host="0.0.0.0").password()
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    assert UiSettings(host="0.0.0.0", password_file=file).password() == PASSWORD


def told_by(feed: Feed) -> dict[str, Any]:
    """The data of the last event."""
    _, event = feed.latest
    kind, data = event.decode().rstrip("\n").split("\n")
    assert kind == "event: fleet"
    return dict(json.loads(data.removeprefix("data: ")))


def test_what_is_told_is_bounded_to_the_busiest_and_by_name(served: Served) -> None:
    for number in range(MOST_HUBS + 3):
        served.published.start_hub(f"hub-{number}")
    for number in range(MOST_NODES + 2):
        served.published.start_node(f"node-{number}", waiting=number)
    served.feed.make()
    told = told_by(served.feed)
    assert (len(told["hubs"]), told["more_hubs"], len(told["nodes"]), told["more_nodes"]) == (100, 3, 400, 2)
    names = [each["name"] for each in told["nodes"]]
    assert names == sorted(names)
    assert not {"node-0", "node-1"} & set(names), "they have the least to do"
    assert len(served.feed.latest[1]) < 300_000


def test_a_lost_broker_is_told(served: Served) -> None:
    served.seen.trouble = "no MQTT broker answers"
    served.feed.make()
    assert told_by(served.feed)["broker"]["trouble"] == "no MQTT broker answers"


def test_a_history_is_of_the_last_points_and_the_busiest() -> None:
    published, history = PublishedFleet(), History()
    for number in range(12):
        published.start_node(f"node-{number}", waiting=number, tokens_per_s=50.0, rtt_ms=12.5, at_us=9, answered_us=9)
    for _ in range(310):
        history.add(published.fleet.view)
    points = cast(list[dict[str, Any]], history.told["points"])
    assert (len(points), points[0]["number"], points[-1]["number"]) == (300, 10, 309)
    assert set(points[-1]["nodes"]) == {f"node-{number}" for number in range(4, 12)}
    assert points[-1]["nodes"]["node-11"] == [20.0, 12.5, None, None]
    published.clock.now += 31
    assert history.add(published.fleet.view)["nodes"] == {}, "an old answer's figures are not those of now"


async def _first_event(page: Page) -> bytes:
    events = page._told_fleet()
    try:
        return await anext(events)
    finally:
        await events.aclose()


def test_browsers_are_counted_and_no_more_come_in_than_may(served: Served) -> None:
    assert asyncio.run(_first_event(served.page)).startswith(b"event: history\ndata: {")
    assert served.page.browsers == 0, "who has left is not counted"
    served.page.browsers = MOST_BROWSERS
    assert served.client.get("/events").status_code == 503
    with pytest.raises(StopAsyncIteration):
        asyncio.run(_first_event(served.page))


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {}, [1], [["drafted"]], [["evil", 3]], [["drafted", -1]], [["drafted", 1e9]]]
)
def test_of_what_a_node_tells_only_the_known_comes_through(odd: object) -> None:
    message: dict[str, Any] = {
        "text": "On.",
        "sources": odd,
        "steps": odd,
        "finish": odd,
        "tokens": odd,
        "error": odd,
        "html": "<b>",
    }
    told = answer(message)
    assert (told["text"], told["sources"], told["steps"]) == ("On.", [], [])
    assert "html" not in told
    assert set(piece(message)) == {"text", "sources"}
    with suppress(TypeError):
        assert len(str(told)) < 400


def test_runs_and_steps_come_through() -> None:
    message = {
        "text": "On." * 99_999,
        "sources": [["drafted", 2], ["corrected", 1]],
        "steps": [[4, 2, 1, 0, 1]],
        "waits_for": "a\nhub",
    }
    told = answer(message)
    assert (told["sources"], told["steps"]) == ([["drafted", 2], ["corrected", 1]], [[4, 2, 1, 0, 1]])
    assert len(str(told["text"])) == 100_000
    assert piece(message)["waits_for"] == "a hub"
