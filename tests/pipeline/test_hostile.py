"""Every hostile case in one real run, and the reader alone on random mutations."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hostile import cases
from hypothesis import given
from hypothesis import strategies as st
from mutations import moved_blocks, overwritten
from pools import Silent, member, tar_bytes, tar_config

from filtering.config.run import parse_config
from filtering.manifests.verify import problems
from filtering.pipeline import run as pipeline
from filtering.runtime.worker import peak_memory_bytes, reset_peak_memory
from filtering.shards.samples import Sample, read_samples
from filtering.storage.store import Store

pytestmark = pytest.mark.slow

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "AWS_SECRET_ACCESS_KEY": "planted/0123456789+abcdefghijklmnopqrst",
    "AWS_SESSION_TOKEN": "planted-session-token-0123456789",
}
# Above what the tests' process holds before: the small model and its libraries take at most 1 GB, the costliest picture
# that is decoded 0.3 GB.
GROWTH_BYTES = 3 << 29


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "pool").mkdir()
    found = cases(folder / "canary")
    for case in found:
        (folder / "pool" / f"{case.name}.tar").write_bytes(case.data)
    return folder, {case.name: Counter(case.expected) for case in found}


@pytest.fixture(scope="module")
def planted():
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        yield


@pytest.fixture(scope="module")
def finished(hostile, planted):
    folder, _ = hostile
    before = digests(folder)
    config = tar_config(folder / "pool", folder / "run", selection={"variant": "paper", "keep": 1.0})
    reset_peak_memory()
    held = peak_memory_bytes()
    record = pipeline.run(parse_config(config), Silent())
    outside = {name: digest for name, digest in digests(folder).items() if not name.startswith("run/")}
    return folder / "run", record, before == outside, held


def outcomes(run):
    """Return, by shard, how often each key came to each outcome."""
    found = {}
    for index, line in enumerate((run / "manifest/shards.jsonl").read_text().splitlines()):
        kept, dropped, quarantined = (
            pq.read_table(run / "manifest" / kind / f"{index:08d}.parquet").to_pylist()
            for kind in ("kept", "dropped", "quarantined")
        )
        ends = [(row["key"], "kept") for row in kept] + [(row["key"], row["reason"]) for row in dropped + quarantined]
        found[Path(json.loads(line)["url"]).stem] = Counter(ends)
    return found


def test_every_case_ends_as_it_must(hostile, finished):
    found, expected = outcomes(finished[0]), hostile[1]
    assert found.keys() == expected.keys()
    assert {name: found[name] for name in expected if found[name] != expected[name]} == {}


def test_the_run_is_sound(finished):
    run, record, *_ = finished
    assert list(problems(Store(str(run)))) == []
    assert sum(record["totals"][kind] for kind in ("kept", "dropped", "quarantined")) == record["totals"]["input"]


def test_nothing_is_written_outside_the_run_and_no_pickle_is_loaded(hostile, finished):
    folder, _ = hostile
    assert finished[2]
    assert {path.name for path in folder.iterdir()} == {"pool", "run"}


def test_no_secret_is_in_any_file(finished):
    for path in finished[0].rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [name for name, secret in SECRETS.items() if secret.encode() in data], path


def test_the_page_shows_hostile_text_escaped(finished):
    page = (finished[0] / "report/index.html").read_text()
    for mark in ("<script>hostile", "<svg onload", "<img src=x", "</script></style>", "\x1b", "\0"):
        assert mark not in page
    assert "hostile()" in page


def test_memory_stays_below_its_bound(finished):
    _, record, _, held = finished
    peaks = {stage["name"]: stage["peak_memory_bytes"] for stage in record["stages"]}
    assert {name: peak for name, peak in peaks.items() if peak - held > GROWTH_BYTES} == {}
    assert peaks["embedding"] > 0


KEYS = [f"{number:04d}" for number in range(6)]
WHOLE = tar_bytes(part for number, key in enumerate(KEYS) for part in member(key, number))


def read(data):
    return list(read_samples(io.BytesIO(data), "0.tar"))


@examples(2, deadline=2000)
@given(st.randoms(use_true_random=False), st.integers(1, 8), st.sampled_from([1, 2, 8, 512, 5000]))
def test_mutated_bytes_lose_no_key_unless_the_shard_ends(noise, hits, most):
    found = read(overwritten(noise, WHOLE, hits, most))
    ends = [one for one in found if not isinstance(one, Sample) and one.fault.reason in ENDS]
    assert len(ends) <= 1
    assert ends or set(KEYS) <= {one.key for one in found}


ENDS = ("truncated_tar", "corrupt_tar", "data_after_end", "empty_shard", "corrupt_gzip", "gzip_bomb", "shard_too_long")


@examples(2, deadline=2000)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_blocks_that_are_moved_repeated_or_lost_never_raise(noise, hits):
    found = read(moved_blocks(noise, WHOLE, hits))
    samples = [one for one in found if isinstance(one, Sample)]
    assert len({one.key for one in samples}) == len(samples)
    assert pa.array([one.key for one in found], pa.string()).to_pylist() == [one.key for one in found]
