"""The effect of D2's forward messages on a score of pairs, over a graph of images.

    python -m benchmarks.quality.pool.messages --work DIR

After a run of `python -m benchmarks.quality.pool`: the AUC of the CLIP score on right captions against swapped ones,
before and after one round of messages over the 10 nearest images, for several gammas.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.lib.arguments import parser_of
from benchmarks.quality.pool.truth import Truth
from filtering.config.input import Input
from filtering.core.csr import KnnGraph
from filtering.embedding.artifacts import EmbeddedShard, unit_rows
from filtering.graph.knn import knn_graph
from filtering.runtime.run_record import read_run
from filtering.scores.right import auc
from filtering.selection.d2 import forward_messages
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

Float64 = npt.NDArray[np.float64]
K, GAMMAS = 10, (1.0, 10.0, 30.0, 100.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="that of a finished benchmarks.quality.pool")
    work = parser.parse_args(arguments).work.resolve()
    scores, graph = _scores_and_graph(work)
    truth = Truth(work / "truth.parquet")
    right, swapped = truth.right, truth.mismatched
    print(f"median squared distance {np.median(graph.distances):.4f}, AUC {auc(scores[right], scores[swapped]):.3f}")
    for gamma in GAMMAS:
        after = [forward_messages(graph, scores, gamma, messages=kind) for kind in ("sum", "mean")]
        found = [auc(score[right], score[swapped]) for score in after]
        print(f"gamma {gamma:g}: AUC {found[0]:.3f} with sums, {found[1]:.3f} with means")
    return 0


def _scores_and_graph(work: Path) -> tuple[Float64, KnnGraph]:
    """Return the scores in the truth's order and the graph of the images."""
    run = Store(str(work / "run"))
    embedding = run.child(read_run(run)["objects"]["embedding"])
    shards = [EmbeddedShard(shard, embedding) for shard in list_shards(Input(shards=f"{work}/pool/*.tar"))]
    tables = [shard.rows(["uid", "source_row", "clip_score"]) for shard in shards]
    pairs = zip(shards, tables, strict=True)
    images = np.concatenate([shard.images()[table["source_row"].to_numpy()] for shard, table in pairs])
    place = {uid: row for row, uid in enumerate(uid for table in tables for uid in table["uid"].to_pylist())}
    order = np.array([place[uid] for uid in Truth(work / "truth.parquet").uids])
    scores = np.concatenate([table["clip_score"].to_numpy() for table in tables])[order]
    return scores.astype(np.float64), knn_graph(unit_rows(images[order]), K)


if __name__ == "__main__":
    raise SystemExit(main())
