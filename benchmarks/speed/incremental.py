"""Incremental runs over a pool that changes, each against a run over the whole pool with the same centroids.

    python -m benchmarks.speed.incremental --folder DIR [--rows 1000000] [--shards 50] [--no-whole] [--json OUT]
    python -m benchmarks.speed.incremental --folder DIR --pools metadata --set 'filters=[{"clip_score": {"keep": 0.9}}]'

Every run but the first starts from the one before it. The pools: the demo's tars, embedded by the demo's CLIP; then
metadata of benchmarks/lib/pool_like.py, where nothing is embedded. With the filter of the second line a threshold moves
in every run. Runs over the whole pool are removed once they have been measured; with --no-whole there are none, and
each run is compared with the first one, whose pool is a little smaller.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    options : of every run's command.
    whole : whether each incremental run is compared with one over the whole pool.
    """

    folder: Path
    settings: Settings
    options: Sequence[str] = ()
    whole: bool = True

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
        few, many = max(1, len(names) // 50), max(1, len(names) // 10)
        # The last shard is known by no run: it takes the place of another.
        spare = names.pop()
        late = names[-few - many :]
        first = self._linked(names[: -few - many])
        begun = self._run("1")
        changes: list[tuple[str, Callable[[], object]]] = [
            ("nothing new", lambda: None),
            (f"{few} of {len(names)} shards new", lambda: self._linked(late[:few])),
            (f"{many} of {len(names)} shards new", lambda: self._linked(late[few:])),
            ("a removed shard", lambda: self._unlink(first[1])),
            ("a replaced shard", lambda: self._link(spare, first[0])),
        ]
        if list(self.source.glob(f"{TOPICAL}.*")):
            changes.append(("a new shard of few concepts", lambda: self._link(TOPICAL, TOPICAL)))
        rows = []
        for number, (change, make) in enumerate(changes, 2):
            make()
            rows.append(self._compared(f"{number}", change, begun))
        return rows

    def _compared(self, name: str, change: str, begun: tuple[Row, float]) -> Row:
        """Return the figures of an incremental run and of the run over the whole pool, or of the one `begun` with."""
        record, seconds = self._run(name)
        full, full_seconds = self._whole(name) if self.whole else begun
        concepts, shards = record["base"]["concepts"], record["base"]["shards"]
        now = sum(shards[state] for state in ("new", "changed", "same"))
        row: Row = {
            "pool": self.folder.name,
            "change": change,
            "samples": record["totals"]["input"],
            "shards embedded": f"{record['base']['embedded_shards']} of {now}",
            "concepts searched": f"{concepts['searched']} of {concepts['all']}",
            "selected": concepts["selected"],
            "seconds": round(seconds, 1),
            "whole pool": round(full_seconds, 1),
            "share": round(seconds / full_seconds, 3),
            "recall": record["recall"],
        }
        if self.whole:
            row |= {"recall whole": full["recall"], "same manifest": record["manifest_hash"] == full["manifest_hash"]}
        return row

    def _whole(self, name: str) -> tuple[Row, float]:
        whole = self.folder / "whole" / name
        found = self._run(name, f"concepts.centroids={self.folder}/runs/1", f"output={whole}", "base=null")
        shutil.rmtree(whole)
        return found

    def _run(self, name: str, *overrides: str) -> tuple[Row, float]:
        """Return run.json and the seconds of the stages: the start of Ray, which both runs need, is left out."""
        config = self.folder / "incremental.yaml"
        config.write_text(json.dumps(self.settings | {"output": str(self.folder / "runs" / name)}))
        options = [part for override in (*self.options, *overrides) for part in ("--set", override)]
        seconds, (record, _) = timed(lambda: runs.filtering("run", "--config", str(config), *options))
        stages: dict[str, float] = {}
        for stage in record["stages"]:
            stages[stage["name"]] = round(stages.get(stage["name"], 0.0) + stage["seconds"], 1)
        print(f"{record['config']['output']}: {seconds:.1f} s in all; {stages}", flush=True)
        return record, sum(stage["seconds"] for stage in record["stages"] if not stage.get("reused"))

    def _linked(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            self._link(name, name)
        return names

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
    parser.add_argument("--shards", type=int, default=50, help="of the metadata")
    parser.add_argument("--pools", nargs="+", choices=("pictures", "metadata"), default=["pictures", "metadata"])
    parser.add_argument("--no-whole", action="store_true", help="compare each run with the first one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    builders = {"pictures": _pictures, "metadata": _metadata(given.rows, given.shards)}
    rows: list[Row] = []
    for name in given.pools:
        bench = _bench(Path(given.folder) / name, builders[name], given.address)
        rows += replace(bench, options=given.set, whole=not given.no_whole).rows()
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return int(not all(row.get("same manifest", True) for row in rows))


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
