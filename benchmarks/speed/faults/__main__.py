"""The cost of faults: every fault in every stage, on a real cluster of two nodes.

    python -m benchmarks.speed.faults [--faults worker node] [--stages embedding graph] [--json OUT]

Kills with -9 a worker process in the middle of a task, an actor that holds the model, a node with all its processes,
the node whose object store holds decoded batches (objects; a new node takes its place), or the driver (the same
command is then run again); and runs from S3 to S3 through a proxy that injects errors. Each cell says whether the
manifest's hash is that of the calm run, and the seconds lost against it. What was killed is printed on stderr.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import write_outputs
from benchmarks.speed.faults.bench import KILLS, STORAGE, Bench, Cell
from tests.support.clusters import ray_cluster
from tests.support.faulty_proxy import FaultyProxy
from tests.support.pools import members, write_tar
from tests.support.s3_server import s3_server

STAGES = (
    *("inventory", "embedding", "filters", "concepts", "partitions"),
    *("graph", "scores", "selection", "measures", "manifests", "report"),
)
FAULTS = (*KILLS, *STORAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix, print it, and return 1 if a run ended otherwise than the calm one."""
    given = _parser().parse_args(arguments)
    # A polite kill unwinds everything as well, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cells: list[Cell] = []
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        (folder / "pool").mkdir()
        for shard in range(given.shards):
            write_tar(folder / "pool" / f"{shard:08d}.tar", members(shard, given.samples))
        if killed := [fault for fault in given.faults if fault in KILLS]:
            cells += kills(killed, given, folder)
        if stored := [fault for fault in given.faults if fault in STORAGE]:
            cells += storage(stored, given, folder)
    finally:
        shutil.rmtree(folder)
    print(table(cells))
    write_outputs([asdict(cell) for cell in cells], given.json)
    return int(any(cell.outcome not in ("same", "none") for cell in cells))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS, metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="NAME", help=", ".join(STAGES))
    parser.add_argument("--tries", type=int, default=4, help="runs for a stage that ended before the fault")
    parser.add_argument("--nodes", type=int, default=2, help="of the cluster, beside its head")
    parser.add_argument("--calm-runs", type=int, default=2, help="without a fault; the last one is measured")
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--samples", type=int, default=40, help="in each shard")
    add_outputs(parser, plot="")
    return parser


def kills(faults: Sequence[str], given: argparse.Namespace, folder: Path) -> Iterator[Cell]:
    """Yield the cells of processes that are killed, in runs over local files."""
    with ray_cluster(given.nodes) as cluster:
        bench = Bench(cluster, folder, str(folder / "pool"), lambda name: str(folder / "runs" / name))
        bench.calm(given.calm_runs)
        for stage in given.stages:
            for fault in faults:
                yield bench.cell(fault, stage, given.tries)


def storage(faults: Sequence[str], given: argparse.Namespace, folder: Path) -> Iterator[Cell]:
    """Yield the cells of storage that fails, in runs from S3 to S3."""
    with s3_server() as server, FaultyProxy(server.endpoint) as proxy:
        for path in (folder / "pool").iterdir():
            server.client().upload_file(str(path), server.bucket, f"pool/{path.name}")
        settings = {"AWS_ENDPOINT_URL": proxy.url, "AWS_DEFAULT_REGION": "us-east-1", **server.keys}
        with ray_cluster(given.nodes, 1, False, **settings) as cluster:
            root = f"s3://{server.bucket}"
            bench = Bench(cluster, folder, f"{root}/pool/*.tar", lambda name: f"{root}/{name}")
            bench.calm(given.calm_runs)
            for fault in faults:
                yield bench.whole(fault, proxy)


def table(cells: Sequence[Cell]) -> str:
    """Return a markdown table: a row for each stage, a column for each fault."""
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    stages = list(dict.fromkeys(cell.stage for cell in cells))
    found = {(cell.stage, cell.fault): cell for cell in cells}
    rows = [["stage", *faults], ["---"] * (len(faults) + 1)]
    rows += [[stage, *(_words(found.get((stage, fault))) for fault in faults)] for stage in stages]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _words(cell: Cell | None) -> str:
    if cell is None or cell.outcome == "none":
        return cell.detail if cell else ""
    if cell.outcome == "same":
        return f"same manifest, {cell.lost:+.1f} s"
    return f"**{cell.outcome}**: {cell.detail}".replace("|", "/")


if __name__ == "__main__":
    raise SystemExit(main())
