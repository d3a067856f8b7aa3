"""What a finished run left of its samples: rows, scores, concepts, picks."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concepts, read_homes
from filtering.concepts.partition import shard_and_row
from filtering.core.errors import InputError
from filtering.explanations.explanation import SeenSample
from filtering.explanations.find import AT_ONCE
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import REPORT_DATA
from filtering.manifests.finished import FinishedRun, read_finished
from filtering.manifests.written import read_report
from filtering.report.data import parse_report
from filtering.runtime.run_record import RunRecord, stage_folder
from filtering.scores.artifacts import read_scores
from filtering.storage.store import Store

COLUMNS = ["uid", "key", "caption", "width", "height", "clip_score"]


class Sources:
    """A finished run as explanations read it; InputError if it is not finished, or an older version wrote it."""

    def __init__(self, run: Store) -> None:
        self.finished: FinishedRun = read_finished(run, rows="needed")
        if not self.record.keys() >= {"filters", "steps", "scores"}:
            raise InputError(f"{run.url}: an older version of filtering wrote it; run it again to have it explained")

    @property
    def run(self) -> Store:
        """The run's directory."""
        return self.finished.store

    @property
    def record(self) -> RunRecord:
        """The run's run.json."""
        return self.finished.record

    def folder(self, stage: str) -> Store:
        """Return the folder of a stage's objects."""
        return stage_folder(self.run, self.record, stage)

    def shard(self, at: int) -> PassingShard:
        """Return the shard at a place of the inventory."""
        return PassingShard(self.finished.sources[at].embedded(self.finished.arrays), self.folder("filters"))

    def scores(self, at: int, row: int) -> dict[str, float]:
        """Return the scores of a row of the shard at a place, by name, as far as it has them."""
        folders: Mapping[str, str] = self.record["scores"]
        shard = self.finished.sources[at].shard
        found = {name: float(read_scores(self.run.child(f), shard.identity)[row]) for name, f in folders.items()}
        return {name: score for name, score in found.items() if np.isfinite(score)}

    def home(self, at: int, row: int) -> int:
        """Return the concept of a row that passed the filters."""
        rows, concepts = read_homes(self.folder("concepts"), self.shard(at))
        return int(concepts[np.searchsorted(rows, row)])

    @cached_property
    def concepts(self) -> pa.Table:
        """The table `tables.CONCEPTS`."""
        return read_concepts(self.folder("concepts"))

    def words(self, concept: int) -> tuple[str, ...]:
        """Return the distinctive words of a concept, as far as the page has them."""
        if not self.run.exists(REPORT_DATA):
            return ()
        data = read_report(self.run, self.record, REPORT_DATA)
        rows = parse_report(data, self.run.path(REPORT_DATA)).concepts
        return next((row.words for row in rows if row.concept == concept), ())

    def samples(self, ids: Sequence[int]) -> list[SeenSample]:
        """Return what is known of rows, by their global ids."""
        places, rows = (part.tolist() for part in shard_and_row(np.asarray(ids, dtype=np.int64)))
        needed = sorted(set(places))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            tables = dict(zip(needed, threads.map(self._tables, needed), strict=True))
        return [self._seen(tables[at], at, row) for at, row in zip(places, rows, strict=True)]

    def _tables(self, at: int) -> tuple[pa.Table, dict[str, int]]:
        kept = self.finished.manifest.table("kept", at, ["uid", "rank"])
        ranks = dict(zip(kept["uid"].to_pylist(), kept["rank"].to_pylist(), strict=True))
        return self.shard(at).embedded.rows(["uid", "key", "caption"]), ranks

    def _seen(self, tables: tuple[pa.Table, dict[str, int]], at: int, row: int) -> SeenSample:
        rows, ranks = tables
        line = rows.slice(row, 1).to_pylist()[0]
        shard, rank = self.finished.sources[at].shard.name, ranks.get(line["uid"])
        return SeenSample(
            uid=line["uid"], key=line["key"], shard=shard, caption=line["caption"], kept=rank is not None, rank=rank
        )
