"""What `filtering` prints without arguments: what to do next, here. It must be quick: nothing is imported for it."""

import re
from collections.abc import Iterator
from pathlib import Path

DEMO = "filtering-demo/run"
# A configuration is found by its two keys at the left margin: reading YAML would take longer than all else.
NEEDED = (re.compile(r"^input:", re.MULTILINE), re.compile(r"^output:[ \t]*['\"]?([^\s'\"#]*)", re.MULTILINE))
LARGEST, MOST = 100_000, 100
WIDTH = 44
PLAN = "its rows, memory, disk space and time; writes nothing"
_COMMANDS = (
    "Inspect a run: filtering status RUN --watch, report RUN, explain RUN SAMPLE, diff RUN_A RUN_B",
    "All commands: filtering --help; one command: filtering COMMAND --help",
)


def welcome(folder: Path | None = None) -> list[str]:
    """Return what a person may do next in a folder, the current one by default."""
    folder = folder or Path()
    configs = list(configurations(folder))
    parts = [
        ["filtering decides which image-text pairs a multimodal model is trained on."],
        _demo((folder / DEMO / "run.json").exists()),
        *(_configuration(folder, path) for path in configs[:2]),
        *([] if configs else [_own_pool()]),
        _COMMANDS,
    ]
    return "\n\n".join("\n".join(part) for part in parts).splitlines()


def configurations(folder: Path) -> Iterator[Path]:
    """Yield the YAML files in a folder that hold a run's two keys, input and output; newest first."""
    files = [path for path in folder.glob("*.y*ml") if path.is_file() and path.stat().st_size < LARGEST]
    for path in sorted(files, key=lambda path: -path.stat().st_mtime)[:MOST]:
        text = path.read_text(encoding="utf-8", errors="replace")
        if all(key.search(text) for key in NEEDED):
            yield path


def _demo(finished: bool) -> list[str]:
    if not finished:
        return ["Start here:", _line("filtering demo", "filter a small pool in about a minute; needs no network")]
    return [
        f"The demo is finished, in {DEMO}:",
        *_look_at(DEMO),
        _line("filtering demo", "run it again; finished stages are reused"),
    ]


def _configuration(folder: Path, path: Path) -> list[str]:
    name = path.name
    plan = _line(f"filtering plan --config {name}", PLAN)
    output = _output(folder, path)
    if output and (folder / output / "run.json").exists():
        return [f"The run of {name} is finished, in {output}:", *_look_at(output)]
    if output and (folder / output / "events.jsonl").exists():
        resumes = _line(f"filtering run --config {name}", "resume it, if it is not running")
        return [
            f"The run of {name} has started, in {output}:",
            _line(f"filtering status {output} --watch", "its progress"),
            resumes,
        ]
    return [f"{name} configures a run:", plan, _line(f"filtering run --config {name}", "start the run")]


def _output(folder: Path, path: Path) -> str:
    """Return where a configuration's run is, if that is on this machine and needs no working out."""
    found = NEEDED[1].search(path.read_text(encoding="utf-8", errors="replace"))
    output = found[1] if found else ""
    return "" if "://" in output or "{" in output else output


def _own_pool() -> list[str]:
    return [
        "For your own pool, write these three lines to run.yaml (more: filtering init), then plan and run it:",
        "  input: {shards: pool/*.tar}",
        "  embedding: {model: ViT-B-32, pretrained: datacomp_xl_s13b_b90k}",
        "  output: runs/first",
        _line("filtering plan --config run.yaml", PLAN),
        _line("filtering run --config run.yaml", "start the run; the same command resumes it"),
    ]


def _look_at(run: str) -> list[str]:
    return [
        _line(f"filtering status {run}", "its stages and totals"),
        _line(f"filtering report {run}", "the path of its report"),
        _line(f"filtering explain {run} SAMPLE", "why a sample was kept or dropped"),
    ]


def _line(command: str, about: str) -> str:
    return f"  {command:<{WIDTH}}{about}" if len(command) < WIDTH else f"  {command}  {about}"
