"""The web page in a real browser, beside a real broker, a real hub and a node that answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hub.fleet.settings import FleetSettings, UiSettings
from hub.ui.asking import Asking
from hub.ui.serving import Serving, serving
from shared.mqtt import MqttLink
from tests.waiting import wait_until
from tools.rig.broker import private_broker
from tools.rig.browser import chromium_program, running_browser
from tools.rig.household import running_service
from tools.rig.testbed import HUB, HubBed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = pytest.mark.slow

PASSWORD = "open sesame"
HOSTILE = "<img src=x onerror=\"document.title='bad'\">"
PHONE = {"width": 360, "height": 740}


@dataclass
class Looking:
    """A page in a browser, and what went wrong on it."""

    page: Page
    here: str
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # addresses

    def note_said(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.wrong.append(said.text)

    def card(self, name: str) -> Any:
        return self.page.locator(".card", has=self.page.locator(".name", has_text=name))


Look = Callable[..., Looking]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium_program()
    if program is None:
        pytest.skip("chromium is not here and could not be installed (make chromium)")
    pytest.importorskip("playwright.sync_api")
    with running_browser(program) as running:
        yield running


@pytest.fixture(scope="module")
def served(browser: Browser, bed: HubBed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("ui")
    file = folder / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    with (
        running_service(bed.broker.settings("pi"), "pi", folder / "log"),
        serving(
            FleetSettings("house", broker=bed.broker.settings("house"), ui=UiSettings(password_file=file)), 0
        ) as page,
    ):
        yield page


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Open a page; what went wrong on any fails the test."""
    opened: list[Looking] = []
    with ExitStack() as stack:

        def look_at(served: Serving, **context: Any) -> Looking:
            own = browser.new_context(**context)
            stack.callback(own.close)
            page = own.new_page()
            page.set_default_timeout(15_000)
            looking = Looking(page, f"http://127.0.0.1:{served.server.port}/")
            opened.append(looking)
            page.on("console", looking.note_said)
            page.on("pageerror", lambda error: looking.wrong.append(str(error)))
            page.on("request", lambda request: looking.asked.append(request.url))
            page.goto(looking.here)
            page.wait_for_selector(".broker")
            return looking

        yield look_at
        for looking in opened:
            assert not looking.wrong
            assert all(url.startswith(looking.here) for url in looking.asked), looking.asked


def told(link: MqttLink, node: str, leaf: str, value: object) -> None:
    link.publish(f"sled/node/{node}/{leaf}", b"" if value is None else json.dumps(value).encode(), retain=True)


def test_who_comes_is_shown_who_dies_is_marked_and_names_stay_text(served: Serving, bed: HubBed, look: Look) -> None:
    looking = look(served)
    with closing(MqttLink(bed.broker.settings("guest"), "guest")) as link:
        link.connect()
        told(link, "attic", "info", {"pair": HOSTILE, "version": "1"})
        told(link, "attic", "status", {"online": True})
        told(link, "attic", "stats", {"hub": HUB, "mode": HOSTILE, "answering": 2, "tokens_per_s": 31.4, "at_us": 1})
        attic = looking.card("attic")
        attic.wait_for()
        assert attic.get_by_text("31.4").is_visible()
        assert attic.get_by_text(HOSTILE).is_visible()
        assert looking.page.locator("#map img").count() == 0
        assert looking.page.title() == "SLED fleet"
        place = looking.page.locator(".place", has=looking.page.locator(".hub .name", has_text=HUB))
        assert place.locator(".node .name", has_text="attic").is_visible(), "it stands at the hub that it would ask"

        told(link, "attic", "status", {"online": False})
        looking.page.locator(".node.offline .name", has_text="attic").wait_for()
        assert "offline" in attic.locator(".state").inner_text()
        link.publish("sled/hub/ghost/status", b'{"online": true}', retain=True)
        looking.page.locator(".hub.silent .name", has_text="ghost").wait_for()
        link.publish("sled/hub/ghost/status", b"", retain=True)
        for leaf in ("info", "status", "stats"):
            told(link, "attic", leaf, None)
        attic.wait_for(state="detached")
        looking.card("ghost").wait_for(state="detached")


def test_the_keyboard_alone_logs_in_and_asks_and_the_answer_has_colours(served: Serving, look: Look) -> None:
    looking = look(served)
    page, keys = looking.page, looking.page.keyboard
    page.locator("#node option", has_text="pi").wait_for(state="attached")
    for key in ("Tab", "Enter", "Tab"):
        keys.press(key)
    assert page.evaluate("document.activeElement.id") == "password", "behind the link that skips the fleet"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.type(PASSWORD)
    keys.press("Enter")
    page.locator("#chat").wait_for()
    wait_until(lambda: page.evaluate("document.activeElement.id === 'text'"))
    keys.type("turn on the kitchen lights")
    keys.press("Enter")
    entry = page.locator("#log li")
    entry.locator(".figures").wait_for()
    assert "HassTurnOn" in entry.locator(".answer").inner_text()
    assert "Turned on" in entry.locator(".answer").inner_text()
    colours = {page.evaluate("each => getComputedStyle(each).color", each.element_handle()) for each in (
        entry.locator(".answer .drafted").first, entry.locator(".answer .target").first,
    )}  # fmt: skip
    assert len(colours) == 2
    assert entry.locator(".strip .step").count() > 1
    assert "tokens drafted" in (entry.locator(".strip").get_attribute("aria-label") or "")
    assert page.locator("#log").get_attribute("aria-live") == "polite"
    wait_until(lambda: page.evaluate(f"document.querySelectorAll(\"#charts svg[aria-label*='{HUB}']\").length >= 3"))
    keys.type("now turn them off")
    keys.press("Enter")
    page.locator("#log li:nth-child(2) .figures").wait_for()
    assert "kitchen" in page.locator("#log li:nth-child(2) .answer").inner_text(), "it is one chat"
    drawn = "[...document.querySelectorAll('#charts path.line')].map(e => e.getAttribute('d').length).join()"
    before = page.evaluate(drawn)
    wait_until(lambda: page.evaluate(f"{drawn} !== '{before}'"))
    page.reload()  # while the last point of what was before is new
    page.locator("#chat").wait_for()
    wait_until(lambda: page.evaluate("document.querySelector('#charts g path.line')?.getAttribute('d').includes('L')"))
    page.click("#logout")
    page.locator("#login").wait_for()


def test_who_has_not_the_password_does_not_come_in(served: Serving, look: Look) -> None:
    looking = look(served)
    looking.page.fill("#password", "sesame")
    looking.page.press("#password", "Enter")
    looking.page.locator("#login-error", has_text="the password is wrong").wait_for()
    assert not looking.page.locator("#chat").is_visible()
    assert all("401" in each for each in looking.wrong)
    looking.wrong.clear()


def test_a_phone_shows_all_of_it_by_day_and_night_without_scrolling_sideways(served: Serving, look: Look) -> None:
    page = look(served, viewport=PHONE).page
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.locator("#chat").wait_for()
    page.locator(".node .name").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(
        "[...document.querySelectorAll('main *')].every(e => e.getBoundingClientRect().right <= 360.5)"
    )
    ground = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) > 200
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) < 60


def test_a_browser_that_goes_away_frees_its_stream_and_an_answer_nobody_awaits(served: Serving, look: Look) -> None:
    wait_until(lambda: served.page.browsers == 0)
    page = look(served).page
    assert served.page.browsers == 1
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.locator("#chat").wait_for()
    assert served.asking is not None
    page.fill("#text", "tell me everything " * 20)
    page.press("#text", "Enter")
    page.goto("about:blank")
    wait_until(lambda: served.page.browsers == served.asking.under_way == 0)  # type: ignore[union-attr]
    page.go_back()
    page.locator(".broker").wait_for()


def test_who_is_not_heard_or_may_not_ask_is_told_so(served: Serving, bed: HubBed) -> None:
    async def all_of(asking: Asking, node: str) -> list[dict[str, object]]:
        return [told async for told in asking.ask(node, "turn on the lights", "a")]

    def asked(asking: Asking, node: str) -> list[dict[str, object]]:
        with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop on this one
            return thread.submit(lambda: asyncio.run(all_of(asking, node))).result()

    assert served.asking is not None
    *_, told = asked(served.asking, "jetson")
    assert "nobody hears what is asked of 'jetson'" in str(told["error"])
    with closing(Asking(FleetSettings("desk", broker=bed.broker.settings("desk")))) as observer:
        observer.begin()
        *_, told = asked(observer, "pi")
        assert "the broker does not let this page ask nodes" in str(told["error"])


def test_the_page_goes_on_when_the_broker_is_lost_and_says_so(browser: Browser, look: Look, tmp_path: Path) -> None:
    with (
        private_broker(tmp_path, hubs=[], nodes=[], observers=["desk"]) as broker,
        serving(FleetSettings("desk", broker=broker.settings("desk")), 0) as served,
    ):
        page = look(served).page
        assert page.locator("#closed").is_visible(), "nobody can ask"
        trouble = page.locator("#trouble")
        trouble.get_by_text("nothing was heard of hubs or nodes").wait_for()
        broker.stop()
        page.locator(".broker.silent .state", has_text="lost").wait_for()
        assert trouble.is_visible()
        broker.start()
        page.locator(".broker:not(.silent)").wait_for()
