import json
import shutil
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from planned_stages import STAGES
from pools import Silent, metadata_config, tar_config, write_metadata
from small_encoders import torchscript

from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.pipeline import run as pipeline
from filtering.pipeline.run import check
from filtering.planning.costs import Asked, Speed, reference_speed, stage_costs
from filtering.planning.plan import Question, plan, plans
from filtering.planning.projection import bottleneck
from filtering.planning.work import Work


def planned(config):
    parsed = parse_config(config)
    return plan(parsed, check(parsed))


@pytest.mark.slow
def test_metadata_is_counted_exactly_and_nothing_is_written(metadata_pool, tmp_path):
    found = planned(metadata_config(metadata_pool, tmp_path / "run"))
    assert (found["rows"], found["dimension"], found["concepts"], found["keep"]) == (1100, 32, 12, 330)
    assert found["selection"] == [
        "selection: the method auto is d2 with score clip_score, budget proportional, variant paper"
    ]
    assert found["selection_warnings"] == []
    assert found["hours"] > 0
    assert found["disk_bytes"] > 0
    assert found["driver_bytes"] == 250_000_000 + 8_000 * found["shards"]
    assert found["bottleneck"] == bottleneck(found["stages"], found["memory_per_worker_bytes"])
    assert not (tmp_path / "run").exists()


def test_sizes_that_the_pool_or_the_method_does_not_allow_are_warned_of(metadata_pool, tmp_path):
    steps = [{"method": "top", "keep": 2000}, {"method": "all", "keep": 5}, {"method": "top", "keep": 1100}]
    found = planned(metadata_config(metadata_pool, tmp_path / "run", selection={"steps": steps}))
    assert found["selection_warnings"] == [
        "selection.keep is set, but all itself decides how many samples it keeps",
        "selection.steps.0.keep asks for 2,000 samples, but the pool has only 1,100",
    ]


@pytest.mark.slow
def test_files_of_metadata_that_a_run_quarantines_are_named(tmp_path):
    pool = write_metadata(tmp_path / "pool", [50, 40, 30])
    first, second, third = sorted(pool.glob("*.parquet"))
    first.with_suffix(".npz").unlink()
    second.write_bytes(b"no parquet")
    rows = pq.read_metadata(first).num_rows + pq.read_metadata(third).num_rows
    found = planned(metadata_config(pool, tmp_path / "run"))
    assert (found["rows"], found["dimension"]) == (rows, 32)
    missing, broken = found["warnings"]
    assert missing == f"{first}: it, or a file of its vectors, is not there"
    assert broken.startswith(f"{second}: the table cannot be read")


def test_a_pool_without_a_file_that_can_be_used_is_refused_by_name(tmp_path):
    pool = write_metadata(tmp_path / "pool", [50])
    (only,) = pool.glob("*.parquet")
    only.with_suffix(".npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=f"{only.with_suffix('.npz')}: the npz cannot be read"):
        planned(metadata_config(pool, tmp_path / "run"))
    np.savez(only.with_suffix(".npz"), l14_img=np.zeros((50, 4), "V2"), l14_txt=np.zeros((50, 4), "V2"))
    with pytest.raises(InputError, match="array l14_img holds 2 raw bytes each"):
        planned(metadata_config(pool, tmp_path / "run"))


def test_a_tar_that_is_deleted_once_it_was_listed_is_named(tar_pool, tmp_path):
    pool = shutil.copytree(tar_pool, tmp_path / "pool")
    config = parse_config(tar_config(pool, tmp_path / "run"))
    shards = check(config)
    (pool / "00000000.tar").unlink()
    with pytest.raises(RunError, match=r"00000000\.tar: it was deleted since the run listed it; give the same command"):
        plan(config, shards)


@pytest.mark.slow
def test_tars_are_counted_from_their_bytes_where_there_are_no_statistics(tar_pool, tmp_path):
    found = planned(tar_config(tar_pool, tmp_path / "run"))
    assert abs(found["rows"] - 60) <= 3
    assert found["dimension"] == 128


@pytest.mark.slow
def test_what_cannot_fit_is_refused_with_its_numbers(metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"num_cpus": 100_000})
    with pytest.raises(InputError, match=r"stage \w+ needs [\d.]+ GB a task, but 100000 workers share"):
        planned(config)


def test_the_bottleneck_is_what_takes_most_time_and_what_takes_most_memory():
    assert bottleneck(STAGES, 4_000_000_000) == {
        "time": {"stage": "graph", "seconds": 75.0, "share": 0.75},
        "memory": {"stage": "embedding", "bytes": 1_000_000_000, "share": 0.25},
    }


def test_projections_grow_with_the_pool_and_not_with_its_square(metadata_pool, tmp_path, monkeypatch):
    # What other work on the machine does to a probe must not decide.
    monkeypatch.setattr("filtering.planning.plan.speed", lambda dimension, cpus: Speed(1e-9))
    config = parse_config(metadata_config(metadata_pool, tmp_path / "run", concepts={}))
    shards = check(config)
    found = [plan(config, shards, Question(rows=10**power, cpus=100, cpu_hour=4)) for power in (7, 8, 9, 10)]
    for small, large in pairwise(found):
        # Assignment through two levels grows by the square root of the concepts, all else by rows.
        assert 8 < large["cpu_hours"] / small["cpu_hours"] < 32
        assert 9 < large["shuffle_bytes"] / small["shuffle_bytes"] < 11
        assert large["price"] > 8 * small["price"]
    searches = [next(stage for stage in plan["stages"] if stage["name"] == "graph") for plan in found]
    assert len({stage["memory_per_task_bytes"] for stage in searches}) == 1


@pytest.mark.slow
def test_what_is_not_configured_costs_nothing(metadata_pool, tmp_path):
    config = parse_config(metadata_config(metadata_pool, tmp_path / "run"))
    found = plan(config, check(config), Question(rows=10**6, cpus=2))
    assert found["price"] is None
    # A projection is of other machines.
    assert found["bottleneck"]["memory"]["share"] is None
    assert found["gpu_hours"] == 0
    assert found["seconds"] >= sum(stage["seconds"] for stage in found["stages"])


def test_a_graph_of_captions_is_planned_where_a_score_reads_it(metadata_pool, tmp_path):
    found = {}
    for name, neighbours in (("both", "both"), ("images", "images")):
        selection = {"method": "top", "score": {"right": {"neighbours": neighbours}}}
        found[name] = planned(metadata_config(metadata_pool, tmp_path / "run", selection=selection))
    texts = ["text_concepts", "text_partitions", "text_graph"]
    names = [stage["name"] for stage in found["both"]["stages"]]
    assert names[names.index("graph") + 1 :][:3] == texts
    assert [name for name in names if name not in texts] == [stage["name"] for stage in found["images"]["stages"]]
    # Of one plan, as another probes the machine anew: captions have 20 neighbours, images 10.
    seconds = {stage["name"]: stage["cpu_seconds"] for stage in found["both"]["stages"]}
    assert seconds["text_graph"] > seconds["graph"] > 0
    assert seconds["text_concepts"] > 0
    assert seconds["text_partitions"] > 0
    assert found["both"]["shuffle_bytes"] > found["images"]["shuffle_bytes"]


def test_a_small_pool_is_planned_without_measuring_this_machine(metadata_pool, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("filtering.planning.plan.speed", lambda *given: measured.append(given) or Speed(1e-9))
    config = parse_config(metadata_config(metadata_pool, tmp_path / "run"))
    shards = check(config)
    small = plan(config, shards)
    assert (measured, small["probe"]["pair_seconds"]) == ([], reference_speed(32).pair_seconds)
    # Once for all sizes.
    large = plans(config, shards, [Question(rows=10**7, cpus=1), Question(rows=10**8, cpus=1)])
    assert measured == [(32, 1)]
    assert [one["rows"] for one in large] == [10**7, 10**8]


def test_few_samples_are_embedded_where_that_is_slow_but_all_for_filters_that_read_vectors(
    tar_pool, tmp_path, quick, monkeypatch
):
    monkeypatch.setattr("filtering.planning.embedding_probe.EMBEDDED_SECONDS", 0)
    slow = planned(tar_config(tar_pool, tmp_path / "run", filters=[{"caption": {"min_words": 1}}]))
    assert slow["probe"]["samples"] == 4
    assert slow["passing"] == slow["rows"]
    scored = planned(tar_config(tar_pool, tmp_path / "run", filters=[{"clip_score": {"keep": 0.5}}]))
    assert scored["probe"]["samples"] > 4
    assert scored["passing"] == pytest.approx(scored["rows"] / 2, abs=2)


def test_gpus_share_the_hours_of_embedding(tar_pool, tmp_path, quick):
    config = parse_config(tar_config(tar_pool, tmp_path / "run"))
    asked = [Question(rows=10**8, cpus=1000, gpus=gpus, gpu_rate=2000, cpu_hour=0.04, gpu_hour=2.5) for gpus in (1, 10)]
    one, ten = plans(config, check(config), asked)
    assert one["gpu_hours"] == ten["gpu_hours"] == pytest.approx(10**8 / 2000 / 3600, rel=0.01)
    assert (one["gpus"], ten["gpus"]) == (1, 10)
    first, second = one["stages"][0], ten["stages"][0]
    assert first["seconds"] > 9 * second["seconds"]
    assert first["cpu_seconds"] == second["cpu_seconds"] > 0
    money = first["cpu_seconds"] / 3600 * 0.04 + first["gpu_seconds"] / 3600 * 2.5
    assert first["price"] == pytest.approx(money, rel=0.001)


@pytest.fixture
def quick(monkeypatch):
    """Plan without measuring the neighbour search, which takes seconds."""
    monkeypatch.setattr("filtering.planning.plan.speed", lambda dimension, cpus: Speed(1e-9))


def totals_of(config):
    record = pipeline.run(parse_config(config), Silent())
    return record["totals"], sum(record["reasons"]["dropped"].get(f"filter:{kind}", 0) for kind in KINDS)


KINDS = ("caption", "clip_score", "exclude", "image", "words")
FILTERS = {
    "captions": [{"caption": {"min_characters": 20}}],
    "a fraction": [{"clip_score": {"keep": 0.4}}],
    "a threshold": [{"clip_score": {"threshold": 0.6}}],
    "sizes": [{"image": {"min_side": 300}}],
    "words": [{"words": {"list": "LIST"}}, {"clip_score": {"keep": 0.5}}],
    "a list": [{"exclude": {"uids": "UIDS"}}],
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_filters_are_counted_as_a_run_counts_them(metadata_pool, tmp_path, quick, filters):
    table = pq.read_table(sorted(metadata_pool.glob("*.parquet"))[0])
    (tmp_path / "words.txt").write_text("caption 1\ncaption 2\ncaption 3\n")
    (tmp_path / "uids.txt").write_text("\n".join(table["uid"].to_pylist()[:50]))
    text = json.dumps(filters).replace("LIST", f"{tmp_path}/words.txt").replace("UIDS", f"{tmp_path}/uids.txt")
    config = metadata_config(metadata_pool, tmp_path / "run", filters=json.loads(text), selection={"keep": 0.5})
    found = planned(config)
    totals, left_out = totals_of(config)
    passed = totals["input"] - totals["quarantined"] - left_out
    # By the first file; files differ by chance.
    assert found["passing"] == pytest.approx(passed, abs=0.1 * totals["input"])
    assert found["keep"] == found["passing"] // 2


def test_filters_over_tars_are_counted_by_the_first_samples(tar_pool, tmp_path, quick):
    filters = [{"clip_score": {"keep": 0.5}}]
    found = planned(tar_config(tar_pool, tmp_path / "run", filters=filters))
    assert found["passing"] == pytest.approx(found["rows"] / 2, abs=2)
    assert planned(tar_config(tar_pool, tmp_path / "run"))["passing"] is None


def test_each_step_keeps_of_what_the_step_before_left(metadata_pool, tmp_path, quick):
    steps = [{"method": "top", "keep": 0.5}, {"method": "semdedup"}, {"method": "random", "keep": 0.2}]
    config = metadata_config(metadata_pool, tmp_path / "run", selection={"steps": steps})
    assert planned(config)["keep"] == 110


def test_further_encoders_add_to_the_cost_of_a_sample(tar_pool, tmp_path):
    own = {"model": torchscript(tmp_path), "preprocessing": {"image_size": 32}}
    encoders = {"own": own, "same": {"model": "demo"}}
    configs = [
        parse_config(tar_config(tar_pool, tmp_path / "out", embedding={"encoders": given}, concepts=concepts))
        for given, concepts in (({}, {}), (encoders, {"embedding": "own"}))
    ]
    plain, more = (plan(config, check(config)) for config in configs)
    assert more["dimension"] == 6
    sizes = [one["probe"]["vector_bytes"] for one in (plain, more)]
    assert sizes[1] - sizes[0] == 2 * 6 + (2 * plain["dimension"] + 4)
    assert more["probe"]["model_bytes"] > 2 * plain["probe"]["model_bytes"]
    assert more["probe"]["further_pixels"] == 32 * 32 + plain["probe"]["width"] * plain["probe"]["height"]
    stages = [one["stages"][0] for one in (plain, more)]
    assert stages[1]["memory_per_task_bytes"] > stages[0]["memory_per_task_bytes"]
    assert stages[1]["disk_bytes"] - stages[0]["disk_bytes"] == 60 * (sizes[1] - sizes[0])


def test_weights_cost_the_manifests_time_and_memory_for_each_time_that_a_sample_may_be_seen():
    work = Work(rows=10**8, largest_shard=10**5, dimension=512, clusters=1000, k=10, max_replicas=16, mean_replicas=4.0)
    found = []
    for draws in (0, 1, 63):
        (stage,) = (one for one in stage_costs(work, Speed(1e-8), Asked(draws=draws)) if one.name == "manifests")
        found.append((stage.spread_seconds, stage.task_bytes))
    for less, more in pairwise(found):
        assert less[0] < more[0] and less[1] < more[1]


def test_weights_are_planned(metadata_pool, tmp_path, quick):
    hours = []
    for more in ({}, {"weights": {"epoch": 2.0}}):
        config = parse_config(metadata_config(metadata_pool, tmp_path / "run", **more))
        hours.append(plan(config, check(config), Question(rows=10**9, cpus=10))["hours"])
    assert hours[0] < hours[1]
