"""Commands that read a finished run of which one object is something else: one line that names it, no traceback."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from pools import Silent, metadata_config
from wrong_json import ENTIRE, WRONG, changed, places

from filtering.config.run import parse_config
from filtering.pipeline import run as pipeline
from filtering.runtime.run_record import write_run
from filtering.storage.checksums import KEY
from filtering.storage.store import Store

COMMANDS = ("status", "verify", "explain", "diff", "report", "export")
# Those with a checksum are damaged with a right one: else nothing that is inside would be looked at.
OBJECTS = (
    "run.json",
    "events.jsonl",
    "manifest/checksums.json",
    "manifest/shards.jsonl",
    "report/page.json",
    "stages/inventory-*/shards.json",
    "stages/embedding-*/*.where.json",
    "stages/concepts-*/*.stage.json",
    "stages/graph-*/adjacent.json",
)
TABLES = (
    "manifest/kept/00000000.parquet",
    "stages/embedding-*/*.rows.parquet",
    "stages/concepts-*/concepts.parquet",
    "stages/concepts-*/*.visits.npz",
    "stages/graph-*/*.graph.npz",
    "stages/selection-*/budgets.npz",
    "stages/selection-*/*.scores.npz",
)


@pytest.fixture(scope="module")
def config(metadata_pool, tmp_path_factory) -> dict:
    return metadata_config(metadata_pool, tmp_path_factory.mktemp("damaged") / "run")


@pytest.fixture(scope="module")
def whole(config) -> Path:
    """A finished run that a test may damage, if it mends it again; a copy would read the rows of the original."""
    pipeline.run(parse_config(config), Silent())
    return Path(config["output"])


@pytest.fixture(scope="module")
def uid(whole) -> str:
    return pq.read_table(whole / "manifest/kept/00000000.parquet")["uid"][0].as_py()


@pytest.fixture
def outcomes(whole, metadata_run, uid, tmp_path, call_main):
    """Call commands on the run; return the exit status and what was printed by each, of verify to stdout too."""
    words = {
        "status": ["status", str(whole)],
        "verify": ["verify", str(whole)],
        "explain": ["explain", str(whole), uid],
        "diff": ["diff", str(metadata_run), str(whole)],
        "report": ["report", str(whole), "--against", str(metadata_run), "--out", str(tmp_path / "page")],
        "export": ["export", str(whole), "--format", "datacomp", "--out", str(tmp_path / "out")],
    }

    def called(*names: str) -> dict[str, tuple[int, str]]:
        found = {name: call_main(*words[name]) for name in names or COMMANDS}
        return {name: (status, err or out if name == "verify" else err) for name, (status, out, err) in found.items()}

    return called


def the_one(run: Path, pattern: str) -> Path:
    return sorted(run.glob(pattern))[0]


def wrong_texts(data: str) -> Iterator[str]:
    """Yield a JSON object with some of its places changed, each in another way, and what is no such object at all."""
    read = json.loads(data)
    every = [place for place in places(read) if place and place[-1] != KEY]
    # Every command is called on each: few of them, therefore, but before a release.
    few = 4 if settings.default.max_examples < 1000 else 12
    for number, place in enumerate(every[:: max(1, len(every) // few)]):
        yield json.dumps(changed(read, place, WRONG[number % len(WRONG)]))
    yield from ENTIRE[:: 12 // few]


def put(path: Path, text: str, rest: list[str]) -> None:
    """Write an object, with a right checksum if it is one that has any."""
    path.write_text("\n".join([text, *rest]) + "\n")
    if KEY in text:
        value = json.loads(text)
        del value[KEY]
        write = write_run if path.name == "run.json" else lambda store, record: store.write_record(path.name, record)
        write(Store(str(path.parent)), value)


def sound(name: str, status: int, printed: str, run: Path) -> bool:
    """Whether a command did its work, or said in a line which file, or at least which run, is wrong."""
    if "--debug" in printed or "Traceback" in printed:
        return False
    if status == 0 or (name == "verify" and status == 1):
        return True
    return status == 2 and printed.count("\n") == 1 and str(run) in printed


@pytest.mark.slow
@pytest.mark.parametrize("pattern", OBJECTS)
def test_json_of_any_shape_is_refused_in_a_line_that_names_it(whole, outcomes, pattern):
    path = the_one(whole, pattern)
    data = path.read_text()
    first, *rest = data.splitlines() if path.suffix == ".jsonl" else [data]
    try:
        for text in wrong_texts(first):
            put(path, text, rest)
            for name, (status, printed) in outcomes().items():
                assert sound(name, status, printed, whole), (name, text[:200], status, printed)
    finally:
        path.write_text(data)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("totals", {"kept": 1}, r"run\.json: is .* \(totals: Value error, lacks input, dropped, quarantined\); "),
        ("config", {}, r"run\.json: is .* \(config\.input: Field required\); "),
        ("stages", [{"name": "graph"}], r"run\.json: is .* \(stages\.0\.fingerprint: Field required\); "),
        ("objects", [], r"run\.json: is .* \(objects: Input should be an object\); "),
        ("recall", "0.9", r"run\.json: is .* \(recall: Input should be a valid number\); "),
    ],
)
def test_the_key_of_run_json_is_named(whole, outcomes, key, value, said):
    path = whole / "run.json"
    data = path.read_text()
    try:
        put(path, json.dumps(json.loads(data) | {key: value}), [])
        for name, (status, printed) in outcomes("verify", "explain", "diff", "report", "export").items():
            assert status == 2, name
            assert re.search(said + "give the command of that run again, which makes it anew$", printed), printed
    finally:
        path.write_text(data)


def test_a_run_json_of_which_a_bit_has_flipped_is_refused_by_every_command_that_reads_it(whole, outcomes):
    path = whole / "run.json"
    data = path.read_bytes()
    try:
        # Of a value that nothing else in the run would contradict: still JSON, still a number.
        path.write_bytes(data.replace(b'"seconds": 0.', b'"seconds": 8.', 1))
        for name, (status, printed) in outcomes("verify", "explain", "diff", "report", "export").items():
            assert status == 2, name
            assert "run.json: is damaged (its checksum differs); give the command of that run again" in printed
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("name", ["run.json", "manifest/checksums.json", "manifest/shards.jsonl", "report/page.json"])
def test_the_same_command_makes_it_anew(whole, config, outcomes, name):
    known = json.loads((whole / "run.json").read_text())["manifest_hash"]
    (whole / name).write_text("[7]")
    assert pipeline.run(parse_config(config), Silent())["manifest_hash"] == known
    assert outcomes("verify")["verify"][0] == 0


def damage(path: Path, data: bytes, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "other":
        pq.write_table(pa.table({"x": [1, 2]}), path)
    else:
        path.write_bytes(b"" if how == "empty" else data[: len(data) // 2])


@pytest.mark.slow
@pytest.mark.parametrize("pattern", TABLES)
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other"])
def test_a_table_or_array_that_is_something_else_is_refused_in_a_line_that_names_it(whole, outcomes, pattern, how):
    # Of all shards, so that of the one that is explained too.
    known = {path: path.read_bytes() for path in whole.glob(pattern)}
    try:
        for path, data in known.items():
            damage(path, data, how)
        status, printed = outcomes("explain")["explain"]
        assert (status, printed.count("\n")) == (2, 1)
        assert any(path.name in printed for path in known)
        for name, (status, printed) in outcomes("verify", "diff").items():
            assert sound(name, status, printed, whole), (name, status, printed)
    finally:
        for path, data in known.items():
            path.write_bytes(data)


@pytest.mark.parametrize("names", [[None, "x"], ["x", "y"], [1, 2], ["", "a"], ["../..", "a"], ["x" * 300, "\0"]])
@pytest.mark.parametrize("sizes", [[None, 3], ["a", "b"], [1, 2]])
def test_a_list_of_objects_of_another_form_is_a_finding_of_verify(whole, outcomes, names, sizes):
    path = the_one(whole, "stages/graph-*/*.objects.parquet")
    data = path.read_bytes()
    try:
        Store(str(path.parent)).write_table(path.name, pa.table({"name": names, "bytes": sizes}))
        status, printed = outcomes("verify")["verify"]
        assert status == 1
        assert path.name in printed or "is missing" in printed
    finally:
        path.write_bytes(data)
