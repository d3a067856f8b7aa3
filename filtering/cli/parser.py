"""The verbs and their options, with what --help says of them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import filtering
from filtering.cli.suggestions import Parser

RUN = "the run's directory, a path or a URL; ROOT/latest: the latest night's"
FORMATS = ("datacomp", "shards", "tar", "parquet")
SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
`filtering` alone says what to do next. `filtering VERB --help` explains a verb, with an example.
Verbs, options and names are completed by Tab after: filtering completion --help
"""
COMPLETION = """\
To switch it on:
  bash   filtering completion bash > ~/.local/share/bash-completion/completions/filtering
         (where there is no bash-completion: > ~/.filtering-completion, and source that in ~/.bashrc)
  zsh    filtering completion zsh > ~/.zfunc/_filtering      (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  fish   filtering completion fish > ~/.config/fish/completions/filtering.fish
"""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb.

    Attributes
    ----------
    name : as it is typed.
    about : what it does, in a line.
    options : adds what it takes to its parser.
    examples : commands.
    notes : what else is worth knowing.
    """

    name: str
    about: str
    options: Callable[[argparse.ArgumentParser], None]
    examples: tuple[str, ...]
    notes: str = ""


def new_parser() -> Parser:
    """Return the parser of the whole command line; what it parses has the verb's name as `verb`."""
    parser = Parser(
        prog="filtering",
        description="Decide which image-text pairs a multimodal model should be trained on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=filtering.__version__)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB", dest="verb")
    for verb in ALL:
        _add(verbs, verb)
    return parser


def _add(verbs: Any, verb: Verb) -> None:
    examples = ("\n" + " " * len("Example: ")).join(verb.examples)
    parser = verbs.add_parser(
        verb.name,
        help=verb.about,
        description=f"{verb.about[0].upper()}{verb.about[1:]}.",
        epilog=f"Example: {examples}\n" + (f"\n{verb.notes}" if verb.notes else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="filtering-demo", metavar="DIR", help="where it is built (filtering-demo)")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's YAML file, a path or a URL")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key, such as selection.keep=0.3; may be given several times",
    )


def _plan(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--rows", type=_count, metavar="N", help="project to a pool of N samples, such as 12.8e9")
    parser.add_argument("--cpus", type=_count, metavar="N", help="on so many CPUs")
    parser.add_argument("--cpu-hour", type=_amount, metavar="PRICE", help="what an hour of one CPU costs")
    parser.add_argument("--gpu-hour", type=_amount, metavar="PRICE", help="what an hour of one GPU costs")


def _of_a_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)


def _status(parser: argparse.ArgumentParser) -> None:
    _of_a_run(parser)
    parser.add_argument("--watch", action="store_true", help="go on until the run has ended; Ctrl-C leaves it alone")
    parser.add_argument("--every", type=_seconds, metavar="SECONDS", help="how often to look (2; object stores 10)")


def _report(parser: argparse.ArgumentParser) -> None:
    _of_a_run(parser)
    parser.add_argument("--out", metavar="DIR", help="write the page there")
    parser.add_argument("--against", metavar="RUN", help="another run, which the page compares this one with")


def _explain(parser: argparse.ArgumentParser) -> None:
    _of_a_run(parser)
    parser.add_argument("sample", metavar="SAMPLE", help="its uid, its key, or SHARD/KEY")


def _diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="RUN_A", help="a run's directory, a path or a URL")
    parser.add_argument("after", metavar="RUN_B", help="another; ROOT/latest is a night's")


def _export(parser: argparse.ArgumentParser) -> None:
    _of_a_run(parser)
    parser.add_argument("--format", required=True, metavar="F", help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    parser.add_argument("--out", required=True, metavar="URL", help="a folder, path or URL, outside the run's own")
    parser.add_argument("--samples", type=_count, metavar="N", help="tar: in each tar (10,000); parquet: in each file")
    parser.add_argument("--bytes", type=_count, metavar="N", help="tar: in each tar, such as 500e6, instead of samples")
    parser.add_argument("--shuffle", action="store_true", help="tar: in a random order over the whole pool")
    parser.add_argument("--seed", type=int, metavar="N", help="tar: of that order; 0 if it is not given")
    parser.add_argument("--embeddings", action="store_true", help="datacomp: with metadata and embeddings")
    parser.add_argument("--all", action="store_true", help="datacomp: those of all embedded samples, not the kept ones")
    parser.add_argument("--no-urls", action="store_true", help="parquet, datacomp: tars are not read for their JSON")
    parser.add_argument("--cpus", type=_count, metavar="N", help="on so many CPUs; all that there are if not given")


def _methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="its inputs and parameters alone")


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", help=f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}")


def _count(text: str) -> int:
    number = _amount(text)
    if not 1 <= number < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(number)


def _seconds(text: str) -> float:
    number = _amount(text)
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds, from 0.1 to a day")
    return number


def _amount(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


ALL = (
    Verb("demo", "a real pool, filtered end to end, page included; no network", _demo, ("filtering demo",)),
    Verb(
        "plan",
        "what would run: rows, memory, disk, hours; nothing is written",
        _plan,
        (
            "filtering plan --config run.yaml",
            "filtering plan --config run.yaml --rows 12.8e9 --cpus 4000 --cpu-hour 0.04",
        ),
    ),
    Verb(
        "run",
        "start or resume a run",
        _run,
        ("filtering run --config run.yaml --set selection.keep=0.3",),
        "The least that run.yaml must hold, here for tars of img2dataset:\n"
        "  input: {shards: pool/*.tar}\n"
        "  output: runs/first\n"
        "A run that was stopped or killed goes on when the same command is given again.",
    ),
    Verb(
        "status",
        "how a run stands, from storage alone",
        _status,
        ("filtering status runs/first", "filtering status s3://runs/2026-11-21 --watch"),
        "--watch --json prints one JSON object a line, whenever something has changed.",
    ),
    Verb(
        "report",
        "where a run's page is, or the page written elsewhere",
        _report,
        ("filtering report runs/first --out page", "filtering report runs/second --against runs/first"),
    ),
    Verb(
        "explain",
        "why a sample was kept, dropped or quarantined",
        _explain,
        ("filtering explain runs/first 00000000/000000012",),
    ),
    Verb(
        "verify",
        "conservation, checksums, schemas of a run: exit 0 only if all hold",
        _of_a_run,
        ("filtering verify runs/first",),
    ),
    Verb(
        "diff",
        "what became kept, what became dropped, per concept",
        _diff,
        ("filtering diff runs/1 runs/latest",),
    ),
    Verb(
        "export",
        "write a run's selection for a trainer",
        _export,
        (
            "filtering export runs/first --format shards --out out",
            "filtering export runs/first --format tar --out s3://train/first --shuffle",
        ),
    ),
    Verb(
        "methods",
        "what can be named: selectors, budgets, scorers",
        _methods,
        ("filtering methods", "filtering methods d2"),
    ),
    Verb(
        "completion",
        "a script with which a shell completes verbs, options and names",
        _completion,
        ("filtering completion bash > ~/.local/share/bash-completion/completions/filtering",),
        COMPLETION,
    ),
)
