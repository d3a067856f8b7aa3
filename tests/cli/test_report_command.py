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
