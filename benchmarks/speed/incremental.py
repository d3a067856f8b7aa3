"""Incremental runs over a pool that changes, each against a run over the whole pool with the same centroids.

    python -m benchmarks.speed.incremental --folder DIR [--rows 1000000] [--shards 20] [--json OUT]

The second run finds a new shard and a replaced one, the third a removed one, the fourth a new one that shows only a few
concepts. The pools: the demo's tars, embedded by the demo's CLIP; then metadata of benchmarks/lib/pool_like.py, where
nothing is embedded. Runs over the whole pool are removed once they have been measured.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.pool_like import Mixture, Topical, write_shard
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.demo.pool import build_pool

SUFFIXES = (".parquet", ".npz", ".tar")
DEMO_SHARDS, DIMENSION = 16, 512
# The name of the shard of few concepts: last in the order of names.
TOPICAL = "f" * 32

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """A pool that changes, cut from a folder that holds all its shards.

    Attributes
    ----------
    settings : of every run; its input is the pool.
    """

    folder: Path
    settings: Settings

    @property
    def source(self) -> Path:
        """The folder of all shards."""
        return self.folder / "source"

    @property
    def pool(self) -> Path:
        """The folder of the shards that the next run finds."""
        return self.folder / "pool"

    def rows(self) -> list[Row]:
        """Change the pool step by step, and return a row for each incremental run."""
        names = sorted({path.stem for path in self.source.iterdir()} - {TOPICAL})
        first, spare, late = names[:-2], names[-2], names[-1]
        for name in first:
            self._link(name, name)
        self._run("1")
        self._link(late, late)
        self._link(spare, first[0])
        rows = [self._compared("2", "a new, a replaced shard")]
        self._unlink(first[1])
        rows.append(self._compared("3", "a removed shard"))
        if list(self.source.glob(f"{TOPICAL}.*")):
            self._link(TOPICAL, TOPICAL)
            rows.append(self._compared("4", "a new shard of few concepts"))
        return rows

    def _compared(self, name: str, change: str) -> Row:
        """Return the figures of an incremental run and of the run over the whole pool."""
        (record, seconds), whole = self._run(name), self.folder / "whole" / name
        full, full_seconds = self._run(name, f"concepts.centroids={self.folder}/runs/1", f"output={whole}", "base=null")
        shutil.rmtree(whole)
        concepts, shards = record["base"]["concepts"], record["base"]["shards"]
        now = sum(shards[state] for state in ("new", "changed", "same"))
        return {
            "pool": self.folder.name,
            "change": change,
            "samples": record["totals"]["input"],
            "shards embedded": f"{record['base']['embedded_shards']} of {now}",
            "concepts searched": f"{concepts['searched']} of {concepts['all']}",
            "selected": concepts["selected"],
            "seconds": round(seconds, 1),
            "whole pool": round(full_seconds, 1),
            "share": round(seconds / full_seconds, 2),
            "recall": record["recall"],
            "recall whole": full["recall"],
            "same manifest": record["manifest_hash"] == full["manifest_hash"],
        }

    def _run(self, name: str, *overrides: str) -> tuple[Row, float]:
        """Return run.json and the seconds of the stages: the start of Ray, which both runs need, is left out."""
        config = self.folder / "incremental.yaml"
        config.write_text(json.dumps(self.settings | {"output": str(self.folder / "runs" / name)}))
        options = [part for override in overrides for part in ("--set", override)]
        seconds, (record, _) = timed(lambda: runs.filtering("run", "--config", str(config), *options))
        print(f"{record['config']['output']}: {seconds:.1f} s in all", flush=True)
        return record, sum(stage["seconds"] for stage in record["stages"] if not stage.get("reused"))

    def _link(self, name: str, target: str) -> None:
        for path in self.source.glob(f"{name}.*"):
            linked = self.pool / f"{target}{path.suffix}"
            linked.unlink(missing_ok=True)
            linked.hardlink_to(path)

    def _unlink(self, name: str) -> None:
        for suffix in SUFFIXES:
            (self.pool / name).with_suffix(suffix).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if a manifest differs from that of the run over the whole pool."""
    parser = parser_of(__doc__)
    parser.add_argument("--folder", required=True, help="where pools and runs are kept; its earlier ones are removed")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the metadata")
    parser.add_argument("--shards", type=int, default=20, help="of the metadata")
    parser.add_argument("--pools", nargs="+", choices=("pictures", "metadata"), default=["pictures", "metadata"])
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    builders = {"pictures": _pictures, "metadata": _metadata(given.rows, given.shards)}
    rows: list[Row] = []
    for name in given.pools:
        rows += _bench(Path(given.folder) / name, builders[name], given.address).rows()
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return int(not all(row["same manifest"] for row in rows))


def _bench(folder: Path, build: Callable[[Path, Path], Settings], address: str) -> Bench:
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("source", "pool"):
        (folder / part).mkdir(parents=True)
    settings = build(folder / "source", folder / "pool")
    return Bench(folder, settings | {"ray": {"address": address}, "base": "latest"})


def _pictures(source: Path, pool: Path) -> Settings:
    built = source.with_name("demo")
    build_pool(built, shards=DEMO_SHARDS)
    for path in (built / "pool").glob("*.tar"):
        path.rename(source / path.name)
    # The whole run that an incremental one is compared with embeds the pool, although others lie beside it.
    sections = {"embedding": {"model": "demo"}, "reuse_embeddings": False, "selection": {"keep": 0.3}}
    return {"input": {"shards": str(pool)}, **sections}


def _metadata(rows: int, shards: int) -> Callable[[Path, Path], Settings]:
    def build(source: Path, pool: Path) -> Settings:
        for shard in range(shards):
            write_shard(str(source), Mixture(rows, DIMENSION, 0), shard, rows // shards)
        few = source.with_name("few")
        few.mkdir()
        write_shard(str(few), Topical(rows, DIMENSION, 0), shards, max(rows // shards // 10, 1))
        for path in few.iterdir():
            path.rename(source / f"{TOPICAL}{path.suffix}")
        arrays = {"image": "img", "text": "txt"}
        return {"input": {"metadata": str(pool), "arrays": arrays}, "selection": {"keep": 0.3}}

    return build


if __name__ == "__main__":
    raise SystemExit(main())
