"""Chromium without a window, for tests of pages; what it asks the network for and complains of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
)


class Page:
    """A page in a browser, and what tests ask of it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Open a file; what was logged before is forgotten."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.absolute().as_uri())

    def js(self, code: str, *arguments: Any) -> Any:
        """What a function body gives, run in the page from outside its policy."""
        return self.driver.execute_script(code, *arguments)

    def cdp(self, command: str, **arguments: Any) -> Any:
        """Ask the browser itself."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def press(self, keys: str, element: Any = None) -> None:
        """Type on an element, else on what has the focus."""
        target = element or self.driver.switch_to.active_element
        target.send_keys(keys)

    def find(self, selector: str) -> Any:
        """The first element that a selector means."""
        return self.driver.find_element("css selector", selector)

    def shown(self) -> list[str]:
        """The ranks of the studies that are to be seen, in their order."""
        found: list[str] = self.js(
            "return [...document.querySelectorAll('#studies > li:not([hidden]) .rank')]"
            ".map((each) => each.textContent)"
        )
        return found

    def view(self, width: int, height: int, theme: str = "light") -> None:
        """Take a size of window and a colour scheme."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self.cdp("Emulation.setEmulatedMedia", media="", features=[scheme])

    def complaints(self) -> list[str]:
        """What the console was told since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened, but for data in the page."""
        messages = (json.loads(entry["message"]) for entry in self.driver.get_log("performance"))
        found = (
            each["message"]["params"]["request"]["url"]
            for each in messages
            if each["message"]["method"] == "Network.requestWillBeSent"
        )
        return [address for address in found if not address.startswith("data:")]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start Chromium with a new profile in a folder.

    Where it is not installed the test is skipped by name; on a CI machine that is a failure.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium and chromedriver are not installed")
        pytest.skip("needs chromium and chromium-driver")
    options = Options()
    options.binary_location = program
    for argument in (*QUIET, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(driver_program))
    try:
        yield Page(driver)
    finally:
        driver.quit()
