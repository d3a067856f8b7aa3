"""Small files of metadata."""

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(tmp_path, **columns):
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table(columns), path)
    return path


UIDS = ["0" * 32, "f" * 32]
