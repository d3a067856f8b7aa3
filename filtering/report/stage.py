"""The report stage: survey shards and partitions, fetch the samples that are shown, write the page and its data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from filtering.concepts.artifacts import read_concepts
from filtering.concepts.partition import shard_and_row
from filtering.config.run import Config
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import PAGE_DATA, REPORT
from filtering.report import assembly
from filtering.report.bins import binned
from filtering.report.data import Page, page_bytes
from filtering.report.decision import decisions, judging_step
from filtering.report.examining import DUPLICATE_COSINE, ConceptLine, examine_partition, read_lines
from filtering.report.facts import base_facts, commands, dropped_in_order, graph_facts
from filtering.report.fetching import MAP_NAME, SHOWN, SHOWN_NAME, fetch_samples, lay_out
from filtering.report.locations import Places
from filtering.report.measures import measure_rows
from filtering.report.page import render
from filtering.report.parts import ConceptRow, Histogram, StageCost
from filtering.report.survey import TOGETHER, merge_surveys, read_captions, survey_shard, total_counts
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.scores.registry import SCORERS
from filtering.selection.artifacts import BUDGETS_NAME
from filtering.storage.store import Store

VERSION = 3
# The page stays small whatever the pool's size: examples come from this many shards, and as many more are read for the
# neighbours and duplicates of these.
PICTURED_SHARDS, MORE_SHARDS = 32, 32
# Captions that name the concepts: so many of each on average, but so many in all at least and at most.
CAPTIONS_A_CONCEPT, LEAST_CAPTIONS, MOST_CAPTIONS = 16, 20_000, 200_000


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The size of the report, in bytes."""

    bytes: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{REPORT}, {self.bytes / 1e6:.1f} MB"


def report_key(config: Config, manifests: str) -> StageKey:
    """Return the stage's identity."""
    return StageKey("report", VERSION, config.resolved(), (manifests,))


def write_report(
    stage: StageRun, config: Config, shards: Sequence[PassingShard], run: Mapping[str, Any], partitions: int
) -> ReportResult:
    """Write report/index.html and report/page.json; return the page's size.

    Parameters
    ----------
    run : mapping
        Its run.json as far as it is known.
    partitions : int
        How many there are.
    """
    found = _Found.of(stage, config, shards, run, partitions)
    page = _page(stage, config, run, found)
    stage.runtime.store.write(PAGE_DATA, page_bytes(page))
    data = render(page).encode()
    stage.runtime.store.write(REPORT, data)
    return ReportResult(len(data))


def _places(stage: StageRun, run: Mapping[str, Any]) -> Places:
    store, objects = stage.runtime.store, run["objects"]
    step = judging_step(run)
    return Places(
        run=store.url,
        concepts=store.path(objects["concepts"]),
        graph=store.path(objects["graph"]),
        picks=store.path(objects["selection"]),
        judged=store.path(step["folder"]) if step else None,
        scores={name: store.path(folder) for name, folder in run["scores"].items()},
        store=stage.store.url,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the workers found, in the order of shards and of partitions, and the samples that are shown."""

    shards: Sequence[PassingShard]
    places: Places
    together: Sequence[str]
    concepts: pa.Table
    surveys: Sequence[Mapping[str, Any]]
    parts: Sequence[Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    filtered: Mapping[str, Sequence[int]]
    samples: assembly.Samples
    pictured: int

    @classmethod
    def of(
        cls, stage: StageRun, config: Config, shards: Sequence[PassingShard], run: Mapping[str, Any], partitions: int
    ) -> "_Found":
        places, together = _places(stage, run), _groups([shard.identity for shard in shards])
        concepts = read_concepts(Store(places.concepts))
        pictured = _spread(shards) if config.input.shards is not None else []
        share = _caption_share(len(concepts), run)
        surveys = _surveyed(stage, shards, together, share, set(pictured), places)
        chosen = assembly.sheet_concepts(concepts["size"].to_numpy())
        tasks = [
            task(f"examine-{n:08d}", examine_partition, n, chosen, pictured or None, places) for n in range(partitions)
        ]
        parts = stage.map(tasks, "partitions examined")
        groups, filtered = assembly.largest_groups(parts), assembly.filtered_rows(surveys, list(run["reasons"]["dropped"]))
        wanted = _wanted(parts, groups, filtered, assembly.lowest_rows(surveys))
        pictured = [*pictured, *_more(wanted, pictured)] if pictured else []
        shown = _fetched(stage, shards, wanted, set(pictured), places)
        judged = {int(row): values for part in parts for row, values in part["rows"].items()}
        samples = assembly.Samples(shown, judged)
        return cls(shards, places, list(together), concepts, surveys, parts, groups, filtered, samples, len(pictured))


def _spread(shards: Sequence[PassingShard]) -> list[int]:
    """Return the places of some shards, evenly over the inventory, from which examples are taken."""
    return np.unique(np.linspace(0, len(shards) - 1, PICTURED_SHARDS).astype(int)).tolist() if shards else []


def _caption_share(concepts: int, run: Mapping[str, Any]) -> float:
    wanted = min(max(LEAST_CAPTIONS, CAPTIONS_A_CONCEPT * concepts), MOST_CAPTIONS)
    return float(wanted / max(run["graph"]["nodes"], 1))


def _surveyed(
    stage: StageRun,
    shards: Sequence[PassingShard],
    together: Mapping[str, Sequence[str]],
    share: float,
    pictured: set[int],
    places: Places,
) -> list[dict[str, Any]]:
    tasks = [
        task(f"survey-{shard.identity}", survey_shard, shard, share, not pictured or shard.index in pictured, places)
        for shard in shards
    ]
    found = stage.map(tasks, "shards surveyed")
    tasks = [task(name, merge_surveys, names, name, places) for name, names in together.items()]
    stage.map(tasks, "groups of shards")
    return found


def _groups(identities: Sequence[str]) -> dict[str, list[str]]:
    """Return which shards' surveys are put together, by the name under which they are."""
    starts = range(0, len(identities), TOGETHER)
    return {f"together-{at:08d}": list(identities[start : start + TOGETHER]) for at, start in enumerate(starts)}


def _wanted(
    parts: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    filtered: Mapping[str, Sequence[int]],
    lowest: Sequence[int],
) -> dict[int, list[int]]:
    """Return the rows that are shown, covering neighbours among them, by the place of their shard."""
    sheets = [row for part in parts for sheet in part["sheets"].values() for rows in sheet.values() for row in rows]
    covers = {int(row): int(values[2]) for part in parts for row, values in part["rows"].items()}
    rows = {*sheets, *lowest, *(row for group in groups for row in group["rows"])}
    rows |= {row for chosen in filtered.values() for row in chosen}
    rows |= {covers[row] for row in sheets if covers[row] >= 0}
    ids = np.array(sorted(rows), dtype=np.int64)
    wanted: dict[int, list[int]] = {}
    for shard, row in zip(*(part.tolist() for part in shard_and_row(ids)), strict=True):
        wanted.setdefault(shard, []).append(row)
    return wanted


def _more(wanted: Mapping[int, Sequence[int]], pictured: Sequence[int]) -> list[int]:
    """Return further shards to read for pictures: those that hold most of what is shown without one."""
    missing = Counter({shard: len(rows) for shard, rows in wanted.items() if shard not in set(pictured)})
    return [shard for shard, _ in missing.most_common(MORE_SHARDS)]


def _fetched(
    stage: StageRun,
    shards: Sequence[PassingShard],
    wanted: Mapping[int, Sequence[int]],
    pictured: set[int],
    places: Places,
) -> dict[int, dict[str, Any]]:
    here = [shard for shard in shards if shard.index in wanted]
    tasks = [
        task(f"fetch-{shard.identity}", fetch_samples, shard, wanted[shard.index], shard.index in pictured, places)
        for shard in here
    ]
    stage.map(tasks, "shards read for examples")
    tables = [stage.store.read_table(SHOWN_NAME.format(shard.identity)) for shard in here]
    return {row["row"]: row for row in pa.concat_tables([*tables, SHOWN.empty_table()]).to_pylist()}


def _page(stage: StageRun, config: Config, run: Mapping[str, Any], found: _Found) -> Page:
    (rows, more), step = _concept_rows(stage, found), judging_step(run)
    costs = [
        StageCost(cost["name"], cost["seconds"], cost["peak_memory_bytes"], cost["summary"], cost.get("reused", False))
        for cost in run["stages"]
    ]
    return Page(
        run_id=run["run_id"],
        output=config.output,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        totals=run["totals"],
        dropped_by_reason=dropped_in_order(run),
        quarantined_by_reason=run["reasons"]["quarantined"],
        quarantine_examples=assembly.quarantine_examples(found.surveys),
        selection=decisions(run),
        score_name=step["score"] if step else "",
        recall=run["recall"],
        k=config.graph.k,
        graph=graph_facts(run["graph"]),
        manifest_hash=run["manifest_hash"],
        measures=measure_rows(run["measures"]),
        histograms=_histograms(stage, found),
        concepts=rows,
        more_concepts=more,
        duplicate_cosine=DUPLICATE_COSINE,
        duplicates=assembly.duplicate_groups(found.groups, found.samples),
        filtered=assembly.reason_examples(found.filtered, found.samples),
        lowest=found.samples.thumbnails(assembly.lowest_rows(found.surveys)),
        shards=len(found.shards),
        pictured_shards=found.pictured,
        stages=tuple(costs),
        warnings=tuple(run["warnings"]),
        base=base_facts(run),
        config_yaml=yaml.safe_dump(run["config"], sort_keys=False, allow_unicode=True),
        versions=run["versions"],
        commands=commands(run, config.output),
    )


def _concept_rows(stage: StageRun, found: _Found) -> tuple[tuple[ConceptRow, ...], int]:
    """Return the rows of the table of concepts, and how many concepts have none."""
    listed = assembly.listed_concepts(found.concepts["size"].to_numpy())
    if not listed:
        return (), 0
    stage.call("map", lay_out, listed, found.places)
    xy = stage.store.read_arrays(MAP_NAME)["places"].tolist()
    sheets = {
        int(concept): found.samples.sheet(rows) for part in found.parts for concept, rows in part["sheets"].items()
    }
    rows = assembly.concept_rows(
        found.concepts,
        Store(found.places.picks).read_arrays(BUDGETS_NAME)["budgets"],
        _lines(stage, found.parts),
        assembly.concept_names(read_captions(stage.store, found.together)),
        dict(zip(listed, map(tuple, xy), strict=True)),
        sheets,
    )
    return rows, len(found.concepts) - len(listed)


def _lines(stage: StageRun, parts: Sequence[Mapping[str, Any]]) -> dict[int, ConceptLine]:
    """Return what the partitions say of each concept."""
    filled = [number for number, part in enumerate(parts) if part["concepts"]]
    return {concept: line for number in filled for concept, line in read_lines(stage.store, number)}


def _histograms(stage: StageRun, found: _Found) -> tuple[Histogram, ...]:
    counts = total_counts(stage.store, found.together)
    charts = (binned(name, SCORERS[name.partition(" ")[0]].about, one) for name, one in counts.items())
    return tuple(chart for chart in charts if chart is not None)
