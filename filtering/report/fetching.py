"""The samples that the page shows, with their pictures, and where concepts stand on the map."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concept_centroids
from filtering.concepts.partition import global_rows
from filtering.embedding.images import decode_image
from filtering.filters.artifacts import PassingShard
from filtering.report.layout import concept_map
from filtering.report.locations import Places
from filtering.report.survey import drop_reasons
from filtering.shards.faults import Fault
from filtering.shards.samples import Sample, read_samples
from filtering.storage.store import Store, stream_object

THUMBNAIL_PIXELS = 128
SHOWN_NAME, MAP_NAME = "{}.shown.parquet", "map.npz"
SHOWN = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("shard", pa.string()),
        ("clip_score", pa.float32()),
        ("reason", pa.string()),
        ("jpeg", pa.binary()),
    ]
)


def fetch_samples(shard: PassingShard, rows: Sequence[int], pictured: bool, places: Places) -> dict[str, int]:
    """Write what the page shows of some rows of a shard, with their pictures if those are to be read."""
    table = shard.embedded.rows(["uid", "key", "caption", "clip_score"])
    reasons = pa.chunked_array([drop_reasons(shard, table["uid"], places.run)])
    chosen = pa.array(rows)
    taken, keys = table.take(chosen), table["key"].take(chosen).to_pylist()
    pictures = dict(_pictures(shard, set(keys))) if pictured else {}
    columns = {name: taken[name] for name in taken.column_names} | {
        "row": pa.array(global_rows(shard.index, np.asarray(rows))),
        "shard": pa.array([shard.embedded.shard.name] * len(rows)),
        "reason": reasons.take(chosen),
        "jpeg": pa.array([pictures.get(key) for key in keys], pa.binary()),
    }
    shown = pa.table([columns[name] for name in SHOWN.names], schema=SHOWN)
    Store(places.store).write_table(SHOWN_NAME.format(shard.identity), shown)
    return {"pictures": len(pictures)}


def _pictures(shard: PassingShard, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield small pictures of the wanted keys; of a key that repeats, the first."""
    left = set(wanted)
    with stream_object(shard.embedded.shard.url) as stream:
        for entry in read_samples(stream, shard.embedded.shard.name):
            if isinstance(entry, Sample) and entry.key in left:
                left.discard(entry.key)
                if picture := _thumbnail(entry):
                    yield entry.key, picture
            if not left:
                break


def _thumbnail(sample: Sample) -> bytes | None:
    decoded = decode_image(sample.image, draft_side=THUMBNAIL_PIXELS)
    if isinstance(decoded, Fault):
        return None
    image = decoded.image.convert("RGB")
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def lay_out(concepts: Sequence[int], places: Places) -> dict[str, int]:
    """Write where some concepts stand on the map."""
    centroids = read_concept_centroids(Store(places.concepts))[np.asarray(concepts, dtype=np.int64)]
    Store(places.store).write_arrays(MAP_NAME, {"places": concept_map(centroids)})
    return {"concepts": len(concepts)}
