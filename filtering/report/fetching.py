"""The samples that the report shows, with their images, and the positions of concepts on the map."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concept_centroids
from filtering.concepts.partition import global_rows
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.images import decode_image
from filtering.filters.artifacts import PassingShard
from filtering.report.layout import concept_map
from filtering.report.locations import Locations
from filtering.report.survey import drop_reasons
from filtering.shards.faults import Fault
from filtering.shards.grouping import Group
from filtering.shards.inventory import check_shard
from filtering.shards.members import MissingSamplesError, groups_at, groups_by_key, limits_of_keys
from filtering.shards.samples import Sample, member_limits, sample_of
from filtering.storage.store import Store

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


class ShownRow(TypedDict):
    """A line of SHOWN: a sample as the report shows it."""

    row: int
    uid: str
    key: str
    caption: str
    shard: str
    clip_score: float
    reason: str | None
    jpeg: bytes | None


def fetch_samples(shard: PassingShard, rows: Sequence[int], pictured: bool, locations: Locations) -> None:
    """Write the samples of a shard that the report shows, with their images if `pictured`."""
    table = shard.embedded.rows(["uid", "key", "caption", "clip_score"])
    reasons = pa.chunked_array([drop_reasons(shard, table["uid"], locations.run)])
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
    locations.store.write_table(SHOWN_NAME.format(shard.identity), shown)


def read_shown(store: Store, identities: Sequence[str]) -> Mapping[int, ShownRow]:
    """Return the samples that `fetch_samples` wrote for some shards, by their global row id."""
    tables = [store.read_table(SHOWN_NAME.format(identity)) for identity in identities]
    return {row["row"]: row for row in pa.concat_tables([*tables, SHOWN.empty_table()]).to_pylist()}


def _pictures(shard: PassingShard, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield small images of the wanted keys; for a repeated key, of the first sample."""
    url = shard.embedded.shard.url
    # Samples that are not there any more are shown without their images.
    with contextlib.suppress(MissingSamplesError):
        for group in _groups(shard.embedded, sorted(wanted)):
            entry = sample_of(group, url)
            if isinstance(entry, Sample) and (picture := _thumbnail(entry)):
                yield entry.key, picture


def _groups(embedded: EmbeddedShard, keys: Sequence[str]) -> Iterator[Group]:
    """Yield the members of samples: from where they stood in the shard, or by their keys if that is not known."""
    shard, limit_of = embedded.shard, member_limits()
    # Other samples than those that were selected may stand under their keys by now.
    check_shard(shard)
    offsets = embedded.offsets()
    wanted = offsets.wanted(keys) if offsets else None
    if wanted is None:
        return groups_by_key(shard.url, keys, limits_of_keys(set(keys), limit_of))
    return groups_at(shard, wanted, limit_of)


def _thumbnail(sample: Sample) -> bytes | None:
    decoded = decode_image(sample.image, draft_side=THUMBNAIL_PIXELS)
    if isinstance(decoded, Fault):
        return None
    image = decoded.image.convert("RGB")
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def lay_out(concepts: Sequence[int], locations: Locations) -> None:
    """Write the positions of some concepts on the map."""
    centroids = read_concept_centroids(locations.concepts)[np.asarray(concepts, dtype=np.int64)]
    locations.store.write_arrays(MAP_NAME, {"places": concept_map(centroids)})


def read_map(store: Store) -> list[tuple[float, float]]:
    """Return the positions that `lay_out` wrote, x and y of each concept, between 0 and 1."""
    return [(x, y) for x, y in store.read_arrays(MAP_NAME)["places"].tolist()]
