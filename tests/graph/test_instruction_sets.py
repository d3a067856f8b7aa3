"""The graph of a partition has the same bytes whatever instructions this CPU may use, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import pytest

from filtering.graph.products import VARIABLE

PROGRAM = """
import hashlib
import numpy as np
from threadpoolctl import threadpool_limits
from filtering.concepts.partition import Partition
from filtering.graph.sharded import found_neighbours, found_records

random = np.random.default_rng(0)
rows, concepts = 3_000, 3
vectors = random.normal(size=(rows, 96)) * np.arange(1, 97) ** -0.6
# Near-duplicates, copies, and rows without a length.
vectors[500:900] = vectors[:1] + 1e-3 * vectors[500:900]
vectors[900:1_000] = vectors[1]
vectors[1_000:1_010] = 0
home = np.sort(random.integers(0, concepts, rows)).astype(np.int32)
standing = random.random((rows, concepts)) < 0.3
standing[np.arange(rows), home] = True
place, concept = np.nonzero(standing)
order = np.lexsort((place, concept != home[place], concept))
uids = np.array([f"{row:032x}" for row in range(rows)], dtype="S32")
columns = (place[order], concept[order].astype(np.int32), np.ones(rows, dtype=bool))
partition = Partition(random.permutation(rows), uids, home, vectors.astype(np.float16), *columns)
for threads in (1, 2):
    with threadpool_limits(threads):
        records, _ = found_records(partition.row, partition.home, found_neighbours(partition, 10)[0])
        print(hashlib.sha256(records.tobytes()).hexdigest())
"""
# What each library would do on a CPU without AVX-512, and without AVX2.
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma", "OPENBLAS_CORETYPE": "Haswell"}
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "OPENBLAS_CORETYPE": "Nehalem"}


def hashes(tmp_path, kind, **environment):
    """Build the graph in a process with some environment, with compiled code of its own."""
    own = {VARIABLE: kind, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | own | environment, capture_output=True, text=True, check=True
    )
    return finished.stdout.split()


@pytest.mark.slow
@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("avx2"), reason="needs a CPU with AVX2")
def test_no_instruction_set_changes_the_graph(tmp_path):
    found = {
        "bytes": hashes(tmp_path, "bytes"),
        "float32": hashes(tmp_path, "float32"),
        "haswell, steps": hashes(tmp_path, "steps", **HASWELL),
        "haswell, float32": hashes(tmp_path, "float32", **HASWELL),
        "generic, steps": hashes(tmp_path, "steps", **GENERIC),
        "generic, float32": hashes(tmp_path, "float32", **GENERIC),
    }
    assert len({one for pair in found.values() for one in pair}) == 1, found
    assert all(len(pair) == 2 for pair in found.values())
