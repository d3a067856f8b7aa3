import json
from functools import partial

import pytest
import yaml
from pools import Silent

from filtering.cli.demo import demo_lines
from filtering.core.errors import InputError
from filtering.demo import job
from filtering.demo.pool import build_pool
from filtering.manifests.verify import problems
from filtering.storage.store import Store


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_filters_its_pool_and_tells_what_became_of_the_defects(tmp_path, monkeypatch):
    # An eighth of the pool, in partitions of an eighth: several again, and edges that cross them.
    monkeypatch.setattr(job, "build_pool", partial(build_pool, limit=500))
    monkeypatch.setitem(job.CONFIG, "ray", {"address": "none"})
    monkeypatch.setitem(job.CONFIG, "concepts", {"partition_rows": job.CONFIG["concepts"]["partition_rows"] // 8})
    result = job.run_demo(str(tmp_path / "demo"), Silent())
    assert list(problems(Store(str(tmp_path / "demo/run")))) == []
    assert result["totals"]["input"] == sum(result["totals"][kind] for kind in ("kept", "dropped", "quarantined"))
    assert result["reasons"]["quarantined"] == {"image_undecodable": 24, "missing_caption": 12}
    measured = {measure["name"].strip(): measure for measure in result["measures"]}
    for name in ("swapped captions dropped", "exact duplicates: at most one kept", "different pictures kept"):
        assert measured[name]["selected"] > measured[name]["random"]
    assert any("quarantined" in line for line in demo_lines(result))
    config = yaml.safe_load((tmp_path / "demo/demo.yaml").read_text())
    assert "truth" not in json.dumps(config)


def test_a_demo_that_was_moved_or_edited_is_told_so(tmp_path, monkeypatch):
    def stops(*_, **__):
        raise InputError("built")

    monkeypatch.setattr(job, "build_pool", stops)
    config = tmp_path / "demo/demo.yaml"
    for _ in range(2):
        with pytest.raises(InputError, match=r"^built$"):
            job.run_demo(str(config.parent), Silent())
    config.write_text(config.read_text() + "# mine\n")
    with pytest.raises(InputError, match=r"demo\.yaml is no longer what the demo wrote; .*filtering run --config"):
        job.run_demo(str(config.parent), Silent())
    config.write_text(config.read_text().removesuffix("# mine\n"))
    config.parent.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=rf"moved is a demo that was moved from {config.parent}; move it back"):
        job.run_demo(str(tmp_path / "moved"), Silent())


def test_the_demo_writes_into_no_run(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"time": 1.0, "event": "run_started", "config_hash": "0"}\n')
    with pytest.raises(InputError, match=rf"^--out: .*demo is inside the run's directory {tmp_path}; choose a folder"):
        job.run_demo(str(tmp_path / "demo"), Silent())
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("name", ["pool/00000000.tar", "demo.yaml", "run/run.json", "notes.txt"])
def test_the_demo_writes_into_no_folder_of_others(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(InputError, match=r"^--out: .*(written by filtering|choose an empty folder$)"):
        job.run_demo(str(tmp_path), Silent())
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"mine"]
