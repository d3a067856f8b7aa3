"""What workers do for the page: a pass over each shard, one over each partition, then the samples that are shown."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.objects import read_concept_centroids, read_homes
from filtering.concepts.partition import global_rows, shard_and_row
from filtering.embedding.images import decode_image
from filtering.exchange import runs
from filtering.filters.objects import PassingShard
from filtering.graph.csr import Int64Array
from filtering.graph.objects import read_graph
from filtering.graph.sharded import ShardGraph, inside_concept, positions
from filtering.manifests.objects import table_name
from filtering.report.bins import Counts, counted
from filtering.report.examples import concept_examples, covering_neighbours, near_duplicates
from filtering.report.layout import concept_map
from filtering.scores.objects import read_scores
from filtering.selection.objects import partition_picks
from filtering.selection.scores import read_collected
from filtering.shards.faults import Fault
from filtering.shards.samples import Sample, read_samples
from filtering.storage import Store, stream_object
from filtering.uids import sampled, uid_array

# From this cosine on two pictures count as near-duplicates.
DUPLICATE_COSINE = 0.99
PER_SHEET, GROUPS, PER_GROUP = 6, 12, 7
# Of a group those that are kept come first, but no more than these where others are not.
KEPT_PER_GROUP = 4
LOWEST, PER_REASON, PER_FAULT = 24, 8, 3
THUMBNAIL_PIXELS = 128
CAPTIONS_NAME, COUNTS_NAME, CONCEPTS_NAME = "{}.captions.parquet", "{}.counts.npz", "{:08d}.concepts.npz"
SHOWN_NAME, MAP_NAME = "{}.shown.parquet", "map.npz"
CAPTIONS = pa.schema([("concept", pa.int32()), ("caption", pa.string())])
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


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run's objects are that the page is made from.

    Attributes
    ----------
    run : its directory.
    concepts, graph, picks, store : the folders of the concepts, of the graph, of what is kept, of the page's objects.
    judged : where the scores are, by partition, that the last step judged by; None where no step judged.
    scores : where each score is, by name.
    """

    run: str
    concepts: str
    graph: str
    picks: str
    judged: str | None
    scores: Mapping[str, str]
    store: str


def survey_shard(shard: PassingShard, share: float, pictured: bool, places: Places) -> dict[str, Any]:
    """Count a shard's scores, sample its captions, and find what was dropped for the worst captions.

    Parameters
    ----------
    share : float
        Of the captions, sampled to name the concepts.
    pictured : bool
        Whether examples may come from this shard.
    """
    store, rows = Store(places.store), shard.embedded.rows(["uid", "caption", "clip_score"])
    reasons = _reasons(shard, rows["uid"], places.run)
    kept = np.asarray(reasons.is_null())
    scores = rows["clip_score"].to_numpy()
    found = {"clip_score": counted(scores, kept)}
    for name, url in places.scores.items():
        if name not in found:
            found[name] = counted(read_scores(Store(url), shard.identity), kept)
    store.write_arrays(COUNTS_NAME.format(shard.identity), _count_arrays(found))
    _write_captions(shard, rows, share, places)
    quarantined = Store(places.run).read_table(table_name("quarantined", shard.index)).to_pylist()
    return {
        "examples": few_by_reason(quarantined, PER_FAULT),
        **(_worst(shard, scores, reasons) if pictured else {"lowest": [], "filtered": {}}),
    }


def few_by_reason(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return the first rows of each reason, at most `most`, in the order of the reasons' first appearance."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        examples = found.setdefault(row["reason"], [])
        if len(examples) < most:
            examples.append(row)
    return [row for examples in found.values() for row in examples]


def _reasons(shard: PassingShard, uids: pa.ChunkedArray, run_url: str) -> pa.Array:
    """Return why each row of a shard is not kept, null where it is."""
    dropped = Store(run_url).read_table(table_name("dropped", shard.index), ["uid", "reason"])
    index = pc.index_in(uids, value_set=dropped["uid"].combine_chunks())
    selected = dropped["reason"].combine_chunks().take(index.combine_chunks())
    # The filters' reason first: a row whose uid occurred before has it, whatever became of the other.
    return pc.coalesce(shard.reasons().combine_chunks().cast(pa.string()), selected)


def _count_arrays(found: Mapping[str, Counts]) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{name}/{column}": getattr(counts, column)
        for name, counts in found.items()
        for column in ("key", "kept", "dropped")
    }


def read_counts(store: Store, identity: str) -> dict[str, Counts]:
    """Return how often each score's values occur in a shard."""
    arrays = store.read_arrays(COUNTS_NAME.format(identity))
    names = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    return {name: Counts(*(arrays[f"{name}/{column}"] for column in ("key", "kept", "dropped"))) for name in names}


def _write_captions(shard: PassingShard, rows: pa.Table, share: float, places: Places) -> None:
    having, homes = read_homes(Store(places.concepts), shard)
    chosen = sampled(uid_array(rows["uid"])[having], share, seed=2)
    columns = [pa.array(homes[chosen]), rows["caption"].take(pa.array(having[chosen]))]
    Store(places.store).write_table(CAPTIONS_NAME.format(shard.identity), pa.table(columns, schema=CAPTIONS))


def _worst(shard: PassingShard, scores: npt.NDArray[np.float32], reasons: pa.Array) -> dict[str, Any]:
    """Return the dropped rows of lowest CLIP score, and those of each filter, as global ids with their scores."""
    dropped = np.flatnonzero(np.asarray(reasons.is_valid()) & np.isfinite(scores))
    dropped = dropped[np.argsort(scores[dropped], kind="stable")]
    names = np.array(reasons.to_pylist(), dtype=object)[dropped]
    ids = global_rows(shard.index, dropped)
    by_filter = {name: names == name for name in sorted(set(names.tolist())) if name.startswith("filter:")}
    return {
        "lowest": _scored(scores[dropped], ids, LOWEST),
        "filtered": {name: _scored(scores[dropped][mask], ids[mask], PER_REASON) for name, mask in by_filter.items()},
    }


def _scored(scores: npt.NDArray[np.float32], ids: Int64Array, most: int) -> list[list[float]]:
    return [list(pair) for pair in zip(scores[:most].tolist(), ids[:most].tolist(), strict=True)]


def examine_partition(
    partition: int, chosen: Sequence[int], pictured: Sequence[int] | None, places: Places
) -> dict[str, Any]:
    """Write a line for each concept of a partition, and find examples of some, and the largest duplicate groups.

    Parameters
    ----------
    chosen : list of int
        The concepts of which examples are shown.
    pictured : list of int or None
        The shards whose pictures are read; None where there are none at all, and any sample will do.
    """
    part = read_graph(Store(places.graph), partition)
    if part is None:
        return {"sheets": {}, "groups": [], "rows": {}, "concepts": 0}
    found = _Examined(part, partition, places, pictured)
    lines, sheets = [], {}
    for members in runs(part.concept):
        concept = int(part.concept[members.start])
        lines.append((concept, *found.line(members)))
        if concept in chosen:
            sheets[str(concept)] = found.sheet(members)
    columns = [np.array(column) for column in zip(*lines, strict=True)]
    arrays = dict(zip(("concept", "kept", "difficulty", "duplicates"), columns, strict=True))
    Store(places.store).write_arrays(CONCEPTS_NAME.format(partition), arrays)
    return {"sheets": sheets, "groups": found.groups(), "rows": found.rows, "concepts": len(lines)}


class _Examined:
    """A partition, with what is known of its rows.

    Attributes
    ----------
    rows : of each row that is shown, by global id: score, rank (-1: not kept), covering neighbour (-1: none), cosine.
    """

    def __init__(self, part: ShardGraph, partition: int, places: Places, pictured: Sequence[int] | None) -> None:
        self.part = part
        picks = partition_picks(Store(places.picks), partition)
        self.ranks = np.full(len(part.row), -1, dtype=np.int64)
        self.ranks[positions(part.row, np.ascontiguousarray(picks["row"]))] = picks["rank"]
        self.scores = _judged(part, partition, places)
        shards = shard_and_row(part.row)[0]
        self.eligible = np.ones(len(part.row), dtype=bool) if pictured is None else np.isin(shards, pictured)
        self.duplicated, self.group = near_duplicates(part, DUPLICATE_COSINE)
        self.rows: dict[str, list[float]] = {}

    def line(self, members: slice) -> tuple[int, float, int]:
        """Return how many of a concept are kept, their mean score, and how many have a near-duplicate."""
        scores = self.scores[members]
        scores = scores[np.isfinite(scores)]
        mean = float(scores.mean()) if len(scores) else float("nan")
        return int((self.ranks[members] >= 0).sum()), mean, int(self.duplicated[members].sum())

    def sheet(self, members: slice) -> dict[str, list[int]]:
        """Return the rows of a concept's sheet, global ids."""
        ranks, rows = self.ranks[members], self.part.row[members]
        found = concept_examples(self.scores[members], ranks, self.eligible[members], PER_SHEET)
        near, cosines = covering_neighbours(inside_concept(self.part, members), ranks >= 0)
        parts = {name: getattr(found, name) for name in ("kept", "dropped", "hardest", "easiest")}
        for place in np.concatenate(list(parts.values())).tolist():
            covered = near[place] >= 0 and ranks[place] < 0
            cover = (int(rows[near[place]]), round(float(cosines[place]), 4)) if covered else (-1, 0.0)
            self._show(members.start + place, *cover)
        return {name: rows[places].tolist() for name, places in parts.items()}

    def groups(self) -> list[dict[str, Any]]:
        """Return the partition's largest groups of near-duplicates, with some of their rows, kept ones first."""
        labels, sizes = np.unique(self.group, return_counts=True)
        order = np.lexsort((labels, -sizes))[:GROUPS]
        return [self._group(int(labels[at]), int(sizes[at])) for at in order if sizes[at] > 1]

    def _group(self, label: int, size: int) -> dict[str, Any]:
        members = np.flatnonzero(self.group == label)
        kept = self.ranks[members] >= 0
        order = members[np.lexsort((members, ~self.eligible[members], ~kept))]
        first = min(int(kept.sum()), max(KEPT_PER_GROUP, PER_GROUP - int((~kept).sum())))
        shown = np.concatenate([order[:first], order[kept.sum() :]])[:PER_GROUP]
        for place in shown.tolist():
            self._show(place)
        concept = int(self.part.concept[label])
        return {"concept": concept, "size": size, "kept": int(kept.sum()), "rows": self.part.row[shown].tolist()}

    def _show(self, place: int, cover: int = -1, alike: float = 0.0) -> None:
        row = str(int(self.part.row[place]))
        if cover >= 0 or row not in self.rows:
            self.rows[row] = [float(self.scores[place]), int(self.ranks[place]), cover, alike]


def _judged(part: ShardGraph, partition: int, places: Places) -> npt.NDArray[np.float64]:
    """Return the score of each row of a partition, float64 (n,), NaN where an earlier step had left it out."""
    scores = np.full(len(part.row), np.nan)
    if places.judged is not None:
        held = read_collected(Store(places.judged), partition)
        scores[positions(part.row, np.ascontiguousarray(held["row"]))] = held["score"]
    return scores


def fetch_samples(shard: PassingShard, rows: Sequence[int], pictured: bool, places: Places) -> dict[str, int]:
    """Write what the page shows of some rows of a shard, with their pictures if those are to be read."""
    table = shard.embedded.rows(["uid", "key", "caption", "clip_score"])
    reasons = pa.chunked_array([_reasons(shard, table["uid"], places.run)])
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
