"""A vector's length says nothing: a pool keeps the same samples whatever its vectors are multiplied by."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config

pytestmark = pytest.mark.slow

SECTIONS = {
    "auto": {},
    "semdedup": {"selection": {"method": "semdedup"}},
    "filtered": {
        "filters": [{"clip_score": {"keep": 0.8}}],
        "selection": {"method": "top", "keep": 0.4, "score": "neg_clip_loss"},
    },
}


def write_pool(folder, scales):
    """Write 300 samples in groups of near ones, as float32, multiplied by `scales`."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(12, 24))
    images = centres[random.integers(0, 12, 300)] + 0.3 * random.normal(size=(300, 24))
    texts = images + 0.5 * random.normal(size=images.shape)
    folder.mkdir()
    uids = [hashlib.md5(f"{row}".encode()).hexdigest() for row in range(300)]
    pq.write_table(pa.table({"uid": uids, "text": [f"caption {row}" for row in range(300)]}), folder / "a.parquet")
    arrays = {"l14_img": images * scales, "l14_txt": texts * scales}
    np.savez(folder / "a.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    return folder


@pytest.mark.parametrize("sections", SECTIONS.values(), ids=SECTIONS)
def test_equal_manifests_at_any_scale(run, tmp_path, sections):
    def manifest(name, scales):
        pool = write_pool(tmp_path / f"pool-{name}", scales)
        record = run(
            metadata_config(pool, tmp_path / name, **({"selection": {"variant": "paper", "keep": 0.3}} | sections))
        )
        assert record["totals"]["quarantined"] == 0
        return record["manifest_hash"]

    exact = 2.0 ** np.random.default_rng(2).integers(-66, 66, (300, 1))
    scales = {"once": 1.0, "short": 1e-5, "huge": 1e20, "mixed": exact}
    assert len({manifest(name, scale) for name, scale in scales.items()}) == 1
