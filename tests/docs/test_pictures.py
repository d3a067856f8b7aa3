"""The pictures of the documentation, from a report of their own."""

import pytest
from browsing import found_browser
from PIL import Image
from sample_pages import usual_page

from docs import pictures
from filtering.report.page import render


@pytest.mark.slow
def test_both_pictures_are_cut_from_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv("FILTERING_BROWSER", found_browser())
    (tmp_path / "run/report").mkdir(parents=True)
    (tmp_path / "run/report/index.html").write_text(render(usual_page()))
    assert pictures.main([str(tmp_path / "run"), "--out", str(tmp_path)]) == 0
    for name in ("report.png", "concepts.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width == pictures.WIDTH
            assert 100 < picture.height <= pictures.MOST_HEIGHT
            assert 1 < len(picture.getcolors(1 << 16)) <= pictures.COLOURS
