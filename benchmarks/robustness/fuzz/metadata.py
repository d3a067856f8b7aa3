"""A parquet and an npz of DataComp metadata, read by the reader that a run uses."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.robustness.fuzz.kinds import Kind, most_common, must
from filtering.config.input import Arrays
from filtering.embedding.artifacts import QUARANTINE_NAME, ROWS_NAME
from filtering.embedding.metadata import MetadataReader
from filtering.shards.inventory import Shard, VectorFile, current
from filtering.shards.vectors import NpzVectors
from filtering.storage.store import Store
from filtering.storage.versions import ABSENT
from tests.support.pools import write_metadata

ROWS, DIMENSION = 40, 16


class Metadata(Kind):
    """A shard whose parquet or npz is put there by the kinds below."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        write_metadata(folder / "pool", [ROWS], DIMENSION)
        (self.table,) = (folder / "pool").glob("*.parquet")
        self.arrays = self.table.with_suffix(".npz")
        self.reader, self.store = MetadataReader(NpzVectors(Arrays())), Store(str(folder / "out"))
        self.names = ("l14_img", "l14_txt")

    def outcome(self) -> str:
        """Read the shard as it is now; every row must be among the rows or the quarantined ones."""
        shard = current(Shard(0, str(self.table), 0, "", (VectorFile(str(self.arrays), ABSENT),)))
        counts = self.reader(shard, self.store)
        rows = self.store.read_table(ROWS_NAME.format(shard.identity))
        quarantined = self.store.read_table(QUARANTINE_NAME.format(shard.identity))
        for name in (ROWS_NAME, QUARANTINE_NAME):
            self.store.delete(name.format(shard.identity))
        must(counts["samples"] == len(rows) + len(quarantined), "rows are neither taken nor quarantined")
        must(not any("\n" in detail for detail in quarantined["detail"].to_pylist()), "a detail has more than one line")
        must(bool(np.isfinite(rows["clip_score"].to_numpy()).all()), "a score is not finite")
        return most_common(quarantined["reason"].to_pylist())


def valid_arrays(dtype: str) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of an npz: those that are read, and one more."""
    random = np.random.default_rng(3)
    return {name: random.normal(size=(ROWS, DIMENSION)).astype(dtype) for name in ("l14_img", "b32_img", "l14_txt")}


def valid_columns() -> dict[str, pa.Array]:
    """Return the columns of a parquet, nested ones among them, with some nulls."""
    random = np.random.default_rng(4)
    texts = [f"caption {row % 7} \u732b" for row in range(ROWS)]
    return {
        "uid": pa.array([f"{row + 1:032x}" for row in range(ROWS)]),
        "url": pa.array([f"http://example.org/{row}" for row in range(ROWS)]),
        "text": pa.array(texts),
        "original_width": pa.array([256 + row for row in range(ROWS)], pa.int64()),
        "original_height": pa.array([None if row % 11 == 0 else 256.0 for row in range(ROWS)], pa.float64()),
        "clip_l14_similarity_score": pa.array(random.random(ROWS), pa.float32()),
        "face_bboxes": pa.array([[[0.5] * 4] * (row % 3) for row in range(ROWS)]),
        "extra": pa.array([{"a": row, "b": [str(row)]} for row in range(ROWS)]),
    }
