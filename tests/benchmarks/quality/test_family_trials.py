"""What was tried for the default: the command on a tiny pool, and each rule against a plain loop."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lib.judgement import calibration_error
from benchmarks.quality.family.options import judge_of, workshop_of
from benchmarks.quality.family.trials import __main__ as trials
from benchmarks.quality.family.trials import codes
from benchmarks.quality.family.trials.arrays import pool_arrays
from benchmarks.quality.family.trials.facility import covering
from benchmarks.quality.family.trials.picks import PICKS, within_distinct
from benchmarks.quality.family.trials.probabilities import PROBABILITIES, figures
from benchmarks.quality.pool import measuring
from benchmarks.quality.pool.evaluation import Examination
from benchmarks.quality.pool.measuring import TrainingLog
from benchmarks.quality.pool.selecting import selected
from benchmarks.quality.pool.settings import BASE
from benchmarks.quality.pool.truth import Truth
from filtering.core.csr import symmetrised
from filtering.embedding.artifacts import unit_rows
from filtering.selection.budgets import distinct_budgets, proportional_budgets, uniform_budgets
from filtering.selection.novelty import unit_of


def plain_cover(graph, p, q, budget):
    """Facility location with every sum written out: nu of each node anew for each gain."""
    unit, nodes = unit_of(graph.distances), range(graph.nodes)
    near = np.eye(graph.nodes)
    for node in nodes:
        at = slice(graph.indptr[node], graph.indptr[node + 1])
        near[node, graph.indices[at]] = np.exp(-graph.distances[at].astype(float) / unit)

    def gain(node):
        covers = sum(
            p[other] * math.prod(1 - p[pick] * near[pick, other] for pick in picks) * near[node, other]
            for other in nodes
        )
        return q[node] * p[node] * covers - (1 - p[node])

    picks = []
    for _ in range(budget):
        picks.append(max((node for node in nodes if node not in picks), key=lambda node: (gain(node), -node)))
    return picks


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_facility_location_picks_what_covers_most(seed, nodes):
    random = np.random.default_rng(seed)
    edges = random.integers(0, nodes, (2, 2 * nodes))
    graph = symmetrised(*edges, random.random(2 * nodes).astype(np.float32), nodes)
    p, q = random.random((2, nodes))
    assert covering(graph, p, q, nodes).tolist() == plain_cover(graph, p, q, nodes)


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=8), st.floats(0, 1))
def test_budgets_within_the_distinct_pairs_are_a_rule_s_and_the_product_s_beyond(concepts, share):
    sizes = np.array([size for size, _ in concepts])
    distinct = sizes * [part for _, part in concepts] / 2
    for rule in (uniform_budgets, proportional_budgets):
        for total in (round(share * sizes.sum()), int(np.rint(distinct).sum())):
            found = within_distinct(rule, distinct, distinct * 2, sizes, total)
            assert found.sum() == total
            assert (found <= sizes).all()
            if total <= np.rint(distinct).sum():
                assert (found <= np.rint(distinct)).all()
            else:
                assert found.tolist() == distinct_budgets(distinct, distinct * 2, sizes, total).tolist()


@pytest.fixture(scope="module")
def options(tmp_path_factory, fashion_mnist):
    where = ("--work", tmp_path_factory.mktemp("trials"), "--fashion-mnist", fashion_mnist)
    return *map(str, where), "--scale", "0.02", "--judge-steps", "20"


@pytest.fixture(scope="module")
def found(options):
    """The place of a tiny pool, its truth, and the arrays that trials read."""
    parsed = trials.arguments_of(options)
    workshop, judge = workshop_of(parsed), judge_of(parsed, "strong")
    workshop.make(BASE, judge)
    place = workshop.place(BASE, judge)
    truth = Truth(place.pool / "truth.parquet")
    return place, truth, pool_arrays(place, truth)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.8])
def test_the_default_keeps_what_the_product_keeps(found, keep):
    place, truth, pool = found
    total = round(keep * len(truth.uids))
    kept = pool.uids[PICKS["default"](pool, total)].astype(str)
    assert sorted(kept.tolist()) == selected(place, {"selection": {"keep": total}}).uids


@pytest.mark.slow
def test_neighbours_are_the_nearest_and_edges_inside_concepts_are_between_their_members(found):
    pool = found[2]
    for near, side, k in ((pool.of_images, pool.images, 10), (pool.of_captions, pool.texts, 20)):
        vectors = unit_rows(side)
        apart = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
        # Those of the graph are of vectors in steps of 2^-15.
        assert near.distances == pytest.approx(apart[near.sources, near.targets], abs=3e-4)
        assert np.bincount(near.sources).max() == k
        assert (np.diff(near.sources) >= 0).all()
        np.fill_diagonal(apart, np.inf)
        farthest = np.sort(apart, axis=1)[:, k - 1]
        # The search is approximate.
        assert (near.distances <= farthest[near.sources] + 1e-4).mean() > 0.9
    members = np.concatenate([concept.members for concept in pool.concepts])
    assert sorted(members.tolist()) == list(range(len(pool.uids)))
    images = unit_rows(pool.images)
    for concept in pool.concepts:
        ends = np.repeat(concept.members, concept.graph.degrees), concept.members[concept.graph.indices]
        lengths = ((images[ends[0]] - images[ends[1]]) ** 2).sum(axis=1)
        assert concept.graph.distances == pytest.approx(lengths, abs=3e-4)


@pytest.mark.slow
def test_right_is_learned_as_the_product_does(found):
    pool = found[2]
    # The product judges all pairs by vectors that are rounded a little less.
    assert PROBABILITIES["right"](pool).probabilities == pytest.approx(pool.probabilities, abs=0.02)


@pytest.mark.slow
def test_every_trial_of_probabilities_gives_some(found):
    pool = found[2]
    for trial in PROBABILITIES.values():
        said = trial(pool)
        assert ((said.probabilities >= 0) & (said.probabilities <= 1)).all()
        row = figures(pool, said)
        assert row["ECE"] == round(calibration_error(said.probabilities, pool.right), 4)
        assert row["wrong"] == round(1 - pool.right.mean(), 4)


@pytest.mark.slow
def test_every_trial_of_picks_keeps_as_many_pairs(found, monkeypatch):
    pool = found[2]
    monkeypatch.setattr(codes, "STEPS", 3)
    total = len(pool.uids) // 5
    kept = {name: frozenset(trial(pool, total).tolist()) for name, trial in PICKS.items()}
    assert {len(picks) for picks in kept.values()} == {total}
    assert len(set(kept.values())) > len(kept) / 2
    assert kept["default"] != kept["no fit"]
    assert pool.right[list(kept["p known"])].all()


@pytest.mark.slow
def test_trials_are_trained_examined_on_validation_pictures_and_not_repeated(measured, options, monkeypatch):
    read = list[str]()
    monkeypatch.setattr(
        measuring, "Examination", lambda path, words: read.append(path.stem) or Examination(path, words)
    )
    only = ("default", "no fit", "right, pi at 5 %")
    given = (*options, "--keeps", 0.3, "--steps", 3, "--seeds", 2, "--only", *only)
    figures, printed = measured(trials.main, *given)
    (cell,) = figures["picks"]
    assert (cell["pool"], cell["model"], cell["keep"]) == ("base", "strong", 0.3)
    assert set(cell["methods"]) == {"default", "no fit"}
    assert [row["trial"] for row in figures["probabilities"]] == ["right, pi at 5 %"]
    assert "seed 1, 30 %, no fit:" in printed
    assert read == ["validation"]
    log = TrainingLog(Path(options[1]) / "trials.jsonl")
    lines = log.results().values()
    assert [line["seed"] for line in lines] == [0, 0, 1, 1]
    assert all("validation" in line and "test" not in line for line in lines)
    again, printed = measured(trials.main, *given)
    assert again == figures
    assert "seed" not in printed
    assert len(log.path.read_text().splitlines()) == 4


def test_a_trial_that_there_is_not_is_refused_by_name(tmp_path):
    with pytest.raises(SystemExit, match="no trial is called luck; there are: default; no fit;"):
        trials.main(["--work", str(tmp_path), "--only", "default", "luck"])
