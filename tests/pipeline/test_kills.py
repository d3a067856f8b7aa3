"""A run that is killed at any write goes on when it is started again, and ends with the objects of an undisturbed one.

One process writes to a storage that dies with it (tests/support/mortal.py). A kill leaves what was written before it:
such states are tried (every one of them with --hypothesis-profile thorough), and here and there that a process which
dies leaves just that.
"""

import json
from functools import cache, partial

import pytest
import vl_convert
from kills import Undisturbed, undisturbed
from mortal import MortalStorage, comparable, mortal_storage
from pools import Silent, member, members, metadata_config, tar_config, write_metadata, write_tar
from sampling import some_of

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.events import read_events
from filtering.runtime.latest import latest_name
from filtering.storage.store import Store

pytestmark = pytest.mark.slow

RUN = Store("mortal://pool/run")
STAGES = ("start", "inventory", "embedding", "filters", "concepts", "partitions")
STAGES += ("graph", "scores", "selection", "measures", "manifests", "report")
# A task writes two or three objects: with a step that neither divides, kills come between any two of them.
STEP = 13
SMALL = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}
# Those that write what they delete again, each in its way.
SELECTIONS = {
    "batches": {"score": {"neg_clip_loss": {"batch_size": 40, "batchings": 2}}},
    "captions": {"score": {"metaclip": {"entries": "ENTRIES"}}},
    "ranks": {"score": {"combine": {"by": "rank", "of": [{"score": "clip_score"}, {"score": "sds"}]}}},
    "figures": {"score": {"combine": {"by": "zscore", "of": [{"score": "clip_score"}, {"score": "sds"}]}}},
    "default": {"keep": 0.5},
    "weights": {"keep": 0.5},
    "strata": {"method": "ccs", "strata": 5},
    "pool": {"method": "top", "budget": "pool"},
    "exchanges": {"method": "d2", "variant": "paper", "exchanges": 2, "budget": "pool", "keep": 0.5},
    "steps": {"steps": [{"method": "semdedup", "epsilon": 0.2}, {"method": "d2", "variant": "paper", "keep": 0.5}]},
}


def start(config: dict) -> dict:
    return incremental.run(parse_config(config), Silent())


def goes_on(storage: MortalStorage, calm: Undisturbed, run: Store = RUN) -> None:
    """Start a killed run again, and see that it ends as the undisturbed one did."""
    folder = f"{run.url.removeprefix('mortal://')}/lease/"
    leased = any(path.startswith(folder) and path.endswith(".json") for path in storage.objects)
    finished = f"{run.url.removeprefix('mortal://')}/run.json" in storage.objects
    record = calm.goes_on(storage)
    assert record["manifest_hash"] == calm.returned["manifest_hash"]
    assert list(problems(run)) == []
    if not finished:
        told = [event["event"] for event in read_events(run)]
        assert ("lease_taken_over" in told) == leased


@pytest.fixture(scope="module", autouse=True)
def untimed():
    """No event is put because time has passed: an undisturbed run makes the same changes however busy the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filtering.runtime.events.PUT_INTERVAL", float("inf"))
        yield


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """A chart is drawn once, however many runs show it."""
    plain = vl_convert.vegalite_to_svg
    known = cache(lambda spec, **options: plain(json.loads(spec), **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "vegalite_to_svg", lambda spec, **options: known(json.dumps(spec), **options))
        yield


@pytest.fixture
def storage():
    return mortal_storage()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("small"), [60, 50])


@pytest.fixture(scope="module")
def calm(pool) -> Undisturbed:
    return undisturbed(mortal_storage(), partial(start, metadata_config(pool, RUN.url, **SMALL)))


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_at_any_write_of_a_stage_ends_with_the_objects_of_an_undisturbed_one(storage, calm, stage):
    assert calm.places().keys() == set(STAGES)
    for place in some_of(calm.places()[stage], 2, step=1 if stage == "embedding" else STEP):
        calm.is_killed(storage, place)
        if not RUN.exists("run.json"):
            with pytest.raises(InputError, match="holds no finished run"):
                list(problems(RUN))
        goes_on(storage, calm)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_run_leaves_that_dies_is_what_it_had_written(storage, calm, stage):
    place = calm.places()[stage][-1]
    with storage.dies_after(place):
        calm.start()
    left = comparable(storage.objects)
    calm.is_killed(storage, place)
    assert left == comparable(storage.objects)
    goes_on(storage, calm)


@pytest.mark.parametrize("life", [25, 60])
def test_a_run_that_dies_again_and_again_comes_to_its_end(storage, calm, life):
    lives = 0
    while not RUN.exists("run.json"):
        lives += 1
        with storage.dies_after(life):
            calm.start()
        assert lives < len(calm.changes)
    assert lives > 2
    goes_on(storage, calm)


@pytest.mark.parametrize("name", SELECTIONS)
def test_another_selection_in_the_place_of_a_finished_run_may_be_killed_at_any_write(
    storage, calm, pool, name, tmp_path
):
    selection = SELECTIONS[name]
    (tmp_path / "entries.txt").write_text("caption\nfile\n")
    if "metaclip" in selection.get("score", {}):
        selection = {"score": {"metaclip": {"entries": str(tmp_path / "entries.txt")}}}
    storage.objects = dict(calm.after)
    weights = {"weights": {"epoch": 2.0}} if name == "weights" else {}
    config = metadata_config(pool, RUN.url, selection=selection, **SMALL, **weights)
    other = undisturbed(storage, partial(start, config))
    places = [place for stage, found in other.places().items() if stage not in ("report",) for place in found]
    # Each takes others: what all have in common is killed at every third write, by one of them.
    for place in some_of(places, 3, step=3 * len(SELECTIONS) + 1, start=3 * list(SELECTIONS).index(name)):
        other.is_killed(storage, place)
        goes_on(storage, other)


def test_a_run_over_tars_killed_at_any_write_while_it_embeds_ends_the_same(storage, tmp_path):
    for shard in range(2):
        write_tar(tmp_path / f"{shard}.tar", members(shard, 9))
    calm = undisturbed(storage, partial(start, tar_config(tmp_path, RUN.url)))
    for place in some_of(calm.places()["embedding"], 3, step=STEP):
        calm.is_killed(storage, place)
        goes_on(storage, calm)


def test_a_run_killed_while_it_looks_for_repeated_pictures_ends_the_same(storage, tmp_path):
    for shard in range(2):
        write_tar(tmp_path / f"{shard}.tar", [*members(shard, 6), *member(f"{shard}again", seed=3)])
    embedding = {"model": "demo", "batch_size": 8, "signals": ["phash"]}
    filters = [{"caption": {"min_words": 1}}, {"hash_duplicates": {}}, {"clip_score": {"keep": 0.9}}]
    calm = undisturbed(storage, partial(start, tar_config(tmp_path, RUN.url, embedding=embedding, filters=filters)))
    assert calm.returned["reasons"]["dropped"]["filter:hash_duplicates"] == 2
    for place in some_of(calm.places()["filters"], 6):
        calm.is_killed(storage, place)
        goes_on(storage, calm)


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> Undisturbed:
    """An increment after a first one, which goes as soon as the second is verified."""
    pool = write_metadata(tmp_path_factory.mktemp("increments"), [60, 50])
    config = metadata_config(pool, "mortal://runs/1", base="latest", retention={"keep_runs": 1}, **SMALL)
    storage = mortal_storage()
    start(config)
    write_metadata(pool, [8], seed=1)
    return undisturbed(storage, partial(start, config | {"output": "mortal://runs/2"}))


@pytest.mark.parametrize("stage", STAGES)
def test_an_increment_killed_at_any_write_goes_on_from_where_it_began(storage, second, stage):
    # The graph of an increment is renewed, in many small steps.
    root, times = Store("mortal://runs"), {"report": 2, "graph": 4}.get(stage, 1)
    for place in some_of(second.places()[stage], times, step=STEP + 4):
        second.is_killed(storage, place)
        assert latest_name(root) in "12"
        assert list(problems(root.child(latest_name(root)))) == []
        goes_on(storage, second, root.child("2"))
        assert latest_name(root) == "2"
        assert root.child("1").exists("retired.json")


def test_a_killed_increment_goes_on_from_its_base_although_another_ended_meanwhile(storage, tmp_path):
    pool, root = write_metadata(tmp_path / "pool", [60, 50]), Store("mortal://runs")
    config = metadata_config(pool, root.path("1"), base="latest", **SMALL)
    start(config)
    write_metadata(pool, [8], seed=1)
    with storage.dies_after(60):
        start(config | {"output": root.path("2")})
    start(config | {"output": root.path("between")})
    record = start(config | {"output": root.path("2")})
    assert record["base"]["run"] == root.path("1")
    assert record["base"]["embedded_shards"] == 1
    concepts = config["concepts"] | {"centroids": root.path("1")}
    alone = start(config | {"base": None, "concepts": concepts, "output": "mortal://alone/2"})
    assert record["manifest_hash"] == alone["manifest_hash"]
    # It began before the one between, so that latest does not go back to it.
    assert latest_name(root) == "between"
    start(config | {"output": root.path("3")})
    assert latest_name(root) == "3"
