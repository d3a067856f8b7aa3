"""Tables of a finished run in whose place those of another run are: each passes its own checksum, and is refused."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import export
from pools import Silent, members, tar_config, write_tar

import filtering
from filtering.config.run import parse_config
from filtering.core.errors import DamagedError
from filtering.exports.options import Options
from filtering.manifests.diff import diff
from filtering.pipeline.run import run as made
from filtering.samplers.samples import kept_samples
from filtering.storage.store import Store

pytestmark = pytest.mark.slow

SHARDS, SAMPLES = 2, 8
# Of the first shard, as `members` names them.
KEYS = [f"00000{at:07d}" for at in range(SAMPLES)]
FORMS = {
    "datacomp": [{"embeddings": True}],
    "shards": [{}],
    "tar": [{"samples": 5}, {"bytes": 100_000}, {"samples": 5, "shuffle": True}],
    "parquet": [{}],
    "table": [{}],
    "mds": [{"samples": 5}],
    "litdata": [{"samples": 5}],
}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Path]:
    """Two runs over the same tars, which keep other samples of them."""
    folder = tmp_path_factory.mktemp("exchanged")
    (folder / "pool").mkdir()
    for shard in range(SHARDS):
        write_tar(folder / "pool" / f"{shard:05d}.tar", members(shard, SAMPLES))
    runs = [folder / f"run-{seed}" for seed in range(2)]
    for seed, run in enumerate(runs):
        selection = {"method": "random", "keep": 0.5, "seed": seed}
        made(parse_config(tar_config(folder / "pool", run, selection=selection)), Silent())
    return runs


@pytest.fixture(params=["now", "older"])
def copied(request, two, tmp_path) -> Path:
    """A copy of the first run; of an older version its stage knows no checksums."""
    run = shutil.copytree(two[0], tmp_path / "run")
    if request.param == "older":
        shutil.rmtree(next(run.glob("stages/manifests-*")))
    return run


def readers(run: Path, other: Path, out: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield all that reads a run's kept tables."""
    yield "diff", lambda: diff(str(other), str(run))
    yield "kept_samples", lambda: kept_samples(str(run))
    yield "kept_pipeline", lambda: list(filtering.kept_pipeline(str(run)))
    yield "open_run", lambda: filtering.open_run(str(run)).kept().to_table()
    yield "explain", lambda: filtering.explain(str(run), KEYS[0])
    for form, kinds in FORMS.items():
        for at, options in enumerate(kinds):
            target = str(out / f"{form}-{at}")
            yield (
                f"{form} {options}",
                lambda form=form, options=options, target=target: export(
                    Store(str(run)), form, target, Options(**options)
                ),
            )


def test_a_kept_table_of_another_run_is_refused_by_everything_that_reads_it(two, copied, tmp_path):
    first, second = (run / "manifest/kept/00000000.parquet" for run in (copied, two[1]))
    own = first.read_bytes()
    assert own != second.read_bytes()
    first.write_bytes(second.read_bytes())
    for name, read in readers(copied, two[1], tmp_path / "refused"):
        with pytest.raises(DamagedError) as refused:
            read()
        said = f"{first}: its bytes have changed since it was written; give the command of that run again"
        assert str(refused.value).startswith(said), name
    first.write_bytes(own)
    for _, read in readers(copied, two[1], tmp_path / "whole"):
        read()


def test_a_dropped_table_of_another_run_is_refused(two, copied):
    first, second = (run / "manifest/dropped/00000000.parquet" for run in (copied, two[1]))
    kept = kept_samples(str(copied)).keys.to_pylist()
    sample = next(key for key in KEYS if key not in kept)
    first.write_bytes(second.read_bytes())
    for read in (
        lambda: diff(str(copied), str(two[1])),
        filtering.open_run(str(copied)).dropped().to_table,
        lambda: filtering.explain(str(copied), sample),
    ):
        with pytest.raises(DamagedError, match=r"dropped/00000000\.parquet: its bytes have changed"):
            read()
