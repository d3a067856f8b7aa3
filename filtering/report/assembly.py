"""The report's data from run.json and the findings of the workers."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from filtering.concepts.artifacts import Drift
from filtering.graph.artifacts import GraphResult
from filtering.manifests.reasons import reasons_of_novelty
from filtering.report.bins import Counts, binned
from filtering.report.data import (
    ConceptRow,
    DuplicateGroup,
    Histogram,
    QuarantineExample,
    ReasonExamples,
    Report,
    Sheet,
    StageCost,
)
from filtering.report.examining import DUPLICATE_COSINE, GROUPS, ConceptLine, Examined, Group
from filtering.report.facts import (
    base_facts,
    commands,
    decisions,
    dropped_in_order,
    graph_facts,
    judging_step,
    measure_rows,
)
from filtering.report.fetching import QuarantinedImage
from filtering.report.samples import Samples
from filtering.report.survey import QuarantinedRow
from filtering.runtime import run_record
from filtering.runtime.records import from_plain
from filtering.runtime.run_record import RUN, RunRecord
from filtering.scores.artifacts import RightFigures
from filtering.scores.titles import about_of

WORD = re.compile(r"[^\W\d_]{3,}")
WORDS_PER_CONCEPT = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """What the workers found."""

    shards: int  # shards, pictured_shards: shards of the pool, and those of them that were read for images
    pictured_shards: int
    concepts: pa.Table  # a line for each of C concepts, as `tables.CONCEPTS` has them
    budgets: npt.NDArray[np.int64]  # int64 (C,), samples that each concept may keep
    # By concept its position on the map, x and y; the concepts of the map have a row in the report
    positions: Mapping[int, tuple[float, float]]
    captions: pa.Table  # the sampled captions, `survey.CAPTIONS`
    counts: Mapping[str, Counts]  # by score how often its values occur
    quarantined: Sequence[tuple[int, QuarantinedRow]]  # some quarantined rows, with the indices of their shards
    quarantine_images: Mapping[int, Mapping[str, QuarantinedImage]]  # by shard and key
    examined: Sequence[Examined]  # by partition
    lines: Mapping[int, ConceptLine]  # by concept its kept samples, mean score, and samples with a near-duplicate
    groups: Sequence[Group]  # the largest groups of near-duplicates
    filtered: Mapping[str, Sequence[int]]  # by reason the rows of examples of what a filter dropped
    lowest: Sequence[int]  # the dropped rows with the lowest CLIP scores
    random: Sequence[int]  # random rows of kept samples and of those of each reason
    samples: Samples  # the samples that are shown


def assembled(record: RunRecord, found: Findings) -> Report:
    """Return the report's data, from run.json as far as it is known by now and the results of the surveys."""
    rows, step = concept_rows(found), judging_step(record["steps"])
    graph, output = from_plain(GraphResult, record["graph"], RUN), record["config"]["output"]
    drift = from_plain(Drift, record["drift"], RUN) if "drift" in record else None
    return Report(
        run_id=record["run_id"],
        output=output,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        totals=record["totals"],
        dropped_by_reason=dropped_in_order(record),
        quarantined_by_reason=record["reasons"]["quarantined"],
        quarantine_examples=tuple(_quarantine_example(*each, found.quarantine_images) for each in found.quarantined),
        selection=decisions(record["filters"], record["steps"]),
        score_name=step["score"] if step else "",
        recall=record["recall"],
        k=graph.k,
        graph=graph_facts(graph),
        manifest_hash=record["manifest_hash"],
        measures=measure_rows(record["measures"]),
        histograms=_histograms(found.counts),
        concepts=rows,
        more_concepts=len(found.concepts) - len(rows),
        duplicate_cosine=DUPLICATE_COSINE,
        duplicates=_duplicate_groups(found.groups, found.samples),
        filtered=tuple(
            ReasonExamples(reason, found.samples.thumbnails(chosen)) for reason, chosen in found.filtered.items()
        ),
        lowest=found.samples.thumbnails(found.lowest),
        shards=found.shards,
        pictured_shards=found.pictured_shards,
        stages=tuple(map(_cost, record["stages"])),
        warnings=tuple(record["warnings"]),
        base=base_facts(record.get("base"), drift),
        config_yaml=yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True),
        versions=record["versions"],
        commands=commands(output),
        novelty=reasons_of_novelty(record["steps"]),
        examples=found.samples.thumbnails([*found.random, *found.samples.unlisted_covers(found.random)]),
        right={name: from_plain(RightFigures, one, RUN) for name, one in record.get("right", {}).items()},
    )


def concept_rows(found: Findings) -> tuple[ConceptRow, ...]:
    """Return a row for each concept that has a position on the map."""
    names, sheets = concept_names(found.captions), _sheets(found)
    rows = []
    for concept in found.concepts.take(pa.array(sorted(found.positions), pa.int64())).to_pylist():
        number = concept["concept"]
        kept, difficulty, duplicates = found.lines.get(number, (0, float("nan"), 0))
        x, y = found.positions[number]
        rows.append(
            ConceptRow(
                concept=number,
                words=names.get(number, ()),
                size=concept["size"],
                kept=kept,
                budget=int(found.budgets[number]),
                difficulty=difficulty,
                density=1 - concept["d_intra"],
                apart=concept["d_inter"],
                duplicates=duplicates,
                x=x,
                y=y,
                sheet=sheets.get(number),
            )
        )
    return tuple(rows)


def concept_names(captions: pa.Table) -> dict[int, tuple[str, ...]]:
    """Return the distinctive words of each concept that has captions."""
    by_concept: dict[int, list[str]] = {}
    for concept, caption in zip(captions["concept"].to_pylist(), captions["caption"].to_pylist(), strict=True):
        by_concept.setdefault(concept, []).append(caption)
    return distinctive_words(by_concept)


def distinctive_words(captions: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """Return the most distinctive words of each concept's captions, best first.

    A word's weight is its frequency in the concept times log(1 + average words a concept / its frequency in all).
    """
    counts = {
        concept: Counter(word for caption in texts for word in set(WORD.findall(caption.lower())))
        for concept, texts in captions.items()
    }
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    average = sum(total.values()) / max(len(counts), 1)
    return {concept: _best(count, total, average) for concept, count in counts.items()}


def _best(count: Counter[str], total: Counter[str], average: float) -> tuple[str, ...]:
    weights = {word: n * math.log(1 + average / total[word]) for word, n in count.items()}
    ordered = sorted(weights, key=lambda word: (-weights[word], word))
    return tuple(ordered[:WORDS_PER_CONCEPT])


def largest_groups(examined: Sequence[Examined]) -> list[Group]:
    """Return the largest groups of near-duplicates of all partitions."""
    every = [group for one in examined for group in one["groups"]]
    return sorted(every, key=lambda group: (-group["size"], group["concept"], group["rows"]))[:GROUPS]


def _sheets(found: Findings) -> dict[int, Sheet]:
    return {
        int(concept): found.samples.sheet(rows) for one in found.examined for concept, rows in one["sheets"].items()
    }


def _duplicate_groups(groups: Sequence[Group], samples: Samples) -> tuple[DuplicateGroup, ...]:
    return tuple(
        DuplicateGroup(group["concept"], group["size"], group["kept"], samples.thumbnails(group["rows"]))
        for group in groups
    )


def _quarantine_example(
    shard: int, row: QuarantinedRow, images: Mapping[int, Mapping[str, QuarantinedImage]]
) -> QuarantineExample:
    key, about = row["key"] or "", (row["shard"], row["member"], row["reason"], row["detail"])
    image = images.get(shard, {}).get(key)
    if image is None:
        return QuarantineExample(*about, key)
    return QuarantineExample(*about, key, image["caption"], image["jpeg"])


def _histograms(counts: Mapping[str, Counts]) -> tuple[Histogram, ...]:
    charts = (binned(name, about_of(name), one) for name, one in counts.items())
    return tuple(chart for chart in charts if chart is not None)


def _cost(cost: run_record.StageCost) -> StageCost:
    reused = cost.get("reused", False)
    return StageCost(cost["name"], cost["seconds"], cost["peak_memory_bytes"], cost["summary"], reused)
