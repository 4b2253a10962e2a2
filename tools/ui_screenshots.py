"""Pictures of the web page: `python -m tools.ui_screenshots FOLDER` runs two hubs and three nodes of the built-in pair, asks them, and looks."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from hub.fleet.settings import FleetSettings, UiSettings
from hub.ui.serving import serving
from tools.demo import hub_command
from tools.rig.broker import PrivateBroker, private_broker
from tools.rig.browser import chromium_program, running_browser
from tools.rig.household import Household, running_service
from tools.rig.process import started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_HUBS, _NODES = ("den", "attic"), ("pi", "jetson", "robot")
_HOME = "house"
_PASSWORD = "open sesame"  # noqa: S105 - of a page that lives for a minute
_ASKED = (
    "turn on the kitchen lights and set the bedroom to 20 degrees",
    "is the front door locked?",
    "close all the blinds in the living room",
    "set a timer for 10 minutes and play some jazz in the den",
)
_LONG_S = 75.0  # seconds for which nodes are asked before the first picture
_WIDE = (1280, 900)
_PHONE = (360, 780)
_Scheme = Literal["light", "dark"]


@dataclass
class _Camera:
    browser: Browser
    address: str
    folder: Path
    taken: int = 0

    def open(self, size: tuple[int, int], scheme: _Scheme = "light") -> Page:
        """The page in a browser that nobody has used."""
        width, height = size
        page = self.browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(self.address)
        page.wait_for_selector(".node")
        return page

    def take(self, page: Page, what: str, part: str = "", *, whole: bool = True) -> None:
        """A picture of the page, or of a part of it."""
        self.taken += 1
        path = self.folder / f"{self.taken:02}-{what}.png"
        page.evaluate("scrollTo(0, 0)")
        if part:
            page.locator(part).screenshot(path=path)
        else:
            page.screenshot(path=path, full_page=whole)
        # A page of few colours takes a third of the bytes with a palette.
        Image.open(path).convert("RGB").quantize(224).save(path, optimize=True)
        print(path, path.stat().st_size)


def main(folder: Path) -> int:
    """Take all pictures; 1 where there is no Chromium."""
    program = chromium_program()
    if program is None:
        print("chromium is not here: make chromium")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sled-ui-") as name:
        own = Path(name)
        password = own / "password"
        password.write_text(_PASSWORD)
        password.chmod(0o600)
        with private_broker(own, _HUBS, _NODES, homes=[_HOME]) as broker, ExitStack() as stack:
            hubs = [stack.enter_context(_hub(broker, each, own)) for each in _HUBS]
            robot = ExitStack()
            for node in _NODES:
                mine = robot if node == "robot" else stack
                mine.enter_context(
                    running_service(broker.settings(node), node, own / f"{node}.log", ["--at-once", "3"])
                )
            settings = FleetSettings(_HOME, broker=broker.settings(_HOME), ui=UiSettings(password_file=password))
            served = stack.enter_context(serving(settings, 0))
            camera = _Camera(
                stack.enter_context(running_browser(program)), f"http://127.0.0.1:{served.server.port}/", folder
            )
            _ask_all(broker, _LONG_S)
            robot.close()
            _take_living(camera, broker)
            hubs[1].send_signal(signal.SIGSTOP)
            try:
                _take_troubled(camera, broker)
            finally:
                hubs[1].send_signal(signal.SIGCONT)
    return 0


def _take_living(camera: _Camera, broker: PrivateBroker) -> None:
    page = camera.open(_WIDE)
    camera.take(page, "login", "#ask")
    _log_in(page)
    for text in (_ASKED[0], "tell me a joke about trains"):
        _ask(page, text)
    _ask_all(broker, 4.0)
    camera.take(page, "wide-light")
    camera.take(page, "chat", "#ask")
    camera.take(page, "charts", "#lines")
    page.emulate_media(color_scheme="dark")
    camera.take(page, "wide-dark")
    page.close()
    phone = camera.open(_PHONE)
    camera.take(phone, "phone-light", whole=False)
    _log_in(phone)
    _ask(phone, _ASKED[1])
    phone.emulate_media(color_scheme="dark")
    phone.locator("#ask").scroll_into_view_if_needed()
    camera.take(phone, "phone-chat-dark", "#ask")
    phone.close()
    camera.take(camera.open((768, 1000)), "tablet")


def _take_troubled(camera: _Camera, broker: PrivateBroker) -> None:
    page = camera.open(_WIDE)
    page.wait_for_selector(".hub.silent")
    camera.take(page, "silent", "#fleet")
    broker.stop()
    page.wait_for_selector(".broker.silent")
    time.sleep(5)  # hubs that are not heard are silent too
    camera.take(page, "no-broker", whole=False)
    broker.start()


@contextmanager
def _hub(broker: PrivateBroker, name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = hub_command(broker.settings(name), name, "--threads", "1", "--cache", str(folder / f"{name}-cache"))
    with started(command, folder / f"{name}.log") as process:
        yield process


def _ask_all(broker: PrivateBroker, for_s: float) -> None:
    """Have all nodes answer one request after the other, more of them at once as time goes on."""
    with ExitStack() as stack:
        houses = [stack.enter_context(closing(Household(broker.settings(_HOME), _HOME, node))) for node in _NODES]
        begun_at, count = time.monotonic(), 0
        while (spent_s := time.monotonic() - begun_at) < for_s:
            width = 1 + int(2.99 * spent_s / for_s)
            _ask_once(houses, width, count)
            count += 1


def _ask_once(houses: Sequence[Household], width: int, count: int) -> None:
    living = [house for house in houses if house.status.get("online")]
    asked = [
        (house, house.ask(_ASKED[(count + at) % len(_ASKED)], temperature=0.4 * (at % 3)))
        for at, house in enumerate(living * width)
    ]
    for house, request in asked:
        house.answer(request)


def _log_in(page: Page) -> None:
    page.fill("#password", _PASSWORD)
    page.press("#password", "Enter")
    page.wait_for_selector("#chat:not([hidden])")


def _ask(page: Page, text: str) -> None:
    before = page.locator("#log .figures").count()
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.locator("#log .figures").nth(before).wait_for()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/ui")))
