"""The page of large runs: seconds to build, size, memory, and how fast a browser shows it.

    python -m benchmarks.speed.report --rows 1000000 --folder DIR [--clusters 10000] [--json OUT]

The run is made in DIR (pools of pool_like.py, as in scale.py): how long the page took in it, and which share of the run
that is. The page is then made again, alone, from what the run left: its seconds (Ray's start is in them), the
most memory that all processes had together (scale.py says how; Ray's are most of it) and that one task had, the page's
size, and the time until a headless Chromium has loaded it, the best of three.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import sync_playwright

from benchmarks.lib.tables import add_outputs, print_table, write_outputs
from benchmarks.speed.scale import filtering, write_config

LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--clusters", type=int, help="how many concepts; as many as a run chooses if not given")
    parser.add_argument("--folder", required=True)
    add_outputs(parser)
    given = parser.parse_args()
    found = [_measured(Path(given.folder), rows, given.clusters) for rows in given.rows]
    print_table(found)
    write_outputs(found, given.json, given.plot)
    return 0


def _measured(folder: Path, rows: int, clusters: int | None) -> dict[str, Any]:
    config, output = write_config(folder, rows)
    settings = yaml.safe_load(config.read_text())
    if clusters is not None:
        output = folder / f"run-{rows}-{clusters}"
        config = folder / f"run-{rows}-{clusters}.yaml"
        settings |= {"output": str(output), "concepts": {"clusters": clusters}}
        config.write_text(yaml.safe_dump(settings))
    shutil.rmtree(output, ignore_errors=True)
    run, _ = filtering("run", "--config", str(config))
    whole, first = sum(stage["seconds"] for stage in run["stages"]), _seconds(run)
    for report in (output / "stages").glob("report-*"):
        shutil.rmtree(report)
    (output / "run.json").unlink()
    again, memory = filtering("run", "--config", str(config))
    report = next(stage for stage in again["stages"] if stage["name"] == "report")
    page = output / "report/index.html"
    return {
        "rows": rows,
        "concepts": _concepts(again),
        "seconds": round(first, 1),
        "of the run": round(first / whole, 3),
        "alone": round(report["seconds"], 1),
        "peak GB": round(memory / 1e9, 2),
        "GB a task": round(report["peak_memory_bytes"] / 1e9, 2),
        "page MB": round(page.stat().st_size / 1e6, 2),
        "loaded in s": round(min(_loaded(page) for _ in range(3)), 2),
    }


def _seconds(run: dict[str, Any]) -> float:
    return float(next(stage["seconds"] for stage in run["stages"] if stage["name"] == "report"))


def _concepts(run: dict[str, Any]) -> int:
    summary = next(stage["summary"] for stage in run["stages"] if stage["name"] == "concepts")
    return int(summary.split()[0].replace(",", ""))


def _loaded(page: Path) -> float:
    browser = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        context = play.chromium.launch_persistent_context(home, executable_path=browser, args=options)
        tab = context.new_page()
        tab.goto(page.as_uri())
        seconds = float(tab.evaluate(LOADED)) / 1000
        context.close()
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
