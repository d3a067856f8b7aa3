"""An export that is killed at any write goes on when it is started again, and ends with the same objects."""

from functools import partial

import pytest
from finished_runs import write_finished
from in_process import export
from kills import undisturbed
from mortal import comparable, mortal_storage
from pools import members, write_tar
from sampling import some_of

from filtering.exports.options import Options
from filtering.storage.store import Store

OUT = "mortal://out/here"
FORMS = {
    "tar": ("tar", {"samples": 4}),
    "tar by bytes": ("tar", {"bytes": 20_000}),
    "tar shuffled": ("tar", {"samples": 4, "shuffle": True, "seed": 1}),
    "shards": ("shards", {}),
    "parquet": ("parquet", {"samples": 9}),
    "table": ("table", {"samples": 9}),
    "mds": ("mds", {"samples": 4}),
    "litdata": ("litdata", {"samples": 4}),
    "datacomp": ("datacomp", {"embeddings": True, "all": True}),
}


@pytest.fixture
def storage():
    return mortal_storage()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Store:
    """A run that kept some samples of three tars, without what the tables of samples are made of."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "pool").mkdir()
    for shard in range(3):
        write_tar(folder / f"pool/{shard:08d}.tar", members(shard, 9))
    return write_finished(folder / "run", folder / "pool", lambda uid: int(uid, 16) % 3 > 0)


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def exporting(request, written):
    form, options = request.param
    run = Store(str(request.getfixturevalue("tar_run"))) if form in ("parquet", "table", "datacomp") else written
    return partial(export, run, form, OUT, Options(**options))


def test_an_export_killed_at_any_write_ends_with_the_objects_of_an_undisturbed_one(storage, exporting):
    calm = undisturbed(storage, exporting)
    for place in some_of(range(len(calm.changes)), 4, step=1):
        calm.is_killed(storage, place)
        finished = Store(OUT).exists("manifest.json")
        assert finished == ("out/here/manifest.json" in [change.path for change in calm.changes[:place]])
        calm.goes_on(storage)
        # What is done is not done again.
        objects, changed = dict(storage.objects), len(storage.changes)
        calm.start()
        assert (storage.objects, len(storage.changes)) == (objects, changed)


def test_what_an_export_leaves_that_dies_is_what_it_had_written(storage, exporting):
    calm = undisturbed(storage, exporting)
    for place in (len(calm.changes) // 3, len(calm.changes) - 2):
        storage.objects = {}
        with storage.dies_after(place):
            calm.start()
        left = comparable(storage.objects)
        calm.is_killed(storage, place)
        assert left == comparable(storage.objects)
        calm.goes_on(storage)
