"""The cost of each stage: every formula of `plan`, each with its terms, in one place.

Seconds are of one CPU while all of them work. Constants in seconds were measured on one machine (that of
`REFERENCE_PAIR_SECONDS`) in runs over pools of 0.1, 1 and 12.8 million rows; `plan` multiplies them by how much slower
ordinary work is on the machine at hand. The neighbour search is measured by itself, since CPUs differ more in it.
"""

from dataclasses import dataclass, replace
from typing import Any

from filtering.concepts.exact_search import QUERIES
from filtering.concepts.kmeans import ITERATIONS, POINTS_PER_CENTROID, REFINEMENTS, coarse_groups
from filtering.concepts.packing import MOST_ROWS
from filtering.concepts.partition import row_dtype
from filtering.concepts.statistics import MOST_PAIRS
from filtering.concepts.training_stage import BATCH_ROWS, coarse_rows
from filtering.core.spare_neighbours import listed_count
from filtering.core.uids import SUBSET_DTYPE
from filtering.embedding.memory import PROCESS_BYTES
from filtering.filters.artifacts import BLOCK_ROWS, stage_of
from filtering.filters.repeats import BUCKET_ROWS
from filtering.graph.component_stage import LAST_LINKS
from filtering.graph.memory import search_memory_bytes
from filtering.graph.sharded import EDGE, FOUND
from filtering.graph.stage import MOST_COUNTED_ROWS
from filtering.manifests.pool_stage import RANGE_ROWS
from filtering.manifests.uid_records import SENT
from filtering.measures.figures import NETWORKS, UNITS
from filtering.planning.work import MULTIPLY_SECONDS, UNEVEN, Work
from filtering.scores.agreement_tasks import SAMPLE_ROWS
from filtering.selection.exchange_stage import BLOCKS
from filtering.selection.scores import SCORE, vector_dtype

# One distance of the neighbour search at 512 dimensions, on the machine where the constants below were measured, which
# multiplies bytes, and the part of it that does not depend on the dimension: comparing it.
REFERENCE_PAIR_SECONDS = 4.9e-9
COMPARE_SECONDS = 2.3e-9
REFERENCE_DIMENSION = 512
# Rounds of clustering a group: its own, those after splits, and the assignments between them.
CLUSTERING = 4
# The largest group of centroids, in multiples of the mean; pairs of concepts that share rows, and bytes to pack each.
UNEVEN_GROUPS, PAIRS_OF_A_CONCEPT, PAIR_BYTES = 2.0, 200, 150
# Seconds that a stage takes for any number of rows: Ray and its first workers start, libraries are loaded.
EMBEDDING_START, CONCEPTS_START, GRAPH_START, OTHER_START = 12.0, 1.3, 3.5, 0.2
# Charts are drawn and samples fetched for any number of rows; the report and its data are bounded.
REPORT_START = 1.9
PAGE_BYTES = 48 << 20
# One task learns P(right) from the pairs of a sample; seconds a pair.
LEARNING_SECONDS = 4.5e-5
# Products of a row while a selection is measured: features of random networks, and the queries with the kept samples
# and with a random choice of as many.
MEASURED_PRODUCTS = NETWORKS * UNITS + 0.6 * QUERIES
# An edge in the pass of the budget `distinct`: its length is counted twice, and picks are made over it.
COUNTED_SECONDS = 3e-7
# An edge in a round in which concepts exchange picks: objects are read, and all picks made again. Bytes of an edge in
# a block of partitions, held and on disk.
EXCHANGE_SECONDS, EXCHANGE_BYTES, EXCHANGE_DISK = 1.3e-7, 120, 18
# Importing torch, which multiplies bytes; workers keep it.
SEARCH_PROCESS_BYTES = 500 << 20


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of one stage."""

    name: str  # the stage
    spread_seconds: float  # CPU seconds that any number of workers share
    serial_seconds: float  # seconds of one task that all others wait for
    task_bytes: float  # the peak memory of its largest task, the process included
    disk_bytes: float = 0  # the peak size of its objects in the run's directory
    shuffle_bytes: float = 0  # what its tasks pass to each other through storage
    start_seconds: float = OTHER_START  # time before its tasks begin, for any number of rows and CPUs
    gpu_seconds: float = 0  # seconds of one GPU that any number of GPUs share, beside the CPUs

    def seconds(self, cpus: int, gpus: int = 1) -> float:
        """Return the time of the stage on a number of CPUs and of GPUs, which work at once."""
        return self.start_seconds + self.serial_seconds + max(self.spread_seconds / cpus, self.gpu_seconds / gpus)


@dataclass(frozen=True, slots=True)
class Speed:
    """What work takes on a machine, as `filtering.planning.probe.speed` measures it."""

    pair_seconds: float  # seconds of one distance of the neighbour search, at the work's dimension
    pace: float = 1.0  # seconds of ordinary work, over those of the machine where the constants were measured


# The time of one draw of a sample with weights.
DRAW_SECONDS = 7e-7
# A kept sample on its way to its range of uids, in it, and in the hash of the selection; and its bytes while it is
# sorted (python -m benchmarks.speed.manifests).
SORT_SECONDS, HASH_SECONDS, SORTED_BYTES = 1.4e-6, 2e-7, 300
# A row in the one task that counts components, and in tasks and rounds where these are too many for it.
JOINED_SECONDS, CONTRACTED_SECONDS, JOINED_BYTES = 1e-6, 3e-6, 24


@dataclass(frozen=True, slots=True)
class Asked:
    """The scores and methods of the steps of selection."""

    # Kind and parameters of every score that is computed, parts of combinations included
    scores: tuple[tuple[str, Any], ...] = (("rows", None),)
    # The method of every step, whether it reads vectors, whether its budget counts distinct right pairs, and its
    # exchanges
    steps: tuple[tuple[str, bool, bool, int], ...] = (("d2", False, True, 0),)
    tower_seconds: float = 0.0  # seconds of one image through the model, for scores that run it
    text_k: int | None = None  # k of the graph of captions, where a score reads it
    draws: int = 0  # how often a kept sample may be seen again, where samples are weighed


def stage_costs(work: Work, speed: Speed, asked: Asked | None = None) -> list[StageCost]:
    """Return the cost of every stage after embedding; scores and steps of selection are summed up."""
    pace, asked = speed.pace, asked or Asked()
    graphs = [*_concepts(work, pace), _graph(work, speed)]
    if asked.text_k is not None:
        # The same over caption vectors.
        texts = replace(work, k=asked.text_k, most_replicas=True)
        again = [*_concepts(texts, pace), _graph(texts, speed)]
        graphs += [replace(cost, name=stage_of(cost.name, "text")) for cost in again]
    return [_filters(work, pace), *graphs, *_selection(work, pace, asked)]


def scoring_seconds(work: Work, asked: Asked, kind: str, settings: Any) -> float:
    """Return the seconds that a score takes, a row, on the reference machine."""
    d = work.dimension
    if kind == "batches":
        compared = min(settings.batch_size, work.rows)
        batchings = settings.batchings if work.rows > settings.batch_size else 1
        # Products, two exponentials, and both vectors on their way.
        return float(batchings * (compared * (d * 1e-11 + 6e-9) + 2.4e-8 * d))
    if kind == "towers":
        return float(settings.masks * asked.tower_seconds)
    if kind == "neighbours":
        k = asked.text_k or work.k if settings.of == "captions" else work.k
        # Two vectors a row on their way to partitions; the neighbours of each row are added up.
        return 2 * 4.5e-9 * d + k * 2.2e-9 * d + 3e-6
    # Both sides twice, for their means and for the scores; P(right) is made of three scores.
    learned = {"right": 2e-6, "centred": 1.1e-8 * d + 5e-7}
    reading = {"images": 9e-9 * d + 1e-6, "graph": work.k * 2e-7, "captions": 5e-5, "parts": 2e-6}
    return (reading | learned).get(kind, 2e-7)


def step_seconds(work: Work, method: str, vectors: bool, counted: bool = False, exchanges: int = 0) -> float:
    """Return the seconds that a step of selection takes, a row, on the reference machine."""
    seconds = work.k * 8e-7 + (2.7e-9 * (4 * work.dimension + 8) if vectors else 0)
    seconds += exchanges * work.k * EXCHANGE_SECONDS
    if counted:
        seconds += work.k * COUNTED_SECONDS
    if method == "semdedup":
        seconds += work.rows / max(work.clusters, 1) * UNEVEN / 2 * work.dimension * MULTIPLY_SECONDS
    return seconds


def _scoring_bytes(work: Work, kind: str, settings: Any) -> float:
    """Return the memory of a task of a score, in bytes, beside the columns of its shard."""
    d = work.dimension
    if kind == "batches":
        return float(min(settings.batch_size, work.rows) * (16 * d + 2072) + work.largest_shard * 4 * d)
    own, shard = work.partition_limit / (1 + work.replicas), work.largest_shard
    by_kind = {
        "images": 4 * d * work.clusters + (100 << 20),
        "graph": work.k * 60 * work.partition_limit,
        "parts": 4e8,
        "centred": BLOCK_ROWS * 24 * d,
        # With the neighbours in other partitions.
        "neighbours": max(3 * own * (4 * d + 60) + own * 2 * d, shard * 4 * d),
        "right": min(SAMPLE_ROWS, work.rows) * 17 * d + (200 << 20),
    }
    return float(by_kind.get(kind, 0))


def metadata_cost(work: Work, pace: float, copied: bool = False) -> StageCost:
    """Return the cost of reading rows with vectors: 3 us a row, and two vectors widened and multiplied, one hashed.

    Where they are `copied`, they are in memory and on the disk as halves.
    """
    seconds = work.rows * (3e-6 + 7e-9 * work.dimension)
    memory = PROCESS_BYTES + work.largest_shard * (4 * work.dimension + 400)
    disk = work.rows * (68 + (4 * work.dimension if copied else 0))
    return StageCost("embedding", seconds * pace, 0, memory, disk, start_seconds=EMBEDDING_START)


def reference_speed(dimension: int) -> Speed:
    """Return the speed of the reference machine: a distance is its product, and comparing it."""
    product = (REFERENCE_PAIR_SECONDS - COMPARE_SECONDS) * dimension / REFERENCE_DIMENSION
    return Speed(COMPARE_SECONDS + product)


def _filters(work: Work, pace: float) -> StageCost:
    memory = PROCESS_BYTES + min(work.rows, BUCKET_ROWS) * 136 + work.largest_shard * 300
    return StageCost("filters", work.rows * 1.5e-6 * pace, 0, memory, work.rows * 50)


def _concepts(work: Work, pace: float) -> list[StageCost]:
    rows, d, shard = work.rows, work.dimension, work.largest_shard
    groups = coarse_groups(work.clusters)
    assigned = shard * (8 * work.max_replicas + 2 * d + 120) + (200 << 20)
    # Centroids that a sampled row is compared with in a round: its group's, and the coarse ones.
    inside, outside = work.clusters / groups, float(groups)
    if work.is_deep:
        inside, outside = 2 * inside**0.5, 2 * outside**0.5
    clustering = (outside + inside) * ITERATIONS * CLUSTERING * d * MULTIPLY_SECONDS
    training = work.sample * (clustering + REFINEMENTS * (work.assignment_seconds + 4e-6)) + rows * 1.6e-6
    assigning = rows * (work.assignment_seconds + QUERIES * d * MULTIPLY_SECONDS + 9e-9 * d + 1.7e-6)
    # Twins and the distances between centroids.
    measuring = 2 * work.clusters * work.assignment_seconds
    # A group may have several times its share of the sample.
    clustered = max(BATCH_ROWS, UNEVEN_GROUPS * POINTS_PER_CENTROID * work.clusters / groups)
    packing = min(work.clusters * PAIRS_OF_A_CONCEPT, MOST_PAIRS) * PAIR_BYTES
    memory = max(min(clustered, work.sample) * (4 * d + 72), coarse_rows(groups) * 4 * d, packing, assigned)
    record = row_dtype(d, work.max_replicas).itemsize
    cells = 8 * work.max_replicas
    return [
        StageCost(
            "concepts",
            (assigning + training + measuring + rows * 1e-6) * pace,
            (coarse_rows(groups) * outside * ITERATIONS * d * MULTIPLY_SECONDS + work.clusters * 4e-6) * pace,
            PROCESS_BYTES + memory + work.index_bytes,
            rows * (cells + 30 + 8 * work.replicas) + work.sample * d * 4 + 2 * d * (REFINEMENTS + 2) * work.clusters,
            start_seconds=CONCEPTS_START,
        ),
        StageCost(
            "partitions",
            work.copies * 2.7e-9 * record * pace,
            0,
            PROCESS_BYTES + shard * (4 * d + 200) + (100 << 20),
            work.copies * record,
            work.copies * record,
        ),
    ]


def _graph(work: Work, speed: Speed) -> StageCost:
    largest = int(4 * work.rows / max(work.clusters, 1) * (1 + work.replicas))
    listed = listed_count(work.k)
    found, edges = work.copies * listed * FOUND.itemsize, 1.3 * work.rows * work.k * EDGE.itemsize
    partition = work.partition_limit
    memory = search_memory_bytes(partition, min(largest, partition), work.dimension, work.k)
    # Each member of a concept: read, put into bytes, copied to its concept, its candidates ranked and offered, and
    # searched again if need be.
    members = work.rows * (1 + work.replicas) * (2.5e-6 + 1.1e-8 * work.dimension)
    contracted = 0.0 if work.rows <= MOST_COUNTED_ROWS else work.rows * CONTRACTED_SECONDS
    ordinary = members + work.rows * work.k * 8e-7 + contracted
    joined = min(work.rows, LAST_LINKS if contracted else MOST_COUNTED_ROWS)
    return StageCost(
        "graph",
        work.distances * speed.pair_seconds + ordinary * speed.pace,
        joined * JOINED_SECONDS * speed.pace,
        PROCESS_BYTES + SEARCH_PROCESS_BYTES + max(memory, min(work.rows, MOST_COUNTED_ROWS) * JOINED_BYTES),
        found + edges + work.rows * (44 + 21 * work.k + 12 * (listed - work.k)),
        found + edges,
        GRAPH_START,
    )


def _selection(work: Work, pace: float, asked: Asked) -> list[StageCost]:
    rows, shard, d = work.rows, work.largest_shard, work.dimension
    own, steps = work.partition_limit / (1 + work.replicas), len(asked.steps)
    process = PROCESS_BYTES + SEARCH_PROCESS_BYTES
    # Vectors to the partitions of their neighbours, and the means that come back.
    travelling_means = rows * (2 * d + 12) * sum(kind == "neighbours" for kind, _ in asked.scores)
    travelling = rows * vector_dtype(d).itemsize if any(vectors for _, vectors, *_ in asked.steps) else 0
    exchanging = sum(exchanges > 0 for *_, exchanges in asked.steps)
    block = max(own, min(rows / BLOCKS, MOST_ROWS)) if exchanging else 0
    return [
        StageCost(
            "scores",
            rows * sum(scoring_seconds(work, asked, *score) for score in asked.scores) * pace,
            min(rows, SAMPLE_ROWS) * LEARNING_SECONDS * sum(kind == "right" for kind, _ in asked.scores) * pace,
            process + shard * 40 + max(_scoring_bytes(work, *score) for score in asked.scores),
            rows * 4 * len(asked.scores) + 2 * travelling_means,
            2 * travelling_means,
        ),
        StageCost(
            "selection",
            rows * sum(step_seconds(work, *step) for step in asked.steps) * pace,
            0,
            process
            + max(own * (work.k * 330 + (8 * d if travelling else 0)), block * work.k * EXCHANGE_BYTES)
            + shard * (2 * d if travelling else 40),
            rows * (steps * (24 + 2 * SCORE.itemsize) + exchanging * (work.k * EXCHANGE_DISK + 100)) + travelling,
            rows * steps * 2 * SCORE.itemsize + travelling,
        ),
        StageCost(
            "measures",
            rows * (d * (MEASURED_PRODUCTS * MULTIPLY_SECONDS + 9e-9) + work.k * 2e-7 + 1.5e-6) * pace,
            0,
            process + own * work.k * 60 + shard * (2 * d + 100) + (200 << 20),
            rows,
        ),
        StageCost(
            "manifests",
            # As if all were kept; draws are computed in up to four rounds, and once more. One task hashes what the
            # others have sorted.
            rows * (1.5e-6 + SORT_SECONDS + 5 * DRAW_SECONDS * asked.draws) * pace,
            rows * HASH_SECONDS * pace,
            # A shard is split by one task, and a range of uids sorted by another: the sum bounds both.
            process + shard * (400 + 50 * asked.draws) + min(rows, RANGE_ROWS) * SORTED_BYTES,
            rows * (110 + SENT.itemsize + SUBSET_DTYPE.itemsize),
            rows * (SENT.itemsize + SUBSET_DTYPE.itemsize),
        ),
        StageCost(
            "report",
            rows * 5.6e-6 * pace,
            rows * 5e-8,
            process + max(shard * 300, own * work.k * 80) + (100 << 20),
            PAGE_BYTES,
            start_seconds=REPORT_START,
        ),
    ]
