"""The command line: verbs, their help, and errors in one line."""

import argparse
import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import filtering
from filtering import stopping
from filtering.config import load_config
from filtering.errors import FilteringError, one_line
from filtering.explain import nearest
from filtering.latest import run_url
from filtering.storage import Store

INTERRUPTED = 130
EXAMPLE_RUN = "filtering run --config run.yaml --set selection.keep=0.3"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 done, 2 the input is wrong, 1 the run failed."""
    given = _parser().parse_args(arguments)
    given.out_stream = sys.stdout
    stopping.listen()
    try:
        # What libraries print, Ray's notices above all, goes to stderr: stdout is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            return int(given.verb(given))
    except FilteringError as error:
        return _failed(given, error, error.exit_status, str(error))
    except (KeyboardInterrupt, SystemExit) as error:
        # While Ray starts, its own answer to a request to end is in force: SystemExit.
        return _failed(given, error, INTERRUPTED, "stopped; the same command resumes the run")
    except Exception as error:
        return _failed(given, error, 1, f"{one_line(error)} (--debug shows where)")


def command(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `main` as a program and end it with its status."""
    status = main(arguments)
    if status == INTERRUPTED:
        # Interrupted while it starts, Ray does not find its own end; its processes end with this one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _failed(given: argparse.Namespace, error: BaseException, status: int, line: str) -> int:
    if given.debug:
        traceback.print_exception(error)
    sys.stderr.write(f"filtering: {line}\n")
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest name."""

    def error(self, message: str) -> NoReturn:
        wrong = re.match(r"argument VERB: invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            verbs = re.findall(r"[\w-]+", wrong[2])
            message = f"unknown verb {wrong[1]}{nearest(wrong[1], verbs)}"
        self.exit(2, f"filtering: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="filtering",
        description="Decide which image-text pairs a multimodal model should be trained on.",
        epilog="Start with: filtering demo",
    )
    parser.add_argument("--version", action="version", version=filtering.__version__)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add(verbs, "demo", _demo, "a real pool, filtered end to end, page included; no network", "filtering demo")
    verbs.choices["demo"].add_argument("--out", default="filtering-demo", metavar="DIR", help="where it is built")
    for name, verb, text, example in (
        (
            "plan",
            _plan,
            "what would run: rows, memory, disk, hours; nothing is written",
            "filtering plan --config run.yaml",
        ),
        ("run", _run, "start or resume a run", EXAMPLE_RUN),
    ):
        _add(verbs, name, verb, text, example)
        verbs.choices[name].add_argument("--config", required=True, metavar="FILE", help="the run's YAML file")
        verbs.choices[name].add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override a key"
        )
    _add_questions(verbs.choices["plan"])
    for name, verb, text in (
        ("status", _status, "how a run stands, from storage alone"),
        ("verify", _verify, "conservation, checksums, schemas of a run: exit 0 only if all hold"),
        ("report", _report, "where a run's page is, or a copy of it"),
        ("export", _export, "write a run's selection for a trainer"),
    ):
        example = f"filtering {name} runs/first" + (" --format shards --out out" if name == "export" else "")
        _add(verbs, name, verb, text, example)
        verbs.choices[name].add_argument(
            "run", metavar="RUN", help="the run's directory, a path or a URL; ROOT/latest: the latest night's"
        )
    _add(
        verbs, "diff", _diff, "what became kept, what became dropped, per concept", "filtering diff runs/1 runs/latest"
    )
    for name, text in (
        ("before", "a run's directory, a path or a URL"),
        ("after", "another; ROOT/latest is a night's"),
    ):
        verbs.choices["diff"].add_argument(name, metavar=f"RUN_{'AB'[name == 'after']}", help=text)
    _add(verbs, "methods", _methods, "what can be named: selectors, budgets, scorers", "filtering methods d2")
    verbs.choices["methods"].add_argument("name", nargs="?", metavar="NAME", help="its inputs and parameters alone")
    verbs.choices["report"].add_argument("--out", metavar="DIR", help="copy the page there")
    _add_export(verbs.choices["export"])
    return parser


def _add_questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_count, metavar="N", help="project to a pool of N samples, such as 12.8e9")
    parser.add_argument("--cpus", type=_count, metavar="N", help="on so many CPUs")
    parser.add_argument("--cpu-hour", type=float, metavar="PRICE", help="what an hour of one CPU costs")
    parser.add_argument("--gpu-hour", type=float, metavar="PRICE", help="what an hour of one GPU costs")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, metavar="F", help="datacomp, shards, tar or parquet")
    parser.add_argument("--out", required=True, metavar="URL", help="a folder, path or URL, outside the run's own")
    parser.add_argument("--samples", type=_count, metavar="N", help="tar: in each tar (10,000); parquet: in each file")
    parser.add_argument("--bytes", type=_count, metavar="N", help="tar: in each tar, such as 500e6, instead of samples")
    parser.add_argument("--shuffle", action="store_true", help="tar: in a random order over the whole pool")
    parser.add_argument("--seed", type=int, metavar="N", help="tar: of that order; 0 if it is not given")
    parser.add_argument("--embeddings", action="store_true", help="datacomp: with metadata and embeddings")
    parser.add_argument("--all", action="store_true", help="datacomp: those of all embedded samples, not the kept ones")
    parser.add_argument("--no-urls", action="store_true", help="parquet, datacomp: tars are not read for their JSON")
    parser.add_argument("--cpus", type=_count, metavar="N", help="on so many CPUs; all that there are if not given")


def _count(text: str) -> int:
    number = float(text)
    if not 1 <= number < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(number)


def _add(verbs: Any, name: str, verb: Callable[[argparse.Namespace], int], text: str, example: str) -> None:
    parser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"Example: {example}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    parser.set_defaults(verb=verb)


def _tell(given: argparse.Namespace, value: dict[str, Any], lines: Sequence[str]) -> None:
    """Print a result: as one JSON object, or for a person."""
    if given.json:
        given.out_stream.write(json.dumps(value) + "\n")
    else:
        given.out_stream.writelines(line + "\n" for line in lines)


def _demo(given: argparse.Namespace) -> int:
    from filtering.demo.job import run_demo

    result, lines = run_demo(given.out)
    _tell(given, result, lines)
    return 0


def _plan(given: argparse.Namespace) -> int:
    from filtering.base import carried_from
    from filtering.nights import base_of
    from filtering.pipeline import check
    from filtering.plan import Question, plan, plan_lines

    config = load_config(given.config, given.overrides)
    base = base_of(config, lambda line: print(line, file=sys.stderr))
    shards, question = check(config, base), Question(given.rows, given.cpus, given.cpu_hour, given.gpu_hour)
    found = plan(config, shards, question, None if base is None else carried_from(base, shards))
    _tell(given, found, plan_lines(found, config.embedding.device))
    return 0


def _run(given: argparse.Namespace) -> int:
    from filtering.nights import run

    config = load_config(given.config, given.overrides)
    record = run(config)
    totals = record["totals"]
    lines = [
        f"kept {totals['kept']:,} of {totals['input']:,} samples; dropped {totals['dropped']:,}, "
        f"quarantined {totals['quarantined']:,}",
        *(f"warning: {warning}" for warning in record["warnings"]),
        f"manifest  {config.output}/manifest  {record['manifest_hash'][:16]}",
        f"page      {config.output}/report/index.html",
    ]
    _tell(given, record, lines)
    return 0


def _methods(given: argparse.Namespace) -> int:
    from filtering.methods import details, method, methods, overview

    found = method(given.name) if given.name else methods()
    _tell(given, {"methods": found}, details(found) if given.name else overview(found))
    return 0


def _status(given: argparse.Namespace) -> int:
    from filtering.status import stage_line, status

    found = status(Store(run_url(given.run)))
    by = f" by {found['writer']}" if "writer" in found else ""
    hint = "; the run's command resumes it" if found["state"] in ("stopped", "failed") else ""
    lines = [f"{found['run']}: {found['state']}{by}, last event {found['quiet_seconds']:.0f} s ago{hint}"]
    lines += [stage_line(stage) for stage in found["stages"]]
    if "totals" in found:
        lines.append("  " + ", ".join(f"{name} {count:,}" for name, count in found["totals"].items()))
    if "error" in found:
        lines.append(f"  {found['error']}")
    _tell(given, found, lines)
    return 0


def _diff(given: argparse.Namespace) -> int:
    from filtering.manifests.diff import diff, diff_lines

    found = diff(run_url(given.before), run_url(given.after))
    _tell(given, found, diff_lines(found))
    return 0


def _verify(given: argparse.Namespace) -> int:
    from filtering.manifests.verify import problems

    found = list(problems(Store(run_url(given.run))))
    lines = [*found, f"{len(found)} problem{'s' * (len(found) > 1)}" if found else f"{given.run}: everything holds"]
    _tell(given, {"run": given.run, "problems": found, "ok": not found}, lines)
    return 1 if found else 0


def _report(given: argparse.Namespace) -> int:
    from filtering.manifests.objects import REPORT, read_run
    from filtering.storage import write_object

    run = Store(run_url(given.run))
    read_run(run)
    page = run.path(REPORT)
    if given.out:
        page = f"{given.out.rstrip('/')}/index.html"
        write_object(page, run.read(REPORT))
    _tell(given, {"page": page}, [page])
    return 0


def _export(given: argparse.Namespace) -> int:
    from filtering.manifests.export import export
    from filtering.manifests.exports.options import Options

    names = ("samples", "bytes", "shuffle", "seed", "embeddings", "all", "no_urls")
    options = Options(**{name: getattr(given, name) for name in names}, cpus=given.cpus or "auto")
    found = export(Store(run_url(given.run)), given.format, given.out, options)
    _tell(
        given, found, [f"{found['kept']:,} kept samples as {given.format} in {given.out} ({found['objects']} objects)"]
    )
    return 0
