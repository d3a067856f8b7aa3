import json

from pools import metadata_config
from processes import write_config


def test_it_says_where_the_report_is(metadata_run, call_main):
    status, out, _ = call_main("report", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out) == {"page": f"{metadata_run}/report/index.html"}
    status, out, _ = call_main("report", str(metadata_run))
    assert (status, out) == (0, f"{metadata_run}/report/index.html\n")


def test_a_report_is_copied_out(metadata_run, call_main, tmp_path):
    assert call_main("report", str(metadata_run), "--out", str(tmp_path / "page"))[0] == 0
    assert "<html" in (tmp_path / "page/index.html").read_text()


def test_no_output_goes_to_a_file_or_below_one(metadata_run, metadata_pool, call_main, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "file/run"))
    commands = [["run", "--config", config], ["demo", "--out", str(tmp_path / "file")]]
    commands += [["report", str(metadata_run), "--out", str(tmp_path / "file")]]
    for form in ("shards", "datacomp", "parquet"):
        commands += [["export", str(metadata_run), "--format", form, "--out", str(tmp_path / "file")]]
    for words in commands:
        status, _, err = call_main(*words)
        assert status == 2
        assert "file" in err and "no folder; choose another" in err and err.count("\n") == 1
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_path_that_leads_nowhere_is_named(call_main, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    status, _, err = call_main("status", str(tmp_path / "loop"))
    assert (status, err) == (
        2,
        f"filtering: {tmp_path}/loop: cannot be read or written (Too many levels of symbolic links)\n",
    )


def test_a_report_replaces_a_report_and_no_other_page(metadata_run, call_main, tmp_path):
    page = tmp_path / "site/index.html"
    page.parent.mkdir()
    page.write_text("<html>mine</html>")
    status, _, err = call_main("report", str(metadata_run), "--out", str(page.parent))
    assert (status, page.read_text()) == (2, "<html>mine</html>")
    assert "index.html is there and is no report of filtering" in err
    for _ in range(2):
        assert call_main("report", str(metadata_run), "--out", str(tmp_path / "page"))[0] == 0
