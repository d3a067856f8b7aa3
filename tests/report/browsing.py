"""A browser for the tests of the page: Debian's chromium will do (apt-get install chromium)."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1280, "height": 900}


def found_browser():
    wanted = os.environ.get("FILTERING_BROWSER")
    path = wanted or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        why = "no browser: apt-get install chromium, or name one in FILTERING_BROWSER"
        if os.environ.get("FILTERING_BROWSER_REQUIRED"):
            pytest.fail(why)
        pytest.skip(why)
    return path


class Visit:
    """A page that is open, with what went wrong and what was asked for meanwhile."""

    def __init__(self, browser: Browser, path: Path, fragment: str = "", **context):
        self.context = browser.new_context(viewport=context.pop("viewport", DESKTOP), **context)
        self.context.set_default_timeout(8_000)
        self.page: Page = self.context.new_page()
        self.url = path.as_uri()
        self.faults, self.requests = [], []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.url + fragment)

    def check(self):
        """Nothing was said, nothing was asked for but the file and what it holds."""
        assert self.faults == []
        assert {url.partition("#")[0] for url in self.requests if not url.startswith("data:")} == {self.url}


def serious(results):
    return [
        (found["id"], [node["html"][:120] for node in found["nodes"]][:3])
        for found in results.response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


def column(page, at):
    return page.locator(f"#concept-table tbody td:nth-child({at + 1})").all_inner_texts()


def bubble(page, number):
    return page.locator(f'svg.map path[data-tip^="Concept {number}:"]')


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def brightness(page, name):
    colour = page.evaluate(f"getComputedStyle(document.body).{name}")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3
