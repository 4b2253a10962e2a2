"""`sled-hub top`: the fleet in a terminal, second by second."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from hub.fleet.keyboard import GONE, SUSPEND, Keyboard
from hub.fleet.order import Sort
from hub.fleet.printed import print_json, print_tables
from hub.fleet.rights import doubts
from hub.fleet.screen import page
from hub.fleet.settings import FleetSettings
from hub.fleet.watching import Watch
from shared.errors import NoHub
from shared.streams import note

_REFRESH_S = 1.0
_QUIET_S = 3.0  # seconds after which the page says why nobody else may be seen
_SORTS = {"l": Sort.LOAD, "n": Sort.NAME, "s": Sort.STATE}
_LEAVE = ("q", "Q", GONE)


def show(settings: FleetSettings, *, once: bool, as_json: bool) -> None:
    """Show the fleet until somebody leaves; `once`, or where there is no terminal, as plain tables, or as a JSON object.

    Raises LinkError, and NoHub where there is nothing to show in tables.
    """
    # Whatever the environment asks for, a file or a pipe gets text alone.
    console = Console(highlight=False, markup=False, force_terminal=None if sys.stdout.isatty() else False)
    with closing(Watch(settings)) as watch:
        watch.begin()
        if not (once or as_json) and console.is_terminal and not console.is_dumb_terminal:
            _Top(watch, settings, console).run()
            return
        view = watch.listen()
    doubt = doubts(view, settings)
    if as_json:
        print_json(view, doubt)
    elif view.hubs or view.nodes:
        print_tables(view, settings.sort)
        if doubt:
            note(doubt)
    else:
        raise NoHub(doubt)


class _Top:
    """The page, and who looks at it."""

    def __init__(self, watch: Watch, settings: FleetSettings, console: Console) -> None:
        self._watch, self._settings, self._console = watch, settings, console
        self._sort = settings.sort
        self._begun_at = time.monotonic()

    def run(self) -> None:
        """Until a key, Ctrl-C or a signal ends it; the terminal is then as it was."""
        logging.disable()  # what is logged would be written across the page
        with _ended_by_signals(), suppress(KeyboardInterrupt):
            while self._show() == SUSPEND:
                os.killpg(os.getpgrp(), signal.SIGTSTP)

    def _show(self) -> str:
        """The page, renewed every second and by keys, until one ends that."""
        with Keyboard().unechoed() as keyboard, Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                self._renew(live)
                for key in keyboard.pressed(_REFRESH_S):
                    self._sort = _SORTS.get(key, self._sort)
                    if key in (*_LEAVE, SUSPEND):
                        return key

    def _renew(self, live: Live) -> None:
        view = self._watch.view
        is_early = time.monotonic() < self._begun_at + _QUIET_S
        notes = [self._watch.trouble, "" if is_early else doubts(view, self._settings)]
        width, height = self._console.size
        live.update(page(view, width, height, self._sort, list(filter(None, notes))), refresh=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Inside, what would end the program at once unwinds it, so that the terminal is restored."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
