"""The columns of the table format: which there are, which are meant by default, and what they are read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import pyarrow as pa

from filtering.config.validation import nearest
from filtering.core import schemas
from filtering.core.errors import InputError
from filtering.core.schemas import beside_rows
from filtering.core.uid_rule import UidRule, canonical_url
from filtering.embedding.image_files import embeds_images_alone
from filtering.exports.columns import Tables, tables_of
from filtering.exports.options import ALL, Options
from filtering.manifests.artifacts import KINDS, REPEAT, Kind
from filtering.manifests.finished import FinishedRun
from filtering.runtime.run_record import stage_folder
from filtering.scores.registry import SCORERS
from filtering.storage.store import Store

SCORE, CONCEPT, OWN_SCORE = "score", "concept", "clip_score"
# What the tables of the manifest say, with the shard's name in the pool beside its URL.
OWN: Mapping[str, pa.DataType] = {
    **{name: pa.string() for name in ("uid", "key", "shard", "shard_url", "status", "reason", "member", "detail")},
    CONCEPT: pa.int32(),
    SCORE: pa.float32(),
    "rank": pa.int64(),
}
# What the rows of embedded shards say, of kept and of dropped samples.
OF_ROWS: Mapping[str, pa.DataType] = {
    name: schemas.ROWS.field(name).type for name in ("caption", "url", "width", "height", "sha256", OWN_SCORE)
}
DEFAULT = ("uid", "key", "shard", "status", "reason", CONCEPT, SCORE, "rank")
# Columns that samples of one status have.
ONLY: Mapping[str, Kind] = {"rank": "kept", REPEAT: "kept", "member": "quarantined", "detail": "quarantined"}
# Columns that quarantined samples lack.
LACKING = (CONCEPT, SCORE, *OF_ROWS)


@dataclass(frozen=True, slots=True)
class Joined:
    """What a table's columns are read from.

    `concepts` and `last` are the folders of the concepts, and of the score that the last step of selection read: the
    manifest has both of kept samples alone. None where they are not asked for, or not known.
    """

    types: Mapping[str, pa.DataType]  # of the columns, in their order
    tables: Tables
    of_rows: tuple[str, ...]  # the columns that the rows of shards hold
    scores: Mapping[str, Store]
    concepts: Store | None
    last: Store | None

    @property
    def reads_rows(self) -> bool:
        """Whether more is read of a shard than the tables of the manifest."""
        return bool(self.scores or self.concepts or self.last or self.of_rows)


def statuses_of(status: str | None) -> tuple[Kind, ...]:
    """Return the statuses whose samples are written."""
    return tuple(kind for kind in KINDS if status in (None, ALL, kind))


def names_of(run: FinishedRun, options: Options) -> tuple[str, ...]:
    """Return the columns that are written; InputError if the run, or every sample of the status, lacks one."""
    statuses = statuses_of(options.status)
    if options.columns is None:
        return tuple(name for name in DEFAULT if not _lacked(name, statuses))
    names = tuple(name.strip() for name in options.columns.split(","))
    known = (*OWN, *([REPEAT] if run.repeats else []), *_of_rows(run), *_scores(tables_of(run)))
    for name in names:
        if name not in known:
            raise InputError(_unknown(name, known, [OWN_SCORE, *_scores(tables_of(run))]))
        if names.count(name) > 1:
            raise InputError(f"--columns: {name} is given {names.count(name)} times; give it once")
        if _lacked(name, statuses):
            raise InputError(f"--columns: {name} is not known of {statuses[0]} samples; leave it out, or give --status")
    return names


def _lacked(name: str, statuses: Sequence[Kind]) -> bool:
    """Return whether no sample of some statuses has a column."""
    if statuses == ("quarantined",):
        return name not in OWN or name in (*LACKING, "uid", "rank")
    return len(statuses) == 1 and ONLY.get(name, statuses[0]) != statuses[0]


def _unknown(name: str, known: Sequence[str], scores: Sequence[str]) -> str:
    if name in SCORERS:
        return f"--columns: no step of this run read the score {name}; the scores of this run are {', '.join(scores)}"
    return f"--columns: unknown column {name}; the columns of this run are {', '.join(known)}{nearest(name, known)}"


def _of_rows(run: FinishedRun) -> Mapping[str, pa.DataType]:
    """Return the columns of a run's rows that may be asked for: of samples, and what stands beside them."""
    source, embedding = run.record["config"]["input"], run.record["config"]["embedding"]
    signals = () if run.from_metadata else embedding.get("signals", ())
    encoders = {} if run.from_metadata else embedding.get("encoders", {})
    scored = [name for name, encoder in encoders.items() if not embeds_images_alone(encoder["model"])]
    beside = beside_rows(signals, source.get("fields", ()), scored)
    return {**OF_ROWS, **dict(zip(beside.names, beside.types, strict=True))}


def _scores(tables: Tables) -> dict[str, Store]:
    """Return the folders of the scores that are no column of rows, by column."""
    return {name: store for name, store in tables.scores if name not in OF_ROWS and name not in OWN}


def joined_of(run: FinishedRun, names: Sequence[str], statuses: Sequence[Kind]) -> Joined:
    """Return what some columns are read from."""
    tables, more = tables_of(run), "dropped" in statuses
    scores = {name: store for name, store in _scores(tables).items() if name in names}
    wide = tables.wide(scores, run.sources)
    of_rows = {name: kind for name, kind in _of_rows(run).items() if name in names and name not in scores}
    types = {
        **OWN,
        REPEAT: pa.int32(),
        **of_rows,
        **{name: pa.float64() if name in wide else pa.float32() for name in scores},
    }
    concepts = stage_folder(run.store, run.record, "concepts") if more and CONCEPT in names else None
    last = _last(run) if more and SCORE in names else None
    return Joined({name: types[name] for name in names}, tables, tuple(of_rows), scores, concepts, last)


def _last(run: FinishedRun) -> Store | None:
    """Return the folder of the score that the last step of selection read; None if it read none that run.json lists."""
    steps = run.record.get("steps", [])
    folder = run.record.get("scores", {}).get(steps[-1]["score"]) if steps else None
    return run.store.child(folder) if folder else None


def pool_names(run: FinishedRun) -> list[str]:
    """Return the name of each shard of a run: below `input.root`, else below the folder that holds all shards."""
    places = [canonical_url(source.shard.url) for source in run.sources]
    root = UidRule.recorded(run.record).root or _shared([place.rpartition("/")[0].split("/") for place in places])
    return [place.removeprefix(root.rstrip("/") + "/") for place in places]


def _shared(folders: Sequence[Sequence[str]]) -> str:
    """Return the folder that holds all folders, each as its parts."""
    parts = list(folders[0])
    for folder in folders[1:]:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, folder, strict=False)))
        del parts[same:]
    return "/".join(parts)
