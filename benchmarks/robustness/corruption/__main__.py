"""The corruption matrix: every object of every stage, damaged in six ways, and the same command again.

    python -m benchmarks.robustness.corruption [--kind tars] [--killed] [--share 0.1] [--json OUT]

Runs a small pool in process, and keeps a copy. Each trial damages one object of a fresh copy (zeroed, halved, one bit
flipped, exchanged with one beside it, emptied, deleted), asks `filtering verify`, runs the same command again, and
compares: the manifests must be those of the first run, byte for byte, run.json must have the same figures, and nothing
may be left for `verify` to find. Damage to the pool's own files must end as a fresh run over them does. With --killed
the run was killed at a later point, which a seed chooses, so that later stages have to read what is damaged. --stages
takes some of the stages, --share some of the trials, as --seed says. Prints the trials by stage and outcome, and those
that ended otherwise than they should.
"""

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.robustness.corruption.bench import KINDS, NO_DAMAGE, Bench, Trial
from tests.support.damages import DAMAGES

EVERY = 25
# Fingerprints, identities of shards, and the numbers of shards, partitions and rounds.
NUMBER = re.compile(r"[0-9a-f]{16}|[0-9]{8}|(?<=-|d)[0-9](?=[-.])")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the matrix, print it, and return 1 if a trial ended otherwise than it should."""
    given = _parser().parse_args(arguments)
    # A polite kill unwinds everything as well, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="corruption-"))
    try:
        trials = list(_tried(given, folder))
    finally:
        shutil.rmtree(folder)
    print_table(rows(trials))
    print(*lists(trials), sep="\n")
    write_outputs([asdict(trial) for trial in trials], given.json)
    return int(any(trial.bad for trial in trials))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--kind", choices=KINDS, default="metadata", help="of the pool; metadata by default")
    parser.add_argument("--killed", action="store_true", help="of a run that was killed, rather than of a finished one")
    parser.add_argument("--seed", type=int, default=0, help="of the pool, the bytes that are damaged, and the kills")
    parser.add_argument("--share", type=_share, default=1.0, metavar="F", help="of the trials; all by default")
    parser.add_argument("--stages", nargs="+", metavar="NAME", help="such as graph, manifest, run.json, input; or all")
    add_outputs(parser, plot="")
    return parser


def _share(words: str) -> float:
    share = float(words)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{words} is not a number above 0 and up to 1")
    return share


def _tried(given: argparse.Namespace, folder: Path) -> Iterator[Trial]:
    bench = Bench(folder, given.kind, given.seed)
    cases = [case for case in bench.cases(given.killed) if not given.stages or case.stage in given.stages]
    if given.share < 1:
        some = random.Random(given.seed).sample(range(len(cases)), max(1, round(given.share * len(cases))))
        cases = [cases[at] for at in sorted(some)]
    for done, trial in enumerate(map(bench.trial, cases), 1):
        if done % EVERY == 0 or trial.bad:
            print(f"{done}/{len(cases)} {line(trial)}", file=sys.stderr, flush=True)
        yield trial


def rows(trials: Sequence[Trial]) -> list[Row]:
    """Return a row for each stage, and the sums: trials by outcome, how many were not said, what verify did not see."""
    tried = [trial for trial in trials if trial.outcome != NO_DAMAGE]
    outcomes = list(dict.fromkeys(trial.outcome for trial in tried))
    stages = list(dict.fromkeys(trial.stage for trial in tried))
    table = [_row(stage, [trial for trial in tried if trial.stage == stage], outcomes) for stage in stages]
    return [*table, _row("all", tried, outcomes)]


def _row(stage: str, trials: Sequence[Trial], outcomes: Sequence[str]) -> Row:
    counts = Counter(trial.outcome for trial in trials)
    silent = sum(not trial.told for trial in trials)
    unseen = sum(trial.verified not in ("", "found") for trial in trials)
    numbers = {outcome: counts[outcome] for outcome in outcomes}
    return {"stage": stage, "trials": len(trials), **numbers, "not said": silent, "verify is blind": unseen}


def lists(trials: Sequence[Trial]) -> list[str]:
    """Return lines: the trials that ended otherwise than they should, what verify does not see, what is not said."""
    unseen = [trial for trial in trials if trial.verified not in ("", "found")]
    silent = [trial for trial in trials if not trial.told]
    return [
        *(line(trial) for trial in trials if trial.bad),
        f"verify is blind to: {_kinds(unseen)}",
        f"not said, though healed: {_kinds(silent)}",
    ]


def _kinds(trials: Sequence[Trial]) -> str:
    """Return the objects of trials, those that differ by a number alone as one, with their damages."""
    found: dict[str, set[str]] = {}
    for trial in trials:
        found.setdefault(NUMBER.sub("*", trial.object), set()).add(trial.damage)
    words = [f"{name} ({', '.join(how for how in DAMAGES if how in found[name])})" for name in sorted(found)]
    return "; ".join(words) or "nothing"


def line(trial: Trial) -> str:
    """Return a trial as a line."""
    state = ", killed" if trial.killed else ""
    verified = f", verify: {trial.verified}" if trial.verified not in ("", "found") else ""
    return f"{trial.object} {trial.damage}{state}: {trial.outcome}{verified}; {trial.detail[:300]}".removesuffix("; ")


if __name__ == "__main__":
    raise SystemExit(main())
