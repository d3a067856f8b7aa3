"""Expected novelty and budgets by distinct right pairs in a whole run."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Silent, metadata_config
from test_budgets import plain_distinct
from test_novelty import plain_picks, plain_unit

from filtering.config.run import parse_config
from filtering.core.csr import symmetrised
from filtering.core.errors import InputError
from filtering.explanations import explain
from filtering.exports.options import Options
from filtering.graph.artifacts import read_graph
from filtering.pipeline import run as pipeline
from filtering.runtime.run_record import read_run, stage_folder
from filtering.selection.distinct import read_expected_counts
from filtering.storage.store import Store

KEEP = 0.3


def uids_of(pool):
    return np.concatenate([pq.read_table(path)["uid"].to_numpy() for path in sorted(pool.glob("*.parquet"))])


@pytest.fixture(scope="module")
def probabilities(metadata_pool, tmp_path_factory):
    """A table of probabilities, of which a third is low, and the same by uid."""
    uids = uids_of(metadata_pool)
    random = np.random.default_rng(0)
    p = np.where(random.random(len(uids)) < 0.3, 0.1, 1.0) * random.choice([0.9, 1.0, random.random()], len(uids))
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    pq.write_table(pa.table({"uid": uids, "p": p}), path)
    return {"table": str(path), "column": "p"}, dict(zip(uids.tolist(), p.tolist(), strict=True))


@pytest.fixture(scope="module")
def fits(metadata_pool, tmp_path_factory):
    """A table of values with many ties, and (1 + their mid-rank) / 2 by uid."""
    uids = uids_of(metadata_pool)
    values = np.random.default_rng(1).integers(0, 50, len(uids)).astype(float)
    path = tmp_path_factory.mktemp("fit") / "fit.parquet"
    pq.write_table(pa.table({"uid": uids, "fit": values}), path)
    ranks = [((values < one).sum() + (values == one).sum() / 2) / len(values) for one in values]
    weights = {uid: float(1 + rank) / 2 for uid, rank in zip(uids.tolist(), ranks, strict=True)}
    return {"table": str(path), "column": "fit"}, weights


@pytest.fixture(scope="module", params=["none", "weighed"])
def novel(request, metadata_pool, probabilities, fits, tmp_path_factory):
    """A run by expected novelty, over several partitions, its selection and the weight of each uid."""
    folder = tmp_path_factory.mktemp("novel") / "run"
    selection = {"method": "d2", "variant": "novelty", "score": probabilities[0], "keep": KEEP}
    weights = dict.fromkeys(fits[1], 1.0)
    if request.param == "weighed":
        selection, weights = selection | {"fit": fits[0]}, fits[1]
    pipeline.run(parse_config(metadata_config(metadata_pool, folder, selection=selection)), Silent())
    return folder, selection, weights


def lines_of(folder, kind):
    return pq.read_table(folder / f"manifest/{kind}").to_pylist()


def concepts_of(folder, by_uid):
    """Every concept's uids, probabilities and inner graph, by its number, and the pool's lower median of lengths."""
    store = Store(str(folder))
    graph, found, lengths = stage_folder(store, read_run(store), "graph"), {}, []
    for number in range(20):
        if (part := read_graph(graph, number)) is None:
            continue
        lengths += part.distances.tolist()
        rows = np.repeat(np.arange(len(part.row)), np.diff(part.indptr))
        place = {row: at for at, row in enumerate(part.row.tolist())}
        ends = np.array([place.get(one, -1) for one in part.indices.tolist()])
        for concept in np.unique(part.concept):
            members = np.flatnonzero(part.concept == concept)
            inside = (part.concept[rows] == concept) & (ends >= 0) & (part.concept[ends] == concept)
            edges = np.searchsorted(members, rows[inside]), np.searchsorted(members, ends[inside])
            uids = [uid.decode() for uid in part.uid[members]]
            inner = symmetrised(*edges, part.distances[inside], len(members))
            found[int(concept)] = uids, [by_uid[uid] for uid in uids], inner
    return found, sorted(lengths)[(len(lengths) - 1) // 2]


@pytest.mark.slow
def test_a_run_picks_and_divides_as_plain_loops_do(novel, probabilities):
    folder, _, weights = novel
    concepts, median = concepts_of(folder, probabilities[1])
    distinct = [sum(max(gain, 0) for gain in plain_picks(graph, p, median)[1]) for _, p, graph in concepts.values()]
    right, sizes = [sum(p) for _, p, _ in concepts.values()], [len(p) for _, p, _ in concepts.values()]
    shares = plain_distinct(distinct, right, sizes, int(sum(sizes) * KEEP))
    kept = lines_of(folder, "kept")
    assert len(kept) == int(sum(sizes) * KEEP)
    for (concept, (uids, p, graph)), share in zip(concepts.items(), shares, strict=True):
        picks = sorted((line["rank"], line["uid"]) for line in kept if line["concept"] == concept)
        assert abs(len(picks) - share) < 1
        order = plain_picks(graph, p, plain_unit(graph), [weights[uid] for uid in uids])[0]
        assert [uid for _, uid in picks] == [uids[at] for at in order[: len(picks)]]
    stage = stage_folder(Store(str(folder)), read_run(Store(str(folder))), "selection")
    held = read_expected_counts(stage, len(list(stage.names(".distinct.npz"))), max(concepts) + 1)
    assert held.distinct[list(concepts)] == pytest.approx(distinct)
    assert held.right[list(concepts)] == pytest.approx(right)
    assert held.size[list(concepts)].tolist() == sizes


@pytest.mark.slow
def test_partitions_change_nothing(run, novel, metadata_pool, tmp_path):
    folder, selection, _ = novel
    one = metadata_config(metadata_pool, tmp_path / "run", selection=selection)
    one["concepts"] = {"clusters": 12, "partition_rows": 100_000}
    assert run(one)["manifest_hash"] == read_run(Store(str(folder)))["manifest_hash"]


@pytest.mark.slow
def test_a_sample_that_novelty_left_out_is_explained(novel, probabilities):
    folder, _, weights = novel
    mismatched = covered = 0
    for line in lines_of(folder, "dropped")[:60]:
        found = explain(str(folder), line["uid"])
        p, weight, step = probabilities[1][line["uid"]], weights[line["uid"]], found["step"]
        novelty, worth = step["novelty"], p * weight
        assert (step["messages"], novelty["probability"], novelty["weight"]) == (
            None,
            pytest.approx(p),
            pytest.approx(weight),
        )
        assert novelty["gain"] <= novelty["last_gain"] + 1e-9
        assert novelty["gain"] == pytest.approx(worth * novelty["novelty"] - (1 - p))
        assert [one["factor"] for one in novelty["covers"]] == sorted(one["factor"] for one in novelty["covers"])
        assert "it is probably mismatched, a pick already covers it, or its gain is below" in found["meaning"]
        if p < 0.5:
            mismatched += 1
            assert found["verdict"].startswith(f"it is probably mismatched: P(right) {p:.2f}")
            assert (", weight " in found["verdict"]) == (weight < 1)
        elif novelty["covers"] and worth - (1 - p) >= novelty["last_gain"]:
            first = novelty["covers"][0]
            covered += 1
            assert f"pick {first['picked_as'] + 1}, {first['key']}, already covers it" in found["verdict"]
            assert f"fell from {worth:.2f} to {worth * first['factor']:.2f}" in found["verdict"]
    assert mismatched
    assert covered
    line = lines_of(folder, "kept")[0]
    assert "its expected novelty was" in explain(str(folder), line["uid"])["verdict"]


@pytest.mark.parametrize("selection", [{"variant": "novelty"}, {"method": "top", "budget": "distinct"}])
def test_scores_that_are_no_probabilities_are_refused_by_name(run, metadata_pool, tmp_path, selection):
    table, uids = tmp_path / "far.parquet", uids_of(metadata_pool)
    pq.write_table(pa.table({"uid": uids, "far": np.linspace(0, 1.5, len(uids))}), table)
    selection = selection | {"score": {"table": str(table), "column": "far"}}
    refused = rf"selection\.score: far of {table} is 1\.\d+ for [0-9a-f]{{32}}, .*; use score right, uniform or a table"
    with pytest.raises(InputError, match=refused):
        run(metadata_config(metadata_pool, tmp_path / "run", selection=selection))


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "warned"), [("paper", True), ("novelty", False)])
def test_scores_below_0_of_the_papers_variant_are_warned_of(run, metadata_pool, tmp_path, variant, warned):
    table, uids = tmp_path / "low.parquet", uids_of(metadata_pool)
    values = np.where(np.arange(len(uids)) < 2 * warned, -0.5, 0.5)
    pq.write_table(pa.table({"uid": uids, "low": values}), table)
    score = {"table": str(table), "column": "low"}
    selection = {"method": "d2", "variant": variant, "score": score}
    lines = run(metadata_config(metadata_pool, tmp_path / "run", selection=selection))["warnings"]
    assert len(lines) == warned
    for line in lines:
        assert line.startswith("selection.score: 2 samples with a score below 0: D2's variant paper needs scores")
        assert line.endswith("; use {combine: {of: [{score: NAME}], by: rank}}")


@pytest.mark.slow
def test_by_default_novelty_is_weighed_by_the_centred_cosine_whose_ranks_are_no_score_of_the_run(
    run, metadata_pool, tmp_path
):
    selections = [{"fit": "none"}, {"fit": {"centred_score": {"form": "cosine"}}}, {"fit": "auto"}]
    records = [run(metadata_config(metadata_pool, tmp_path / "run", selection=one)) for one in selections]
    plain, named, default = (record["manifest_hash"] for record in records)
    assert default == named != plain
    learned = ["centred_score", "neighbour_agreement of images", "neighbour_agreement of captions", "right"]
    assert [list(record["scores"]) for record in records] == [learned] * 3
    assert [record["steps"][0]["score"] for record in records] == ["right"] * 3
    export(Store(str(tmp_path / "run")), "parquet", str(tmp_path / "out"), Options(no_urls=True))
    assert "combine" not in pq.read_schema(tmp_path / "out/00000000.parquet").names
    said = [[stage["summary"] for stage in record["stages"] if "ranks" in stage["summary"]] for record in records]
    ranks = ["1,100 samples scored by ranks of centred_score, for fit"]
    assert said == [[], ranks, ranks]
