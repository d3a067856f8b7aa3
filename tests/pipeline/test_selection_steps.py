"""Selection as a user writes it: methods, budgets, steps and sets by configuration alone."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config

from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.selection.registry import BUDGETS, SELECTORS
from filtering.selection.strata import strata_budgets, strata_of
from filtering.storage.store import Store

ROWS = 1100
# What semdedup leaves depends on its epsilon alone, `all` keeps all, and a threshold keeps its ties.
OWN_SIZE = ("semdedup", "all", "threshold")


def table(folder, kind):
    return pa.concat_tables([pq.read_table(path) for path in sorted((folder / "manifest" / kind).glob("*.parquet"))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One output for all: the graph is built once."""
    return tmp_path_factory.mktemp("steps") / "run"


@pytest.fixture
def select(run, metadata_pool, folder):
    """Run a selection and return run.json, checked."""

    def start(selection, **sections):
        record = run(metadata_config(metadata_pool, folder, selection=selection, **sections))
        assert list(problems(Store(str(folder)))) == []
        return record

    return start


@pytest.fixture
def kept(select, folder):
    """Run a selection and return the kept table, sorted by uid."""

    def start(selection, **sections):
        select(selection, **sections)
        return table(folder, "kept").sort_by("uid")

    return start


@pytest.fixture
def scores(kept):
    """The CLIP score of every uid."""
    everything = kept({"method": "all", "score": "clip_score"})
    return dict(zip(everything["uid"].to_pylist(), everything["score"].to_numpy(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", list(SELECTORS))
def test_every_method_runs_by_its_name_alone(select, method):
    record = select({"method": method, "keep": 123})
    assert method in OWN_SIZE or record["totals"]["kept"] == 123
    assert record["totals"]["kept"] > 0
    assert set(record["reasons"]["dropped"]) <= {f"selection:{method}"}


@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize("method", ["d2", "random"])
def test_every_budget_is_spent_exactly(select, method, budget):
    assert select({"method": method, "budget": budget, "keep": 0.21})["totals"]["kept"] == int(ROWS * 0.21)


@pytest.mark.slow
def test_pool_wide_top_is_the_top_of_the_pool(kept, scores):
    found = kept({"method": "top", "budget": "pool", "keep": 200})
    assert sorted(found["score"].to_pylist()) == sorted(scores.values())[-200:]


def test_equal_scores_are_cut_exactly(kept):
    found = kept({"method": "top", "budget": "pool", "score": "uniform", "keep": 77})
    assert len(found) == 77


@pytest.mark.slow
def test_a_threshold_keeps_ties(run, metadata_pool, tmp_path, kept, scores):
    uids = sorted(scores)
    rounded = {uid: float(np.round(at % 7)) for at, uid in enumerate(uids)}
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"uid": uids, "mine": [rounded[uid] for uid in uids]}), path)
    score = {"table": str(path), "column": "mine"}
    # DataComp: descending, the value at int(n * fraction), everything at or above it.
    bound = sorted(rounded.values(), reverse=True)[int(ROWS * 0.3)]
    found = kept({"method": "threshold", "keep": 0.3, "score": score})
    assert found["uid"].to_pylist() == sorted(uid for uid in uids if rounded[uid] >= bound)
    found = kept({"method": "threshold", "threshold": 5, "score": score})
    assert found["uid"].to_pylist() == sorted(uid for uid in uids if rounded[uid] >= 5)


@pytest.mark.slow
def test_ccs_spends_its_budget_on_the_strata_of_the_pool(kept, scores):
    values = np.array(list(scores.values()), dtype=np.float64)
    strata = strata_of(values, 20, 0.1)
    budgets = strata_budgets(np.bincount(strata[strata >= 0], minlength=20), 300)
    found = kept({"method": "ccs", "keep": 300, "strata": 20, "drop_hardest": 0.1})
    stratum = dict(zip(scores, strata.tolist(), strict=True))
    counts = Counter(stratum[uid] for uid in found["uid"].to_pylist())
    assert [counts[number] for number in range(20)] == budgets.tolist()
    assert counts[-1] == 0


@pytest.mark.slow
def test_strata_may_be_cut_by_another_score_than_the_one_that_picks(select):
    picked = {"method": "d2", "budget": "strata", "keep": 0.3}
    hashes = {
        select({**picked, "score": "uniform", "difficulty": difficulty, "scope": scope})["manifest_hash"]
        for difficulty in ("clip_score", "prototypicality")
        for scope in ("pool", "concept")
    }
    assert len(hashes) == 4


@pytest.mark.slow
def test_steps_see_what_the_one_before_kept(select, folder, scores):
    steps = [
        {"method": "semdedup", "epsilon": 0.05},
        {"method": "threshold", "keep": 0.5},
        {"method": "d2", "variant": "paper", "keep": 0.3, "budget": "complexity"},
    ]
    record = select({"steps": steps})
    dropped = record["reasons"]["dropped"]
    left = ROWS - dropped["selection:semdedup"]
    passed = left - dropped["selection:threshold"]
    assert passed == int(left * 0.5) + 1
    assert record["totals"]["kept"] == int(passed * 0.3)
    reasons = table(folder, "dropped")
    by_threshold = set(reasons.filter(pa.compute.equal(reasons["reason"], "selection:threshold"))["uid"].to_pylist())
    assert max(scores[uid] for uid in by_threshold) < min(scores[u] for u in table(folder, "kept")["uid"].to_pylist())
    ran = [stage["name"] for stage in record["stages"]]
    assert [name for name in ran if name.startswith("selection")] == ["selection-1", "selection-2", "selection"]


@pytest.mark.slow
def test_a_change_of_the_last_step_leaves_the_others(select):
    def ran(gamma):
        steps = [{"method": "threshold", "keep": 0.5}, {"method": "d2", "gamma_reverse": gamma}]
        return [stage["name"] for stage in select({"steps": steps})["stages"] if not stage.get("reused")]

    ran(1.0)
    assert ran(0.3) == ["selection", "measures", "manifests", "report"]


@pytest.mark.slow
def test_sets_of_named_selections(kept, select):
    parts = {
        "fits": {"method": "threshold", "keep": 0.5},
        "drawn": [{"method": "all"}, {"method": "random", "keep": 0.4}],
    }
    fits, drawn = (set(kept(selection)["uid"].to_pylist()) for selection in (parts["fits"], {"steps": parts["drawn"]}))
    both = kept({"steps": [{"all": ["fits", "drawn"]}]}, selections=parts)
    assert set(both["uid"].to_pylist()) == fits & drawn
    either = kept({"steps": [{"any": ["fits", "drawn"]}]}, selections=parts)
    assert set(either["uid"].to_pylist()) == fits | drawn
    record = select(
        {"steps": [{"all": ["fits", "drawn"]}, {"method": "d2", "variant": "paper", "keep": 0.5}]}, selections=parts
    )
    assert record["reasons"]["dropped"] == {
        "selection:fits": ROWS - len(fits),
        "selection:drawn": len(fits) - len(fits & drawn),
        "selection:d2": len(fits & drawn) - len(fits & drawn) // 2,
    }


def test_ranks_of_a_union_are_an_order_inside_each_concept(kept):
    parts = {"one": {"method": "random", "keep": 0.2}, "two": {"method": "d2", "variant": "paper", "keep": 0.2}}
    found = kept({"steps": [{"any": ["one", "two"]}]}, selections=parts)
    ranks: dict[int, list[int]] = {}
    for concept, rank in zip(found["concept"].to_pylist(), found["rank"].to_pylist(), strict=True):
        ranks.setdefault(concept, []).append(rank)
    assert all(sorted(order) == list(range(len(order))) for order in ranks.values())


@pytest.mark.slow
def test_a_size_that_the_method_does_not_read_is_said(select):
    assert select({"method": "d2", "gamma_forward": 0.5})["warnings"] == []
    (warning,) = select({"method": "semdedup", "keep": 0.5})["warnings"]
    assert warning == "selection.keep is set, but semdedup itself decides how many samples it keeps"
    assert select({"method": "random", "budget": "strata", "strata": 10})["warnings"] == []


@pytest.mark.parametrize("budget", ["uniform", "pool"])
@pytest.mark.parametrize("keep", [1, 0.3, 1.0])
def test_picks_that_concepts_exchange_spend_the_budget_and_are_in_order(kept, budget, keep):
    found = kept({"method": "d2", "variant": "paper", "exchanges": 4, "budget": budget, "keep": keep})
    assert len(found) == (keep if isinstance(keep, int) else int(ROWS * keep))
    ranks: dict[int, list[int]] = {}
    for concept, rank in zip(found["concept"].to_pylist(), found["rank"].to_pylist(), strict=True):
        ranks.setdefault(concept, []).append(rank)
    assert all(sorted(order) == list(range(len(order))) for order in ranks.values())


def test_an_exchange_that_changes_nothing_is_the_last(select):
    # Without reverse messages no pick weighs on another.
    record = select({"method": "d2", "variant": "paper", "exchanges": 9, "gamma_reverse": 1e9, "distance": "euclidean"})
    (stage,) = [one for one in record["stages"] if one["name"] == "selection"]
    assert stage["summary"].endswith(", 2 exchanges of picks")


def test_a_later_step_exchanges_picks_of_what_the_one_before_left(kept):
    before = {"method": "threshold", "keep": 0.2}
    found = kept({"steps": [before, {"method": "d2", "variant": "paper", "exchanges": 2, "keep": 0.5}]})
    left = kept(before)["uid"].to_pylist()
    assert len(found) == len(left) // 2
    assert set(found["uid"].to_pylist()) <= set(left)


PARTITION_FREE = [
    {"method": "d2", "budget": "strata", "keep": 0.3, "scale": "median", "messages": "mean"},
    {"method": "d2", "rounds": 3, "keep": 0.3},
    {"method": "d2", "variant": "paper", "exchanges": 3, "keep": 0.3},
    {"method": "d2", "variant": "novelty", "score": "uniform", "exchanges": 3, "budget": "pool", "keep": 0.3},
    {"method": "top", "budget": "pool", "score": "uniform", "keep": 200},
    {"method": "semdedup", "epsilon": 0.1},
    {"method": "moderate", "keep": 0.3},
    {
        "steps": [
            {"method": "threshold", "keep": 0.6},
            {"method": "d2", "variant": "paper", "keep": 0.3, "budget": "hierarchical"},
        ]
    },
]


@pytest.fixture(scope="module")
def undivided(tmp_path_factory):
    """One output for all runs with a single partition."""
    return tmp_path_factory.mktemp("undivided") / "run"


@pytest.mark.slow
@pytest.mark.parametrize("selection", PARTITION_FREE)
def test_partitions_change_nothing(run, select, metadata_pool, undivided, selection):
    one = metadata_config(metadata_pool, undivided, selection=selection)
    one["concepts"] = {"clusters": 12, "partition_rows": 100_000}
    assert run(one)["manifest_hash"] == select(selection)["manifest_hash"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"selection": {"steps": [{"all": ["fit"]}]}, "selections": {"fits": {}}},
            "unknown selection fit; did you mean fits",
        ),
        (
            {"selection": {"steps": [{"all": ["a"]}]}, "selections": {"a": [{"any": ["a"]}]}},
            "selections.a: refers to itself",
        ),
        ({"selection": {"steps": [{"method": "d3"}]}}, "unknown selector d3"),
        (
            {"selection": {"method": "random", "gamma_forward": 0.5}},
            "selection.gamma_forward: method random with budget proportional does not read it; it is for method d2",
        ),
        (
            {"selection": {"method": "d2", "budget": "strata", "exchanges": 2}},
            "selection.budget: strata are picked from one by one, and exchanges are between whole concepts",
        ),
        ({"selection": {"exchanges": -1}}, "selection.exchanges: -1 is not valid; it must be a number of rounds"),
        ({"selection": {"method": "top", "exchanges": 2}}, "does not read it; it is for method d2"),
        ({"selection": {"method": "flexrand", "score": "dlc"}}, "metadata has none"),
        ({"selection": {"score": {"norm_sim": {"targets": "/nowhere.npy"}}}}, "/nowhere.npy is not there"),
        ({"selection": {"score": {"image_based": {"targets": "/nowhere"}}}}, "/nowhere is not there"),
        ({"selection": {"score": {"metaclip": {"entries": "/nowhere.txt"}}}}, "/nowhere.txt is not there"),
        (
            {"selection": {"budget": "strata", "difficulty": {"aum": {"table": "/nowhere.parquet"}}}},
            "/nowhere.parquet cannot be read",
        ),
    ],
)
def test_what_cannot_be_selected_is_refused_before_any_work(run, metadata_pool, tmp_path, sections, message):
    with pytest.raises(InputError) as refused:
        run(metadata_config(metadata_pool, tmp_path / "run", **sections))
    assert message in str(refused.value)
    assert not (tmp_path / "run").exists()
