"""Finding the nearest of very many centroids: through two levels of groups, and through four, against all of them.

    python -m benchmarks.speed.centroids [--clusters N ...] [--each N] [--dimension N] [--json OUT] [--plot OUT]

Rows are pool-like. Centroids are trained over levels as in the pipeline, on a few rows each, with no refinement; two
levels have the same centroids in larger groups. Recall is that of rows outside the training sample: how many find their
true nearest centroid, and how many of the 8 nearest are found. Seconds are the best of three rounds, interleaved, on
one thread; rows are searched in blocks of 16,384, as in a run.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.pool_like import Mixture
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import seconds_of
from filtering.concepts.kmeans import coarse_groups, group_shares, grouped_kmeans
from filtering.concepts.nearest import BLOCK_ROWS, CentroidIndex, Centroids, Int16Array, nearest_of_all
from filtering.core.fixed_point import in_steps

CLUSTERS = (1_000, 10_000, 100_000)
COUNT = 8
ROUNDS = 3
MEASURED = 2_000
SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--clusters", type=int, nargs="+", default=list(CLUSTERS))
    parser.add_argument("--each", type=int, default=4, help="rows that a centroid is trained on")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rows", type=int, default=BLOCK_ROWS, help="rows that are searched at once")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    rows = []
    for clusters in given.clusters:
        every = _rows(clusters * given.each + given.rows, given.dimension)
        rows += _measured(_trained(every[given.rows :], clusters), every[: given.rows])
        print_table(rows[-2:])
    write_outputs(rows, given.json, given.plot)
    return 0


def _rows(count: int, dimension: int) -> Int16Array:
    """Return rows of a pool in steps, int16 (count, dimension); float32 takes twice as much."""
    found, start = np.empty((count, dimension), dtype=np.int16), 0
    for images, _ in Mixture(count, dimension, SEED).blocks(0, count):
        found[start : start + len(images)] = in_steps(images)
        start += len(images)
    return found


def _trained(sample: Int16Array, clusters: int) -> Centroids:
    """Return about so many centroids in groups, which lie in groups, which lie in others."""
    coarse, above = grouped_kmeans(sample, coarse_groups(clusters), SEED, math.inf)
    none = np.zeros((len(coarse), 0), dtype=np.int32)
    home = CentroidIndex(Centroids.in_groups(coarse, above, none)).nearest_steps(sample, 1)[0][:, 0]
    shares = group_shares(np.bincount(home, minlength=len(coarse)), clusters)
    steps, groups, branches, first = [], [], [], 0
    for group, share in enumerate(shares.tolist()):
        found, inside = grouped_kmeans(sample[home == group], share, SEED, math.inf)
        steps.append(found)
        groups.append(first + inside)
        branches.append(np.tile([above[group], group], (len(found), 1)))
        first += int(inside.max(initial=-1)) + 1
    return Centroids.in_groups(
        np.concatenate(steps), np.concatenate(groups).astype(np.int32), np.concatenate(branches).astype(np.int32)
    )


def _measured(centroids: Centroids, rows: Int16Array) -> list[Row]:
    shallow = replace(centroids, groups=centroids.branches[:, 1], branches=centroids.branches[:, :0])
    indexes = {"two": CentroidIndex(shallow), "four": CentroidIndex(centroids)}
    truth = nearest_of_all(rows[:MEASURED], centroids.steps, COUNT)[0]
    found = {name: index.nearest_steps(rows[:MEASURED], COUNT)[0] for name, index in indexes.items()}
    seconds = dict.fromkeys(indexes, math.inf)
    for _ in range(ROUNDS):
        for name, index in indexes.items():
            seconds[name] = min(seconds[name], seconds_of(partial(index.nearest_steps, rows, COUNT)))
    return [_row(name, len(centroids.steps), seconds[name] / len(rows), found[name], truth) for name in indexes]


def _row(levels: str, count: int, seconds: float, found: np.ndarray, truth: np.ndarray) -> Row:
    eight = (found[:, :, None] == truth[:, None, :]).any(axis=1).mean()
    return {
        "centroids": count,
        "levels": levels,
        "us a row": round(1e6 * seconds, 2),
        "true nearest": round(float((found[:, 0] == truth[:, 0]).mean()), 4),
        "of the 8 nearest": round(float(eight), 4),
    }


if __name__ == "__main__":
    raise SystemExit(main())
