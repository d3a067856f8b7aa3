import json

import pyarrow.parquet as pq


def test_a_kept_sample_is_explained(metadata_run, call_main):
    uid = pq.read_table(metadata_run / "manifest/kept")["uid"][0].as_py()
    status, out, _ = call_main("explain", str(metadata_run), uid, "--json")
    assert status == 0
    assert json.loads(out)["outcome"] == "kept"
    status, out, _ = call_main("explain", str(metadata_run), uid)
    assert status == 0
    assert ": kept: pick " in out.splitlines()[0]
    assert "  nearest in the graph" in out.splitlines()


def test_a_sample_that_is_not_there_is_refused(metadata_run, refused):
    assert "no-such-sample" in refused("explain", str(metadata_run), "no-such-sample")
