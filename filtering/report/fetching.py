"""The samples that the report shows, with their images, and the positions of concepts on the map."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.artifacts import read_centroids_of, read_homes
from filtering.concepts.partition import global_rows
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import read_split
from filtering.report.layout import concept_map
from filtering.report.locations import Locations
from filtering.report.survey import drop_reasons
from filtering.report.thumbnails import quarantined_images, sample_images
from filtering.scores.artifacts import read_scores
from filtering.storage.store import Store

SHOWN_NAME, QUARANTINED_NAME, MAP_NAME = "{}.shown.parquet", "{}.quarantine.parquet", "map.npz"
SHOWN = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("shard", pa.string()),
        ("clip_score", pa.float32()),
        ("reason", pa.string()),
        ("rank", pa.int64()),
        ("concept", pa.int32()),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("jpeg", pa.binary()),
    ]
)
QUARANTINED = pa.schema([("key", pa.string()), ("caption", pa.string()), ("jpeg", pa.binary())])


class ShownRow(TypedDict):
    """A line of SHOWN: a sample as the report shows it; rank -1 if it is not kept, concept None if it has none."""

    row: int
    uid: str
    key: str
    caption: str
    shard: str
    clip_score: float
    reason: str | None
    rank: int
    concept: int | None
    scores: dict[str, float]
    jpeg: bytes | None


class QuarantinedImage(TypedDict):
    """A line of QUARANTINED: the image of a sample that could not be used, and its caption, which may be empty."""

    key: str
    caption: str
    jpeg: bytes


def fetch_samples(shard: PassingShard, rows: Sequence[int], pictured: bool, locations: Locations) -> None:
    """Write the samples of a shard that the report shows, with their images if `pictured`."""
    table = shard.embedded.rows(["uid", "key", "caption", "clip_score"])
    reasons = pa.chunked_array([drop_reasons(shard, table["uid"], locations.run)])
    chosen, at = pa.array(rows), np.asarray(rows, dtype=np.int64)
    taken, keys = table.take(chosen), table["key"].take(chosen).to_pylist()
    images = sample_images(shard.embedded, set(keys)) if pictured else {}
    columns = {name: taken[name] for name in taken.column_names} | {
        "row": pa.array(global_rows(shard.index, at)),
        "shard": pa.array([shard.embedded.shard.name] * len(rows)),
        "reason": (found := reasons.take(chosen)),
        "rank": _ranks(shard, taken["uid"], found, locations),
        "concept": _homes(shard, at, locations),
        "scores": pa.array(_scores(shard, at, locations), SHOWN.field("scores").type),
        "jpeg": pa.array([images.get(key) for key in keys], pa.binary()),
    }
    shown = pa.table([columns[name] for name in SHOWN.names], schema=SHOWN)
    locations.store.write_table(SHOWN_NAME.format(shard.identity), shown)


def _ranks(shard: PassingShard, uids: pa.ChunkedArray, reasons: pa.ChunkedArray, locations: Locations) -> pa.Array:
    """Return the ranks of samples among the picks of their concepts, -1 of those that are not kept."""
    kept = read_split(locations.run, "kept", shard.index, ["uid", "rank"])
    at = pc.index_in(uids, value_set=kept["uid"].combine_chunks()).combine_chunks()
    ranks = kept["rank"].combine_chunks().take(at)
    # Of a repeated uid only the first sample can be kept.
    return pc.if_else(reasons.combine_chunks().is_null(), ranks.fill_null(-1), -1)


def _homes(shard: PassingShard, rows: npt.NDArray[np.int64], locations: Locations) -> pa.Array:
    """Return the concepts of some rows, null of those that have none."""
    having, homes = read_homes(locations.concepts, shard)
    return pa.array(homes, pa.int32()).take(pc.index_in(pa.array(rows), value_set=pa.array(having, pa.int64())))


def _scores(shard: PassingShard, rows: npt.NDArray[np.int64], locations: Locations) -> list[list[tuple[str, float]]]:
    """Return the names and values of the finite scores of some rows."""
    columns = {name: read_scores(folder, shard.identity)[rows] for name, folder in locations.scores.items()}
    named = [[(name, float(column[at])) for name, column in columns.items()] for at in range(len(rows))]
    return [[(name, value) for name, value in pairs if np.isfinite(value)] for pairs in named]


def read_shown(store: Store, identities: Sequence[str]) -> Mapping[int, ShownRow]:
    """Return the samples that `fetch_samples` wrote for some shards, by their global row id."""
    tables = [store.read_table(SHOWN_NAME.format(identity)) for identity in identities]
    rows = pa.concat_tables([*tables, SHOWN.empty_table()]).to_pylist()
    return {row["row"]: _shown(row) for row in rows}


def _shown(row: dict[str, Any]) -> ShownRow:
    return cast(ShownRow, row | {"scores": dict(row["scores"])})


def fetch_quarantined(shard: PassingShard, keys: Sequence[str], store: Store) -> None:
    """Write the images of quarantined samples of a shard, as far as they can be decoded, and their captions."""
    found = quarantined_images(shard.embedded, keys)
    rows = [QuarantinedImage(key=key, caption=caption, jpeg=jpeg) for key, (caption, jpeg) in found.items()]
    table = pa.Table.from_pylist(rows, schema=QUARANTINED)
    store.write_table(QUARANTINED_NAME.format(shard.identity), table)


def read_quarantined(store: Store, identity: str) -> dict[str, QuarantinedImage]:
    """Return what `fetch_quarantined` wrote for a shard, by key."""
    return {row["key"]: row for row in store.read_table(QUARANTINED_NAME.format(identity)).to_pylist()}


def lay_out(concepts: Sequence[int], locations: Locations) -> None:
    """Write the positions of some concepts on the map."""
    centroids = read_centroids_of(locations.concepts, np.asarray(concepts, dtype=np.int64))
    locations.store.write_arrays(MAP_NAME, {"places": concept_map(centroids)})


def read_map(store: Store) -> list[tuple[float, float]]:
    """Return the positions that `lay_out` wrote, x and y of each concept, between 0 and 1."""
    return [(x, y) for x, y in store.read_arrays(MAP_NAME)["places"].tolist()]
