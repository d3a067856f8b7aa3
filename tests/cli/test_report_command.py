import json


def test_it_says_where_the_report_is(metadata_run, call_main):
    status, out, _ = call_main("report", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out) == {"page": f"{metadata_run}/report/index.html"}
    status, out, _ = call_main("report", str(metadata_run))
    assert (status, out) == (0, f"{metadata_run}/report/index.html\n")


def test_a_report_is_copied_out(metadata_run, call_main, tmp_path):
    assert call_main("report", str(metadata_run), "--out", str(tmp_path / "page"))[0] == 0
    assert "<html" in (tmp_path / "page/index.html").read_text()


def test_a_report_replaces_a_report_and_no_other_page(metadata_run, call_main, tmp_path):
    page = tmp_path / "site/index.html"
    page.parent.mkdir()
    page.write_text("<html>mine</html>")
    status, _, err = call_main("report", str(metadata_run), "--out", str(page.parent))
    assert (status, page.read_text()) == (2, "<html>mine</html>")
    assert "index.html is there and is no report of filtering" in err
    for _ in range(2):
        assert call_main("report", str(metadata_run), "--out", str(tmp_path / "page"))[0] == 0
