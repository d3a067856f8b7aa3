"""A browser, and a usual page in it."""

import os

import pytest
from browsing import FLAGS, Visit, found_browser
from playwright.sync_api import sync_playwright
from sample_pages import changes, usual_page

from filtering.report.page import render


@pytest.fixture(scope="module")
def browser():
    path = found_browser()
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *root])
        yield one
        one.close()


@pytest.fixture
def visit(browser):
    visits = []

    def start(path, **context):
        visits.append(Visit(browser, path, **context))
        return visits[-1].page

    yield start
    for one in visits:
        one.context.close()
        one.check()


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render(usual_page(), changes(("a dog on a beach",), concepts=3)))
    return path
