"""Submits what `centred_score`, `neighbour_agreement` and `right` compute: passes over shards and over graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from filtering.config.scores import CentredScore
from filtering.core.formatting import counted
from filtering.filters.artifacts import PassingShard
from filtering.graph.median import median_squared_length
from filtering.runtime.rank_counts import COUNTS_SUFFIX
from filtering.runtime.records import from_plain
from filtering.runtime.shard_groups import sent_names
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.sums import summed_objects
from filtering.runtime.task_spec import task
from filtering.scores import agreement_tasks, centred_tasks, right_tasks
from filtering.scores.agreement import SAME_CAPTION
from filtering.scores.artifacts import GraphSource, RightFigures
from filtering.scores.right import FEWEST_PAIRS
from filtering.scores.tasks import RETURNED_SUFFIX, SENT_NAME, SENT_SUFFIX
from filtering.shards.vectors import Side
from filtering.storage.store import Store

# Below, observed pairs are told from shuffled ones hardly better than by chance.
LEAST_AUC = 0.55
BY_CHANCE = (
    "P(right) hardly tells the pool's pairs from shuffled ones (AUC {:.2f}; 0.5 is chance): almost no caption belongs "
    "to its image, captions or images are all alike, or the model does not see what they say; see the report's examples"
)
TOO_FEW = "{} too few to learn P(right) from: {} as right; it takes {}"


def score_centred(stage: StageRun, shards: Sequence[PassingShard], settings: CentredScore, dimension: int) -> None:
    """Score pairs by their cosine, less what image and caption reach with the pool's others on average."""
    counts = stage.over_shards("sums", "shards added up", shards, centred_tasks.write_sums, stage.store)
    filled = [s.identity for s, count in zip(shards, counts, strict=True) if count["rows"]]
    sums, rows = [centred_tasks.SUMS_NAME.format(one) for one in filled], sum(count["rows"] for count in counts)
    sums = summed_objects(stage, "means", sums, centred_tasks.add_sums, centred_tasks.SUMS_SUFFIX)
    stage.call("means", centred_tasks.write_means, sums, rows, dimension, stage.store)
    consume(stage.store, centred_tasks.SUMS_SUFFIX)
    stage.over_shards("score", "shards", shards, centred_tasks.score_centred, settings, stage.store)


def score_neighbours(
    stage: StageRun,
    shards: Sequence[PassingShard],
    of: Side,
    graphs: Mapping[Side, GraphSource],
    centred: Store,
    rows: int,
    dimension: int,
) -> None:
    """Score pairs by how far the neighbours of one side agree with the other side.

    `centred` has the pool's mean vectors; `rows` passed the filters.
    """
    graph, store = graphs[of], stage.store
    other: Side = "text" if of == "image" else "image"
    numbers, averaged = range(graph.partitions), [replace(shard, side=other) for shard in shards]
    images = graphs["image"]
    limit = SAME_CAPTION if other == "text" else median_squared_length(stage, "median", images.store, images.partitions)
    asking = [task(f"ask-{n:08d}", agreement_tasks.ask_for_vectors, n, graph.store, store) for n in numbers]
    counts = stage.map(asking, "partitions")
    present = [number for number in numbers if counts[number]["rows"]]
    asked = [agreement_tasks.WANTED_NAME.format(number) for number in present]
    found = stage.over_shards("send", "shards sent", averaged, agreement_tasks.send_wanted, asked, dimension, store)
    sent = sent_names(SENT_NAME.format, shards, [count["rows"] for count in found])
    score, given = agreement_tasks.score_neighbours, (sent, other, limit, centred, sampled_share(rows))
    scoring = [
        task(f"neighbours-{n:08d}", score, n, graph.store, *given, store).reserving(
            agreement_tasks.neighbours_memory(counts[n], dimension)
        )
        for n in present
    ]
    stage.map(scoring, "partitions scored")
    stage.over_shards("gather", "shards", shards, agreement_tasks.gather_agreement, present, store)
    for suffix in (
        agreement_tasks.WANTED_SUFFIX,
        SENT_SUFFIX,
        agreement_tasks.MEAN_SUFFIX,
        RETURNED_SUFFIX,
        COUNTS_SUFFIX,
    ):
        consume(store, suffix)


def sampled_share(rows: int) -> float:
    """Return the share of a pool's rows that `right` learns from."""
    return agreement_tasks.SAMPLE_ROWS / max(rows, 1)


def score_right(
    stage: StageRun, shards: Sequence[PassingShard], rows: int, parts: Sequence[Store]
) -> tuple[RightFigures | None, tuple[str, ...]]:
    """Score pairs by P(right); return what it was learned from, and warnings.

    `rows` passed the filters; `parts` are the folders of the centred score, of the agreement with the neighbours of
    images and, where there is a graph of captions, with those of captions.
    """
    store, sources = stage.store, right_tasks.Parts(*parts)
    if rows < FEWEST_PAIRS:
        stage.over_shards("score", "shards", shards, right_tasks.score_as_right, store)
        counting = "it counts" if rows == 1 else "all of them count"
        return None, (TOO_FEW.format(counted(rows, "sample is", "samples are"), counting, FEWEST_PAIRS),)
    share = sampled_share(rows)
    counts = stage.over_shards("sample", "shards sampled", shards, right_tasks.sample_pairs, sources, share, store)
    names = [right_tasks.PAIRS_NAME.format(s.identity) for s, c in zip(shards, counts, strict=True) if c["rows"]]
    found = from_plain(RightFigures, stage.call("learn", right_tasks.learn, names, sources, store), store.url)
    consume(store, right_tasks.PAIRS_SUFFIX)
    stage.over_shards("score", "shards", shards, right_tasks.score_right, sources, store)
    return found, _doubts(found)


def _doubts(found: RightFigures) -> tuple[str, ...]:
    return () if found.auc is None or found.auc >= LEAST_AUC else (BY_CHANCE.format(found.auc),)
