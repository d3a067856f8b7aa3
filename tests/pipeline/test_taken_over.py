"""Two selections over one pool embed it once: a run takes over the embeddings of one that lies beside it."""

import shutil

import pytest
from pools import Silent, members, tar_config, write_tar

from filtering.config.run import parse_config
from filtering.explanations.answer import explain
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.pipeline.run import run
from filtering.storage.store import Store


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "pool").mkdir()
    for number in range(3):
        write_tar(tmp_path / "pool" / f"{number:08d}.tar", members(number, 20))
    return tmp_path / "pool"


def taken(pool, name, reuse=True, **sections):
    """Run beside the pool; return the record, and the lines that say what was taken over."""
    config = tar_config(pool, pool.parent / "runs" / name, reuse_embeddings=reuse, **sections)
    heard = Heard()
    record = run(parse_config(config), heard)
    return record, [line for line in heard.lines if line.startswith("embeddings of")]


def embedded(pool, name):
    return [one.name for one in (pool.parent / "runs" / name / "stages").glob("embedding-*/*.rows.parquet")]


def test_a_run_into_another_output_takes_the_embeddings_over(pool):
    first, said = taken(pool, "first")
    assert said == []
    second, said = taken(pool, "second", selection={"keep": 0.25, "variant": "paper"})
    place = Store(str(pool.parent / "runs" / "first")).url
    assert said == [
        f"embeddings of 3 shards are taken from {place}, which must stay where it is; reuse_embeddings=false embeds "
        "them here"
    ]
    assert embedded(pool, "second") == []
    alone, said = taken(pool, "alone", reuse=False, selection={"keep": 0.25, "variant": "paper"})
    assert (said, len(embedded(pool, "alone"))) == ([], 3)
    assert second["manifest_hash"] == alone["manifest_hash"] != first["manifest_hash"]
    assert second["config_hash"] == alone["config_hash"]
    for name in ("first", "second"):
        assert list(problems(Store(str(pool.parent / "runs" / name)))) == []
    # The third takes them from where they are, whichever run it finds.
    third, said = taken(pool, "third")
    assert third["manifest_hash"] == first["manifest_hash"]
    # Named is the run in whose folder they lie, not the one by which they were found.
    assert [line.split()[7].rstrip(",") for line in said] in ([place], [Store(str(pool.parent / "runs" / "alone")).url])
    sample = explain(str(pool.parent / "runs" / "second"), "000000000001")
    assert sample["outcome"] in ("kept", "dropped")


def test_only_shards_that_are_as_they_were_are_taken_over(pool):
    taken(pool, "first")
    write_tar(pool / "00000001.tar", members(7, 20))
    write_tar(pool / "00000009.tar", members(9, 20))
    record, said = taken(pool, "second")
    assert [line.partition(" are taken")[0] for line in said] == ["embeddings of 2 shards"]
    assert len(embedded(pool, "second")) == 2
    assert record["manifest_hash"] == taken(pool, "alone", reuse=False)[0]["manifest_hash"]


def test_embeddings_of_another_model_or_of_an_unfinished_run_are_not_taken_over(pool):
    taken(pool, "first")
    config = tar_config(pool, pool.parent / "runs" / "exact", reuse_embeddings=True, embedding={"decoding": "exact"})
    run(parse_config(config), Silent())
    assert len(embedded(pool, "exact")) == 3
    (pool.parent / "runs" / "first" / "run.json").unlink()
    (pool.parent / "runs" / "odd").mkdir()
    (pool.parent / "runs" / "odd" / "run.json").write_text("{")
    assert taken(pool, "second")[1] == []


def test_an_incremental_run_is_no_source(pool):
    config = tar_config(pool, pool.parent / "runs" / "night", base="latest", reuse_embeddings=True)
    incremental.run(parse_config(config), Silent())
    assert taken(pool, "second")[1] == []


def test_what_is_damaged_or_gone_is_embedded_here(pool):
    taken(pool, "first")
    second, _ = taken(pool, "second")
    (pool.parent / "runs" / "second" / "run.json").unlink()
    path = next((pool.parent / "runs" / "first" / "stages").glob("embedding-*/*.image.npy"))
    path.write_bytes(path.read_bytes()[:-400])
    assert any(path.name in line for line in problems(Store(str(pool.parent / "runs" / "first"))))
    shutil.rmtree(pool.parent / "runs" / "second" / "stages")
    assert taken(pool, "second")[0]["manifest_hash"] == second["manifest_hash"]
    assert len(embedded(pool, "second")) == 3
    taken(pool, "third")
    assert embedded(pool, "third") == []
    shutil.rmtree(pool.parent / "runs" / "first")
    shutil.rmtree(pool.parent / "runs" / "second")
    assert any("missing" in line for line in problems(Store(str(pool.parent / "runs" / "third"))))
    assert taken(pool, "third")[0]["manifest_hash"] == second["manifest_hash"]
    assert len(embedded(pool, "third")) == 3


def test_a_run_by_which_damaged_embeddings_are_found_is_left_out_too(pool):
    """Others that took them over lead to the same objects."""
    first, _ = taken(pool, "first")
    for name in ("second", "other"):
        taken(pool, name)
    path = next((pool.parent / "runs" / "first" / "stages").glob("embedding-*/*.image.npy"))
    path.unlink()
    third, said = taken(pool, "third", concepts={"seed": 3})
    assert len(said) == 1
    assert len(embedded(pool, "third")) == 3
    assert third["totals"] == first["totals"]
    assert list(problems(Store(str(pool.parent / "runs" / "third")))) == []
    assert taken(pool, "second")[0]["manifest_hash"] == first["manifest_hash"]
    assert list(problems(Store(str(pool.parent / "runs" / "second")))) == []


def test_a_run_whose_source_is_gone_is_not_preferred(pool):
    taken(pool, "whole", reuse=False)
    taken(pool, "source", reuse=False)
    shutil.move(pool.parent / "runs" / "whole", pool.parent / "whole")
    taken(pool, "taking")
    shutil.rmtree(pool.parent / "runs" / "source")
    shutil.move(pool.parent / "whole", pool.parent / "runs" / "whole")
    _, said = taken(pool, "last")
    assert said[0].split()[7].rstrip(",") == Store(str(pool.parent / "runs" / "whole")).url
    assert embedded(pool, "last") == []
