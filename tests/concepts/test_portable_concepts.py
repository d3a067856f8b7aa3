"""Centroids, concepts and sections have the same bits whatever instructions and threads compute them."""

import os
import subprocess
import sys

import pytest

COMPUTE = """
import hashlib
import numpy as np
from benchmarks.lib.kmeans import train_centroids
from filtering.concepts.kmeans import centroid_hierarchy, inter_distances
from filtering.concepts.nearest import CentroidIndex
from filtering.concepts.replicas import border_margins
from filtering.concepts.sections import cut_rows
from filtering.embedding.artifacts import unit_rows

# Whole numbers, which halves hold, around others; doubled rows tie.
random = np.random.default_rng(0)
halves = random.integers(-60, 61, (200, 48)).repeat(15, axis=0) + random.integers(-40, 41, (3_000, 48))
halves = np.concatenate([halves, halves[::3]]).astype(np.float16)
rows = unit_rows(halves)
centroids = train_centroids(rows, 900, 0)
concepts, distances = CentroidIndex(centroids).nearest(rows, 8)
margins = border_margins(concepts, distances, centroids)
cut = cut_rows(halves[:2_000], 20_000, 900)
found = [centroids.steps, centroids.groups, centroids.spreads, concepts, distances, margins, inter_distances(centroids)]
found += [*cut.arrays().values(), *centroid_hierarchy(centroids.vectors, 2, 0)]
print(hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in found)).hexdigest())
"""
KERNELS = [
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    {"NUMBA_CPU_NAME": "haswell", "OPENBLAS_CORETYPE": "Haswell", "FAISS_OPT_LEVEL": "avx2"},
    {"NUMBA_CPU_NAME": "generic", "OPENBLAS_CORETYPE": "Prescott", "FAISS_OPT_LEVEL": "generic"},
]


def digest(kernels, folder):
    features = {"NUMBA_CPU_FEATURES": ""} if "NUMBA_CPU_NAME" in kernels else {}
    environment = os.environ | kernels | features | {"NUMBA_CACHE_DIR": str(folder)}
    found = subprocess.run(
        [sys.executable, "-c", COMPUTE], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_every_kernel_gives_the_same_concepts(tmp_path):
    digests = {digest(kernels, tmp_path / str(at)) for at, kernels in enumerate(KERNELS)}
    assert len(digests) == 1
