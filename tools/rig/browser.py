"""A real Chromium without a window, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def chromium_program() -> str | None:
    """The path of an installed Chromium; None without one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running_browser(program: str) -> Iterator[Browser]:
    """A browser that runs until the context ends."""
    from playwright.sync_api import sync_playwright

    options = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]  # its sandbox refuses root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()
