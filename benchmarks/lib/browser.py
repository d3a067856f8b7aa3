"""A Chromium for headless use, as the tests of the report find it."""

import os
import shutil
import sys

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def browser_path() -> str:
    """Return the path of a browser: FILTERING_BROWSER, else the first installed; exits with one line without any."""
    found = os.environ.get("FILTERING_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("no browser: apt-get install chromium, or name one in FILTERING_BROWSER")
    return found
