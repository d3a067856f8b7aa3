"""The parquet format: a table of the kept samples with URLs, captions and all scores, as img2dataset downloads it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from filtering.core.formatting import counted
from filtering.exports.card import write_card
from filtering.exports.columns import Tables, json_fields, metadata_texts, rows_of, tables_of, text
from filtering.exports.job import Export, Written
from filtering.exports.options import PARQUET_ROWS
from filtering.exports.parquet_files import grouped, stamped, write_file
from filtering.exports.parts import Samples
from filtering.manifests.artifacts import REPEAT
from filtering.manifests.finished import Source
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

URL = "url"
OWN_SCORE = "clip_score"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is written where: a run's tables, with a column of URLs or without.

    `wide` are the scores that are stored as float64; `repeats`, whether samples have a number of repeats.
    """

    out: Store
    scratch: Store
    tables: Tables
    urls: bool
    wide: frozenset[str] = frozenset()
    repeats: bool = False

    def schema(self) -> pa.Schema:
        """Return the columns of every file."""
        urls = [(URL, pa.string())] if self.urls else []
        names = [(name, pa.string()) for name in ("caption", "uid", "key", "shard")]
        scores = [(OWN_SCORE, pa.float32()), *((name, self.kind(name)) for name in self.further())]
        sizes = [("width", pa.int32()), ("height", pa.int32())]
        return pa.schema(
            [
                *urls,
                *names,
                *sizes,
                *scores,
                ("concept", pa.int32()),
                ("score", pa.float32()),
                ("rank", pa.int64()),
                *([(REPEAT, pa.int32())] if self.repeats else []),
            ]
        )

    def kind(self, name: str) -> pa.DataType:
        """Return the type of the column of a further score."""
        return pa.float64() if name in self.wide else pa.float32()

    def further(self) -> dict[str, Store]:
        """Return the folders of the scores that are not in every run's rows, by name."""
        return {name: store for name, store in self.tables.scores if name != OWN_SCORE}


def export_parquet(export: Export) -> Written:
    """Write the files; return what the manifest says of them."""
    run, options = export.run, export.options
    wanted = Wanted(export.out, export.scratch, tables_of(run), not options.no_urls)
    sources = run.kept_sources()
    wanted = replace(wanted, wide=wanted.tables.wide(wanted.further(), sources), repeats=run.repeats)
    schema = stamped(wanted.schema(), run.record)
    groups = grouped(sources, (source.kept for source in sources), options.samples or PARQUET_ROWS)
    tasks = [task(f"part-{at:08d}", write_part, at, group, wanted, schema) for at, group in enumerate(groups)]
    counts = export.write(tasks, "files")
    kept = sum(counts)
    write_card(export, "parquet", "*.parquet", kept)
    facts = {"kept": kept, "files": len(counts), "objects": len(counts) + 2, "columns": schema.names}
    return Written(facts, f"{counted(kept, 'sample')} in {counted(len(counts), 'file')}")


def write_part(number: int, sources: Sequence[Source], wanted: Wanted, schema: pa.Schema) -> Samples:
    """Write the file of a number: the kept samples of some shards.

    Memory: the rows and scores of one shard, about 1 kB a row, what `kept_members` takes, and that of `write_file`.
    """
    tables = (_described(source, wanted).select(schema.names) for source in sources)
    return {"samples": write_file(number, tables, schema, wanted.out, wanted.scratch)}


def _described(source: Source, wanted: Wanted) -> pa.Table:
    rows = wanted.tables.rows(source, ["uid", "key", "caption", "width", "height", "source_row", OWN_SCORE, URL])
    chosen, stores = rows_of(source, rows), wanted.further()
    found = {name: wanted.tables.score(store, source, len(rows))[chosen] for name, store in stores.items()}
    kept, rows = source.table(), rows.take(pa.array(chosen))
    columns = {name: kept[name] for name in ("uid", "key", "shard", "concept", "score", "rank")}
    columns |= {REPEAT: kept[REPEAT]} if wanted.repeats else {}
    columns |= {name: rows[name] for name in ("caption", "width", "height", OWN_SCORE)}
    columns |= {name: pa.array(scores, wanted.kind(name)) for name, scores in found.items()}
    if wanted.urls:
        noted = URL in rows.column_names and rows[URL].null_count < len(rows)
        columns[URL] = rows[URL] if noted else _urls(source, rows, wanted)
    return pa.table(columns)


def _urls(source: Source, rows: pa.Table, wanted: Wanted) -> pa.Array | pa.ChunkedArray:
    """Return the URLs of rows that have none: as the pool says, which an older version did not note."""
    if wanted.tables.arrays is None:
        fields = json_fields(source, (URL,), wanted.tables.max_image_bytes)
        return pa.array([text(one.get(URL)) for one in fields], pa.string())
    places = rows["source_row"].to_numpy().astype(np.int64)
    return metadata_texts(source.shard, places, wanted.tables.url)
