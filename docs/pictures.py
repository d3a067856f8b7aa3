"""Take the pictures of the page that the documentation shows.

    python docs/pictures.py filtering-demo/run

Both leave out the samples' own pictures, which are others' work.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH = 1180
HERE = Path(__file__).parent


def main() -> int:
    """Write report.png and concepts.png beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a finished run's folder")
    page = Path(parser.parse_args().run).resolve() / "report/index.html"
    browser = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = chrome.new_page(viewport={"width": WIDTH, "height": 3000}, color_scheme="light")
        tab.goto(page.as_uri())
        _write(tab, "report.png", "body", "#outcome")
        _write(tab, "concepts.png", "#concepts", "#concepts .scroll")
        chrome.close()
    return 0


def _write(tab: Page, name: str, first: str, last: str) -> None:
    """Write the page from the top of one element to the end of another, in few colours."""
    top, end = tab.locator(first).bounding_box(), tab.locator(last).first.bounding_box()
    assert top is not None
    assert end is not None
    height = min(end["y"] + end["height"] - top["y"] + 24, 1250)
    clip = {"x": 0.0, "y": top["y"], "width": float(WIDTH), "height": height}
    picture = Image.open(io.BytesIO(tab.screenshot(clip=clip, full_page=True)))
    picture.convert("RGB").quantize(200).save(HERE / name, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
