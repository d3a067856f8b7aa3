"""The report stage: survey shards and partitions, fetch the samples to show, write the report and its data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filtering.concepts.artifacts import read_concepts
from filtering.core.errors import DamagedError
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import GraphResult
from filtering.manifests.artifacts import REPORT, REPORT_DATA, REPORT_STAGE, damage
from filtering.report import samples
from filtering.report.assembly import Findings, assembled, largest_groups
from filtering.report.data import report_bytes
from filtering.report.examining import ConceptLine, Examined, examine_partition, read_lines
from filtering.report.facts import judging_step
from filtering.report.fetching import (
    QuarantinedImage,
    ShownRow,
    fetch_quarantined,
    fetch_samples,
    lay_out,
    read_map,
    read_quarantined,
    read_shown,
)
from filtering.report.locations import Locations, locations_of
from filtering.report.page import render
from filtering.report.survey import (
    TOGETHER,
    QuarantinedRow,
    Survey,
    merge_surveys,
    read_captions,
    survey_shard,
    total_counts,
)
from filtering.runtime.records import from_plain
from filtering.runtime.run_record import RUN, RunRecord, StageRecord
from filtering.runtime.shard_groups import of_shard
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import TaskSpec, task
from filtering.selection.artifacts import BUDGETS_NAME
from filtering.storage.reading import read_record_as
from filtering.storage.store import checksum

VERSION = 8
# The report stays small whatever the pool's size: examples come from this many shards, and as many more are read for
# the neighbours and duplicates of these.
PICTURED_SHARDS, MORE_SHARDS = 32, 32
# Quarantined samples have no place that is known: shards are read from their beginning for the images of some.
QUARANTINE_SHARDS = 4
# Under the key of such a sample stands the first one of its key, which can be used.
REPEATED_KEY = "duplicate_key"
# Captions that name the concepts: this many for each on average, and a minimum and a maximum for all.
CAPTIONS_A_CONCEPT, LEAST_CAPTIONS, MOST_CAPTIONS = 16, 20_000, 200_000


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The size of the report, in bytes, and the checksums of the objects that it consists of."""

    bytes: int
    checksums: dict[str, str]

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{REPORT}, {self.bytes / 1e6:.1f} MB"


def report_key(config: Mapping[str, Any], manifests: str) -> StageKey:
    """Return the stage's identity: the report shows the whole configuration, `config` as it was resolved."""
    return StageKey(REPORT_STAGE, VERSION, config, (manifests,))


def write_report(stage: StageRun, record: RunRecord, shards: Sequence[PassingShard], partitions: int) -> ReportResult:
    """Write report/index.html and report/page.json; return the report's size."""
    report = assembled(record, _findings(stage, record, shards, partitions))
    objects = {REPORT_DATA: report_bytes(report), REPORT: render(report).encode()}
    for name, data in objects.items():
        stage.runtime.store.write(name, data)
    return ReportResult(len(objects[REPORT]), {name: checksum(data) for name, data in objects.items()})


def damaged_report(stage: StageRun) -> DamagedError | None:
    """Return what is wrong with the report that the finished stage wrote, None if nothing is."""
    run, record = stage.runtime.store, read_record_as(stage.store, stage.key.record, StageRecord)
    sums = from_plain(ReportResult, record["result"], stage.store.path(stage.key.record)).checksums
    return next((DamagedError(run.path(name), fault) for name, fault in damage(run, sums)), None)


def _findings(stage: StageRun, record: RunRecord, shards: Sequence[PassingShard], partitions: int) -> Findings:
    locations = locations_of(stage.runtime.store, record, stage.store)
    concepts, merged = read_concepts(locations.concepts), _merged_names([shard.identity for shard in shards])
    sizes, step = concepts["size"].to_numpy(), judging_step(record["steps"])
    spread = _spread(shards)
    # Metadata has no images.
    pictured = spread if record["config"]["input"]["shards"] is not None else []
    share = _caption_share(len(concepts), record)
    surveys = _surveyed(stage, shards, merged, share, set(pictured), set(spread), locations)
    examined = _examined(stage, partitions, samples.sheet_concepts(sizes), pictured or None, locations)
    groups, lowest = largest_groups(examined), samples.lowest_rows(surveys)
    reasons = list(record["reasons"]["dropped"])
    filtered, random = samples.filtered_rows(surveys, reasons), samples.random_rows(surveys, reasons)
    shown = samples.shown_rows(examined, groups, filtered, [*lowest, *random])
    quarantined = samples.quarantined_rows(surveys, set(pictured))
    pictured = [*pictured, *_more(shown, pictured)] if pictured else []
    fetched = _fetched(stage, shards, shown, set(pictured), locations)
    return Findings(
        shards=len(shards),
        pictured_shards=len(pictured),
        concepts=concepts,
        budgets=locations.picks.read_arrays(BUDGETS_NAME)["budgets"],
        positions=_positions(stage, samples.listed_concepts(sizes), locations),
        captions=read_captions(stage.store, list(merged)),
        counts=total_counts(stage.store, list(merged)),
        quarantined=quarantined,
        quarantine_images=_quarantine_images(stage, shards, quarantined, set(pictured)),
        examined=examined,
        lines=_lines(stage, examined),
        groups=groups,
        filtered=filtered,
        lowest=lowest,
        random=random,
        samples=samples.Samples(fetched, samples.judged_rows(examined), step["score"] if step else ""),
    )


def _spread(shards: Sequence[PassingShard]) -> list[int]:
    """Return the indices of some shards, spread evenly over the inventory, from which examples are taken."""
    return np.unique(np.linspace(0, len(shards) - 1, PICTURED_SHARDS).astype(int)).tolist() if shards else []


def _caption_share(concepts: int, record: RunRecord) -> float:
    wanted = min(max(LEAST_CAPTIONS, CAPTIONS_A_CONCEPT * concepts), MOST_CAPTIONS)
    return float(wanted / max(from_plain(GraphResult, record["graph"], RUN).nodes, 1))


def _merged_names(identities: Sequence[str]) -> dict[str, list[str]]:
    """Return the identities of the shards that one task merges, by the name of the merged objects."""
    starts = range(0, len(identities), TOGETHER)
    return {f"together-{at:08d}": list(identities[start : start + TOGETHER]) for at, start in enumerate(starts)}


def _surveyed(
    stage: StageRun,
    shards: Sequence[PassingShard],
    merged: Mapping[str, Sequence[str]],
    share: float,
    pictured: set[int],
    spread: set[int],
    locations: Locations,
) -> list[Survey]:
    def surveyed(shard: PassingShard) -> TaskSpec[Survey]:
        judged = not pictured or shard.index in pictured
        spreads = shard.index in spread
        return of_shard(task(f"survey-{shard.identity}", survey_shard, shard, share, judged, spreads, locations), shard)

    found = stage.map([surveyed(shard) for shard in shards], "shards surveyed")
    stage.map(
        [task(name, merge_surveys, names, name, stage.store) for name, names in merged.items()], "groups of shards"
    )
    return found


def _examined(
    stage: StageRun, partitions: int, chosen: Sequence[int], pictured: Sequence[int] | None, locations: Locations
) -> list[Examined]:
    tasks = [
        task(f"examine-{number:08d}", examine_partition, number, chosen, pictured, locations)
        for number in range(partitions)
    ]
    return stage.map(tasks, "partitions examined")


def _more(shown: Mapping[int, Sequence[int]], pictured: Sequence[int]) -> list[int]:
    """Return further shards to read for images: those with the most samples that are shown without one."""
    missing = Counter({shard: len(rows) for shard, rows in shown.items() if shard not in set(pictured)})
    return [shard for shard, _ in missing.most_common(MORE_SHARDS)]


def _fetched(
    stage: StageRun,
    shards: Sequence[PassingShard],
    shown: Mapping[int, Sequence[int]],
    pictured: set[int],
    locations: Locations,
) -> Mapping[int, ShownRow]:
    here = [shard for shard in shards if shard.index in shown]
    tasks = [
        task(f"fetch-{shard.identity}", fetch_samples, shard, shown[shard.index], shard.index in pictured, locations)
        for shard in here
    ]
    stage.map(tasks, "shards read for examples")
    return read_shown(stage.store, [shard.identity for shard in here])


def _quarantine_images(
    stage: StageRun,
    shards: Sequence[PassingShard],
    quarantined: Sequence[tuple[int, QuarantinedRow]],
    pictured: set[int],
) -> dict[int, dict[str, QuarantinedImage]]:
    """Return small images of quarantined samples by shard and key, from the shards that have most of them."""
    keys: dict[int, set[str]] = {}
    for at, row in quarantined:
        if at in pictured and row["key"] and row["reason"] != REPEATED_KEY:
            keys.setdefault(at, set()).add(row["key"])
    chosen = sorted(keys, key=lambda at: (-len(keys[at]), at))[:QUARANTINE_SHARDS]
    names = {at: shards[at].identity for at in chosen}
    tasks = [
        task(f"quarantine-{names[at]}", fetch_quarantined, shards[at], sorted(keys[at]), stage.store) for at in chosen
    ]
    stage.map(tasks, "shards read for the quarantine")
    return {at: read_quarantined(stage.store, names[at]) for at in chosen}


def _positions(stage: StageRun, listed: Sequence[int], locations: Locations) -> dict[int, tuple[float, float]]:
    if not listed:
        return {}
    stage.call("map", lay_out, listed, locations)
    return dict(zip(listed, read_map(stage.store), strict=True))


def _lines(stage: StageRun, examined: Sequence[Examined]) -> dict[int, ConceptLine]:
    filled = [number for number, one in enumerate(examined) if one["concepts"]]
    return {concept: line for number in filled for concept, line in read_lines(stage.store, number)}
