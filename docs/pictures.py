"""Write the pictures of the report that the documentation shows.

    python -m docs.pictures filtering-demo/run

Run it from the root of the repository; it writes docs/report.png and docs/concepts.png. Neither shows the samples' own
pictures, which are the work of others.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.lib.arguments import parser_of
from benchmarks.lib.browser import FLAGS, browser_path

WIDTH, MOST_HEIGHT, MARGIN = 1180, 1250, 24
COLOURS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both pictures."""
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="their folder; docs by default")
    given = parser.parse_args(arguments)
    report = given.run.resolve() / "report/index.html"
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
        tab = chrome.new_page(viewport={"width": WIDTH, "height": 3000}, color_scheme="light")
        tab.goto(report.as_uri())
        # The strip of pairs below the headline.
        tab.evaluate("document.querySelector('.strip')?.remove()")
        _write(tab, given.out / "report.png", "body", "#outcome")
        _write(tab, given.out / "concepts.png", "#concepts", "#concepts .scroll")
        chrome.close()
    return 0


def _write(tab: Page, path: Path, first: str, last: str) -> None:
    """Write the page from the top of one element to the end of another, in few colours."""
    top, end = tab.locator(first).bounding_box(), tab.locator(last).first.bounding_box()
    assert top is not None
    assert end is not None
    height = min(end["y"] + end["height"] - top["y"] + MARGIN, MOST_HEIGHT)
    shot = tab.screenshot(clip={"x": 0.0, "y": top["y"], "width": float(WIDTH), "height": height}, full_page=True)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
