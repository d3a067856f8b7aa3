"""Equal vectors give equal manifests, whatever instructions this CPU may use, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import pytest
from pools import metadata_config, write_metadata

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
from threadpoolctl import threadpool_limits
from filtering.config.run import parse_config
from filtering.pipeline.run import run

config = json.loads(sys.argv[1])
with threadpool_limits(int(sys.argv[2])):
    record = run(parse_config(config))
tables = sorted((Path(config["output"]) / "manifest" / "kept").iterdir())
found = hashlib.sha256(b"".join(table.read_bytes() for table in tables)).hexdigest()
print(json.dumps([record["manifest_hash"], record["recall"], found]))
"""
# What each library would do on a CPU without AVX-512, and without AVX2.
HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma",
    "OPENBLAS_CORETYPE": "Haswell",
    "FAISS_OPT_LEVEL": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "FILTERING_PRODUCTS": "steps",
}
GENERIC = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "OPENBLAS_CORETYPE": "Nehalem",
    "FAISS_OPT_LEVEL": "generic",
    "ATEN_CPU_CAPABILITY": "default",
    "FILTERING_PRODUCTS": "float32",
}


def ended(config, compiled, threads, environment):
    """Run a configuration in a process with some environment; return its hash, its recall, and that of kept tables."""
    own = {"NUMBA_CACHE_DIR": str(compiled), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", PROGRAM, json.dumps(config), str(threads)]
    finished = subprocess.run(command, env=os.environ | own | environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("avx2"), reason="needs a CPU with AVX2")
def test_no_instruction_set_and_no_number_of_threads_changes_a_manifest(tmp_path):
    pool = write_metadata(tmp_path / "pool", [700, 500])
    selection = {"selection": {"keep": 0.3}, "concepts": {"clusters": 70, "partition_rows": 700}}
    kinds = {
        "native": (1, {"FILTERING_PRODUCTS": "bytes"}),
        "haswell": (2, HASWELL),
        "generic": (1, GENERIC),
    }
    found = {
        name: ended(metadata_config(pool, tmp_path / name, **selection), tmp_path / "compiled", threads, environment)
        for name, (threads, environment) in kinds.items()
    }
    # The kept tables hold scores and ranks, too.
    assert found["haswell"] == found["native"]
    assert found["generic"] == found["native"]
