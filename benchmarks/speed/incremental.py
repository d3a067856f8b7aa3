"""Three nights over a growing pool, each against a run over the whole pool with the same centroids.

    python -m benchmarks.speed.incremental --folder DIR [--rows 1000000] [--shards 20] [--json OUT]

On the second night a shard is new and another is replaced, on the third one is removed, on the fourth one is new that
shows a few concepts alone. First pictures: the demo's tars, embedded by the demo's CLIP. Then DataComp metadata, where
nothing is embedded at all, from pool_like.py. Runs are removed once they have been measured, but for those that
later ones start from.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.pool_like import Mixture, Topical, write_shard
from benchmarks.lib.tables import add_outputs, print_table, write_outputs
from benchmarks.speed.scale import filtering
from filtering.demo.pool import build_pool

SUFFIXES = (".parquet", ".npz", ".tar")


def main() -> int:
    """Measure, print, and return 1 if a night differs from the run over the whole pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=20)
    add_outputs(parser)
    given = parser.parse_args()
    rows = [
        *_nights(Path(given.folder) / "pictures", _pictures, 16),
        *_nights(Path(given.folder) / "metadata", _metadata(given.rows), given.shards),
    ]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return int(not all(row["same manifest"] for row in rows))


def _nights(folder: Path, build: Callable[[Path, int], dict[str, Any]], shards: int) -> list[dict[str, Any]]:
    """Run the nights of one pool and return a line for each."""
    shutil.rmtree(folder, ignore_errors=True)
    source, pool = folder / "source", folder / "pool"
    for part in (source, pool):
        part.mkdir(parents=True)
    settings = build(source, shards) | {"ray": {"address": "local"}, "base": "latest"}
    settings["input"] |= {next(key for key in settings["input"] if key != "arrays"): str(pool)}
    wanted = ".parquet" if "arrays" in settings["input"] else ".tar"
    names = sorted(path.stem for path in source.iterdir() if path.suffix == wanted)
    topical = [name for name in names if name.startswith("f")][-1:] if "arrays" in settings["input"] else []
    names = [name for name in names if name not in topical]
    first, spare, late = names[:-2], names[-2], names[-1]
    for name in first:
        _link(source, name, pool, name)
    lines = [_night(folder, settings, "1", None)]
    _link(source, late, pool, late)
    _link(source, spare, pool, first[0])
    lines.append(_night(folder, settings, "2", "a new, a replaced shard"))
    _unlink(pool, first[1])
    lines.append(_night(folder, settings, "3", "a removed shard"))
    for name in topical:
        _link(source, name, pool, name)
        lines.append(_night(folder, settings, "4", "a new shard of few concepts"))
    return [line for line in lines if line["what"]]


def _night(folder: Path, settings: dict[str, Any], name: str, what: str | None) -> dict[str, Any]:
    config = folder / "nightly.yaml"
    config.write_text(json.dumps(settings | {"output": str(folder / "nights" / name)}))
    record, seconds = _timed(config, ())
    if what is None:
        return {"what": None}
    whole = folder / "whole" / name
    alone = (f"concepts.centroids={folder}/nights/1", f"output={whole}", "base=null")
    full, full_seconds = _timed(config, alone)
    shutil.rmtree(whole)
    concepts, shards = record["base"]["concepts"], record["base"]["shards"]
    now = sum(shards[name] for name in ("new", "changed", "same"))
    return {
        "pool": folder.name,
        "what": what,
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


def _timed(config: Path, settings: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Return run.json and the seconds of the stages: what both runs need to start Ray is left out."""
    overrides = [part for one in settings for part in ("--set", one)]
    started = time.perf_counter()
    record, _ = filtering("run", "--config", str(config), *overrides)
    print(f"{record['config']['output']}: {time.perf_counter() - started:.1f} s in all", flush=True)
    return record, sum(stage["seconds"] for stage in record["stages"] if not stage.get("reused"))


def _pictures(source: Path, shards: int) -> dict[str, Any]:
    build_pool(source, shards=shards)
    for path in (source / "pool").glob("*.tar"):
        path.rename(source / path.name)
    return {"input": {"shards": ""}, "embedding": {"model": "demo"}, "selection": {"keep": 0.3}}


def _metadata(rows: int) -> Callable[[Path, int], dict[str, Any]]:
    def build(source: Path, shards: int) -> dict[str, Any]:
        for shard in range(shards):
            write_shard(str(source), Mixture(rows, 512, 0), shard, rows // shards)
        few = Path(source) / "few"
        few.mkdir()
        write_shard(str(few), Topical(rows, 512, 0), shards, max(rows // shards // 10, 1))
        for path in few.iterdir():
            # Last in the order of names, and told by them.
            path.rename(source / f"f{'f' * 31}{path.suffix}")
        few.rmdir()
        arrays = {"image": "img", "text": "txt"}
        return {"input": {"metadata": "", "arrays": arrays}, "selection": {"keep": 0.3}}

    return build


def _link(source: Path, name: str, pool: Path, target: str) -> None:
    for suffix in SUFFIXES:
        if (source / name).with_suffix(suffix).exists():
            (pool / target).with_suffix(suffix).unlink(missing_ok=True)
            (pool / target).with_suffix(suffix).hardlink_to((source / name).with_suffix(suffix))


def _unlink(pool: Path, name: str) -> None:
    for suffix in SUFFIXES:
        (pool / name).with_suffix(suffix).unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
