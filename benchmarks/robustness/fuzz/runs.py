"""Finished runs of which one object is damaged, and the commands that read them."""

import contextlib
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from benchmarks.robustness.fuzz.kinds import ACCEPTED, Input, Kind, Raw, Refused, must
from benchmarks.robustness.fuzz.objects import damaged
from filtering.cli import main
from filtering.config.run import parse_config
from filtering.exports import export as exports
from filtering.pipeline import run as pipeline
from filtering.runtime.in_process import InProcessExecutor
from tests.support.mutations import Noise
from tests.support.pools import Silent, members, metadata_config, tar_config, write_metadata, write_tar

STEPS = [
    {"method": "semdedup", "epsilon": 0.01},
    {"method": "d2", "variant": "paper", "keep": 0.5, "budget": "complexity"},
]
# Markers hold nothing that a command reads, nor does any read what a browser shows.
UNREAD = (".done", ".mark", ".html")
VARIABLE = re.compile(r"[0-9a-f]{16}|[0-9]{8}")


class Runs(Kind):
    """Calls every command on a run after each damage, in this process, as the command line does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not (folder / "whole").exists():
            make_runs(folder)
            shutil.copytree(folder / "runs", folder / "whole")
        self.forms = {str(path.relative_to(folder / "whole")): path.read_bytes() for path in _files(folder / "whole")}
        for name, data in self.forms.items():
            # The process before may have died over a damaged one.
            if (folder / "runs" / name).read_bytes() != data:
                (folder / "runs" / name).write_bytes(data)
        self.sorts: dict[str, list[str]] = {}
        for name in sorted(self.forms):
            if "-other/" not in name and self.forms[name] and not name.endswith(UNREAD):
                self.sorts.setdefault(VARIABLE.sub("*", name), []).append(name)
        self.commands = {name: dict(_commands(folder / "runs", name, folder / "out")) for name in ("metadata", "tars")}

    def make(self, noise: Noise) -> Input:
        """Damage an object of some sort by its structure or bytewise, in half of all cases with a right checksum."""
        sort = noise.choice([*self.sorts])
        name = noise.choice(self.sorts[sort])
        change, data = damaged(noise, str(self.folder / "runs" / name), self.forms[name], [*self.forms.values()])
        return Input(sort, change, data, name)

    def read(self, given: Input) -> str:
        """Call the commands: each does its work, or says in one line of status 2 what is wrong in that run."""
        path, refused = self.folder / "runs" / given.name, list[str]()
        run = given.name.split("/")[0]
        path.write_bytes(given.data)
        try:
            for command, words in self.commands[run].items():
                shutil.rmtree(self.folder / "out", ignore_errors=True)
                if _is_refused(command, words, str(self.folder / "runs" / run)):
                    refused.append(command)
        finally:
            path.write_bytes(self.forms[given.name])
        if refused:
            raise Refused(" ".join(dict.fromkeys(command.split()[0] for command in refused)))
        return ACCEPTED


def make_runs(folder: Path) -> None:
    """Make a run over metadata and one over tars, and for each another that it is compared with."""
    write_metadata(folder / "pool", [60, 50], 16)
    (folder / "tarred").mkdir()
    for shard in range(2):
        write_tar(folder / "tarred" / f"{shard:05d}.tar", members(shard, 12))
    filters = [{"caption": {"min_words": 2}}, {"clip_score": {"keep": 0.8}}]
    concepts = {"clusters": 4, "partition_rows": 60}
    for end, keep in (("", 0.4), ("-other", 0.6)):
        selection: dict[str, Any] = {"keep": keep} if end else {"steps": STEPS}
        common: dict[str, Any] = {"filters": filters, "concepts": concepts, "selection": selection}
        metadata = metadata_config(folder / "pool", folder / f"runs/metadata{end}", **common)
        tars = tar_config(folder / "tarred", folder / f"runs/tars{end}", **common)
        for config in (metadata, tars):
            pipeline.run(parse_config(config), Silent())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _commands(runs: Path, name: str, out: Path) -> Iterator[tuple[str, list[str]]]:
    run, other = str(runs / name), str(runs / f"{name}-other")
    yield "status", ["status", run]
    yield "verify", ["verify", run]
    for kind in ("kept", "dropped"):
        tables = (pq.read_table(path) for path in sorted((runs / name / "manifest" / kind).glob("*.parquet")))
        uid = next(table["uid"][0].as_py() for table in tables if len(table))
        yield f"explain {kind}", ["explain", run, uid]
    yield "diff", ["diff", other, run]
    yield "report", ["report", run, "--against", other, "--out", str(out)]
    for form in ("datacomp", "parquet") if name == "metadata" else ("tar", "parquet"):
        yield f"export {form}", ["export", run, "--format", form, "--out", str(out)]


def _is_refused(command: str, words: list[str], run: str) -> bool:
    """Call a command and return whether it refused its run; Raw or Wrong if it ended in any other way."""
    errors = io.StringIO()
    # Exports do in this process what their workers do: a Ray for each of them would take seconds.
    here = mock.patch.object(exports, "executor_for", lambda settings: InProcessExecutor())
    with here, contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    said = errors.getvalue()
    must("--debug" not in said and "Traceback" not in said, f"{command}: {said}", Raw)
    if status == 2:
        must(said.count("\n") == 1, f"{command} says more than a line: {said}")
        must(run in said, f"{command} does not name the run: {said}")
        return True
    must(status == 0 or (command == "verify" and status == 1), f"{command} has status {status}: {said}")
    return False
