import llvmlite.binding
import numpy as np
import pytest
from plain_neighbours import unit

from filtering.core.errors import InputError
from filtering.core.fixed_point import in_steps
from filtering.graph import products
from filtering.graph.pairs import member_neighbours
from filtering.graph.products import NARROW_ROWS, VARIABLE, coarse_products, cpu_kind, fastest_kind

KINDS = ["bytes", "steps", "float32"]


@pytest.fixture
def features(monkeypatch):
    """Name the features of the CPU."""
    monkeypatch.delenv(VARIABLE, raising=False)

    def named(*names):
        monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: dict.fromkeys(names, True))
        cpu_kind.cache_clear()

    yield named
    monkeypatch.undo()
    cpu_kind.cache_clear()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["avx2", "avx512f", "avx512vnni"], "bytes"),
        (["avx2"], "steps"),
        (["avx2", "avxvnni"], "steps"),
        (["avx2", "avx512f"], "float32"),
        (["neon"], "float32"),
        ([], "float32"),
    ],
)
def test_each_cpu_has_its_fastest_kind(features, names, kind):
    features(*names)
    assert fastest_kind(NARROW_ROWS) == kind
    assert fastest_kind(NARROW_ROWS - 1) == ("steps" if kind == "bytes" else kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_named_for_every_search(features, monkeypatch, kind):
    features()
    monkeypatch.setenv(VARIABLE, kind)
    used = []
    monkeypatch.setattr("filtering.graph.pairs.coarse_products", lambda *a: used.append(a[2]) or coarse_products(*a))
    member_neighbours(in_steps(unit(np.random.default_rng(0), 20, 16)), 20, 3)
    assert used == [kind]


def test_auto_is_the_fastest(features, monkeypatch):
    features("avx2")
    monkeypatch.setenv(VARIABLE, "auto")
    assert fastest_kind(10) == "steps"


def test_other_names_are_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "half")
    with pytest.raises(InputError, match="FILTERING_PRODUCTS: must be auto, bytes, steps, float32, got 'half'"):
        fastest_kind(10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("close", [1.0, 1e-3])
def test_every_pair_is_within_the_bounds_of_its_kind(kind, close):
    random = np.random.default_rng(4)
    points = unit(random, 1, 96) + close * unit(random, 300, 96)
    steps = in_steps((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))
    coarse, every = coarse_products(steps, 200, kind), np.arange(300)
    wide = steps.astype(np.int64)
    exact = np.array([((wide - row) ** 2).sum(axis=1) for row in wide], dtype=np.float64)
    nearness = (coarse.products(every, slice(0, 300)) - coarse.halves).astype(coarse.halves.dtype)
    for column in range(300):
        # No pair is nearer than the bound says of the farthest candidate, nor ruled out at its own distance.
        assert (exact[:, column] >= coarse.reaches(nearness[:, column])).all()
        assert (nearness[:, column] >= coarse.cuts(every, exact[:, column])).all()


def test_a_graphics_card_that_rounds_factors_has_a_wider_bound():
    assert products.rounding_slack(512, 1.0, 2.0**-10) > 500 * products.rounding_slack(512, 1.0)
