"""Picks do not depend on the instruction set: processes that are told to use another one than this CPU's agree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filtering.config.methods import METHODS
from filtering.core.csr import symmetrised
from filtering.selection.budgets import complexity_budgets
from filtering.selection.concept import ConceptSamples
from filtering.selection.d2 import select
from filtering.selection.exchange import Ends, Exchange, Reached, bordered
from filtering.selection.novelty import distinct_right, unit_of
from filtering.selection.novelty import select as select_novel
from filtering.selection.registry import SELECTORS
from filtering.selection.semdedup import semdedup
from filtering.selection.soft_cap import log_of_sum

ROWS = 600
# No AVX-512; and nothing that not every x86-64 has.
KERNELS = {
    "haswell": {"NUMBA_CPU_NAME": "haswell", "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F"},
    "generic": {"NUMBA_CPU_NAME": "generic", "OPENBLAS_CORETYPE": "Prescott"},
}


def all_picks() -> str:
    """Return the digits of what every selector picks, and of what budgets and draws compute."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(ROWS, 33)).astype(np.float32)
    # Some cosines near the limit of semdedup, to the last digits of a product.
    vectors[300:] = vectors[:300] + random.normal(size=(300, 33)).astype(np.float32) * np.float32(0.228)
    vectors /= np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True)).astype(np.float32)
    sources = np.repeat(np.arange(ROWS), 6)
    lengths = random.random(len(sources)).astype(np.float32)
    graph = symmetrised(sources, random.integers(0, ROWS, len(sources)), lengths, ROWS)
    p = random.random(ROWS)
    border = np.arange(50)
    uids = np.array([f"{number:032x}" for number in range(ROWS)], dtype="S32")
    concept = ConceptSamples(uids, p, graph, border, lengths[:50], p[:50], vectors, p[::-1].copy())
    found = {name: one.pick(concept, 200, METHODS[name].settings()) for name, one in SELECTORS.items()}
    found["euclidean"] = select(graph, p, 300, distance="euclidean", scale="median", messages="mean")
    found["novel"] = select_novel(graph, p, 300, weights=p[::-1])
    found["near"] = np.concatenate([semdedup(vectors, epsilon) for epsilon in np.linspace(0.02, 0.03, 20)])
    found["distinct"] = np.array([distinct_right(graph, p), unit_of(graph.distances)])
    found["complexity"] = complexity_budgets(np.full(ROWS, 40), p, p[::-1], 5_000)
    found["draws"] = log_of_sum(p, p[::-1])
    ends = Ends(np.arange(ROWS), p, np.arange(ROWS), graph.indices)
    numbers = np.repeat(np.arange(3, dtype=np.int32), ROWS // 3)
    part = bordered(0, numbers, graph.indptr, graph.distances, ends, x=p - 0.3, p=p, worth=p, unit=np.ones(3))
    exchange = Exchange(part, Reached(False))
    scores = [one.scores for one in exchange.picks(np.full(3, 150))]
    found["exchange"] = np.concatenate([*scores, exchange.seen.values])
    return "\n".join(f"{name} {np.ascontiguousarray(one).tobytes().hex()}" for name, one in sorted(found.items()))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_method_picks_the_same_with_other_kernels(kernel, tmp_path):
    command = [sys.executable, "-c", "from test_portable_picks import all_picks; print(all_picks())"]
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    forced = KERNELS[kernel] | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}
    done = subprocess.run(command, env=os.environ | forced, capture_output=True, text=True, check=True)
    here, there = all_picks().splitlines(), done.stdout.splitlines()
    assert [name for name, *_ in map(str.split, there)] == [name for name, *_ in map(str.split, here)]
    assert [one.split()[0] for one, other in zip(here, there, strict=True) if one != other] == []
