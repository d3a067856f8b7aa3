"""Scores of the user's are float64 and keep the order of their column, whatever picks by them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, write_metadata

from filtering.manifests.verify import problems
from filtering.storage.store import Store

ROWS = 120


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("wide") / "pool", [70, 50])


@pytest.fixture
def uids(pool):
    """The pool's uids in an order of their own: that of the column."""
    tables = [pq.read_table(path, columns=["uid"]) for path in sorted(pool.glob("*.parquet"))]
    found = pa.concat_tables(tables)["uid"].to_pylist()
    return [found[row] for row in np.random.default_rng(0).permutation(ROWS)]


@pytest.fixture
def kept(run, pool, uids, tmp_path):
    """Run a selection by a column with these values, ascending; return the kept uids and the record."""

    def start(values, score=None, **selection):
        url = str(tmp_path / "scores.parquet")
        pq.write_table(pa.table({"uid": uids, "taken": values}), url)
        table = {"table": url, "column": "taken"}
        selection = {"keep": 40, **selection, "score": score(table) if score else table}
        run(metadata_config(pool, tmp_path / "run", concepts={"clusters": 3}, selection=selection))
        assert list(problems(Store(str(tmp_path / "run")))) == []
        tables = [pq.read_table(path) for path in sorted((tmp_path / "run/manifest/kept").glob("*.parquet"))]
        return pa.concat_tables(tables)

    return start


COLUMNS = {
    "seconds": pa.array([1_700_000_000 + row for row in range(ROWS)], pa.int64()),
    "nanoseconds": pa.array([(1_700_000_000 + row) * 10**9 for row in range(ROWS)], pa.int64()),
    "fractions": pa.array([0.5 + 1e-13 * row for row in range(ROWS)], pa.float64()),
}


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_the_highest_of_the_pool_are_those_of_the_column(kept, uids, values):
    found = kept(values, method="top", budget="pool")
    assert set(found["uid"].to_pylist()) == set(uids[-40:])
    # Inside each concept they come in the column's order.
    place = {uid: row for row, uid in enumerate(uids)}
    ordered = found.sort_by([("concept", "ascending"), ("rank", "ascending")])
    for concept in set(ordered["concept"].to_pylist()):
        rows = [place[one["uid"]] for one in ordered.to_pylist() if one["concept"] == concept]
        assert rows == sorted(rows, reverse=True)


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_a_threshold_of_the_pool_is_that_of_the_column(kept, uids, values):
    found = kept(values, method="threshold", keep=40)
    assert set(found["uid"].to_pylist()) == set(uids[-40:])


def test_a_combination_ranks_in_the_order_of_the_column(kept, uids):
    score = lambda table: {"combine": {"of": [{"score": table, "weight": 1}], "by": "rank"}}  # noqa: E731
    found = kept(COLUMNS["nanoseconds"], score, method="top", budget="pool")
    assert set(found["uid"].to_pylist()) == set(uids[-40:])


def test_the_hardest_of_the_pool_are_those_of_the_column(kept, uids):
    found = kept(COLUMNS["nanoseconds"], method="ccs", scope="pool", strata=4, drop_hardest=0.25, keep=90)
    assert set(found["uid"].to_pylist()) == set(uids[:90])


@pytest.mark.parametrize("rounds", [0, 2])
def test_d2_picks_by_the_values_of_the_column(kept, uids, rounds):
    # Neighbours' messages fade at once: the order is that of the scores.
    settings = {"gamma_forward": 1e9, "gamma_reverse": 1e9, "rounds": rounds}
    found = kept(COLUMNS["fractions"], method="d2", budget="pool", **settings)
    assert set(found["uid"].to_pylist()) == set(uids[-40:])
