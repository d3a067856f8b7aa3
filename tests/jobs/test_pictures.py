"""The pictures of the report that the documentation shows, of a small run."""

import shutil

import pytest
from PIL import Image

from benchmarks.lib.browser import BROWSERS
from docs import pictures

needs_a_browser = pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason="no browser: apt-get install chromium"
)


@pytest.mark.slow
@needs_a_browser
def test_pictures_of_a_report_are_written(metadata_run, tmp_path):
    assert pictures.main([str(metadata_run), "--out", str(tmp_path)]) == 0
    for name in ("report.png", "concepts.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width == pictures.WIDTH
            assert pictures.MARGIN < picture.height <= pictures.MOST_HEIGHT
            # Not blank.
            assert len(picture.convert("RGB").getcolors()) > 10
