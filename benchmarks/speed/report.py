"""The report of large runs: seconds to build it, its size, memory, and how fast a browser shows it.

    python -m benchmarks.speed.report --rows 1000000 --folder DIR [--clusters 10000] [--json OUT]

A run in DIR, as in benchmarks.speed.scale, says how long its report took and which share of the run that is. The report
is then made again, alone, from the rest of the run: its seconds (the start of Ray included), the peak memory of all
processes together (benchmarks.speed.scale says how; Ray holds most of it) and of one task, the page's size, and the
times in which a headless Chromium loads it, sorts its table of concepts and searches in it, each the best of three.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.browser import FLAGS, browser_path
from benchmarks.lib.tables import Row, print_table, write_outputs

LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
TIMED = """(() => {{ const start = performance.now(); {} document.body.offsetHeight;
    return performance.now() - start; }})()"""
SORTED = TIMED.format("document.querySelectorAll('#concept-table th button')[4].click();")
SEARCHED = TIMED.format(
    "const s = document.querySelector('#concept-search'); s.value = '7'; s.dispatchEvent(new Event('input'));"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--clusters", type=int, help="number of concepts; by default a run's own choice")
    parser.add_argument("--folder", required=True, help="where pools and runs are kept")
    parser.add_argument("--no-browser", action="store_true", help="leave out the time in a browser")
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    browser = None if given.no_browser else browser_path()
    found = [
        _measured(*_configured(Path(given.folder), rows, given.clusters, given.address), rows) for rows in given.rows
    ]
    for row in found:
        page = row.pop("page")
        seen = [_seen(page, browser) for _ in range(3)] if browser else []
        for what in ("loaded", "sorted", "searched"):
            row[f"{what} in s"] = round(min(each[what] for each in seen), 2) if seen else None
    print_table(found)
    write_outputs(found, given.json, given.plot)
    return 0


def _configured(folder: Path, rows: int, clusters: int | None, address: str) -> tuple[Path, Path]:
    config, output = runs.write_config(folder, rows, address)
    if clusters is None:
        return config, output
    settings = yaml.safe_load(config.read_text())
    output, config = folder / f"run-{rows}-{clusters}", folder / f"run-{rows}-{clusters}.yaml"
    config.write_text(yaml.safe_dump(settings | {"output": str(output), "concepts": {"clusters": clusters}}))
    return config, output


def _measured(config: Path, output: Path, rows: int) -> Row:
    shutil.rmtree(output, ignore_errors=True)
    run, _ = runs.filtering("run", "--config", str(config))
    whole, first = sum(stage["seconds"] for stage in run["stages"]), _stage(run, "report")["seconds"]
    for stage in (output / "stages").glob("report-*"):
        shutil.rmtree(stage)
    (output / "run.json").unlink()
    again, memory = runs.filtering("run", "--config", str(config))
    report, page = _stage(again, "report"), output / "report/index.html"
    return {
        "rows": rows,
        "concepts": int(_stage(again, "concepts")["summary"].split()[0].replace(",", "")),
        "seconds": round(first, 1),
        "of the run": round(first / whole, 3),
        "alone": round(report["seconds"], 1),
        "peak GB": round(memory / 1e9, 2),
        "GB a task": round(report["peak_memory_bytes"] / 1e9, 2),
        "page MB": round(page.stat().st_size / 1e6, 2),
        "page": page,
    }


def _stage(run: Row, name: str) -> Row:
    return next(dict(stage) for stage in run["stages"] if stage["name"] == name)


def _seen(page: Path, browser: str) -> dict[str, float]:
    """Return the seconds in which a new browser loads the page, sorts its concepts and searches in them."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        context = play.chromium.launch_persistent_context(home, executable_path=browser, args=list(FLAGS))
        tab = context.new_page()
        tab.goto(page.as_uri())
        seconds = {
            what: float(tab.evaluate(script)) / 1000
            for what, script in (("loaded", LOADED), ("sorted", SORTED), ("searched", SEARCHED))
        }
        context.close()
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
