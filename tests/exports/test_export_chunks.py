"""MDS and LitData: what their own readers give is the kept samples, byte for byte.

LitData is in the extra `exports`; `make test-streaming` installs MosaicML Streaming apart, which wants an older numpy.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from finished_runs import usable, write_finished
from in_process import export
from pools import member, members, write_tar

from filtering.config.input import Input
from filtering.core.errors import InputError
from filtering.exports import chunks
from filtering.exports.options import Options
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

# Streaming leaves shared memory and threads behind, and LitData processes: each reads in a process of its own.
READERS = {
    "mds": "from streaming import StreamingDataset as D; d = D(local={0!r}, shuffle=False, batch_size=1)",
    "litdata": "from litdata import StreamingDataset as D; d = D({0!r})",
}
PACKAGES = {"mds": "streaming", "litdata": "litdata"}
# LitData gives bytes without copying them, as a memoryview.
PRINTED = (
    "; import json; rows = [dict(d[at]) for at in range(len(d))]; "
    "rows = [{k: v if isinstance(v, str) else bytes(v).hex() for k, v in row.items()} for row in rows]; "
    "print('\\n' + json.dumps(rows))"
)


def as_read(form: str, folder: Path) -> list[dict]:
    pytest.importorskip(PACKAGES[form])
    program = READERS[form].format(str(folder)) + PRINTED
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def described(sample) -> dict:
    _, stem = sample.image_member.rpartition("/")[2].partition(".")[::2]
    return {
        "key": sample.key,
        "uid": sample.uid,
        "image": sample.image.hex(),
        "caption": sample.caption,
        "extension": stem,
    }


@pytest.fixture
def finished(tmp_path) -> Store:
    (tmp_path / "pool").mkdir()
    for shard in range(3):
        write_tar(tmp_path / f"pool/{shard:08d}.tar", members(shard, 9))
    # Without JSON, with another extension, and with members that are no part of a sample.
    more = [(name.replace(".jpg", ".png"), data) for name, data in member("other", 5) if not name.endswith("json")]
    write_tar(tmp_path / "pool/00000003.tar", [*more, ("other.txt.bak", b"x"), *member("café", 6, "été".encode())])
    return write_finished(tmp_path / "run", tmp_path / "pool", lambda uid: int(uid, 16) % 3 > 0)


def kept(finished: Store, pool: Path) -> list[dict]:
    samples = (one for shard in list_shards(Input(shards=str(pool))) for one in usable(shard))
    return [described(one) for one in samples if int(one.uid, 16) % 3 > 0]


@pytest.mark.slow
@pytest.mark.parametrize("form", READERS)
def test_the_formats_own_reader_gives_the_kept_samples(finished, tmp_path, form):
    found = export(finished, form, str(tmp_path / "out"), Options(samples=4))
    expected = kept(finished, tmp_path / "pool")
    assert found["kept"] == len(expected) and found["files"] == -(-len(expected) // 4)
    assert len(list((tmp_path / "out").iterdir())) == found["objects"]
    rows = as_read(form, tmp_path / "out")
    jsons = [row.pop("json") for row in rows]
    assert rows == expected
    texts = [bytes.fromhex(text) for text in jsons]
    assert [json.loads(text)["key"] if text else row["key"] for row, text in zip(rows, texts, strict=True)] == [
        row["key"] for row in expected
    ]


@pytest.mark.parametrize("form", READERS)
def test_an_export_of_nothing_has_an_index(tmp_path, form):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 2))
    run = write_finished(tmp_path / "run", tmp_path / "pool", lambda uid: False)
    assert export(run, form, str(tmp_path / "out"))["files"] == 0
    assert (tmp_path / "out/index.json").exists()


def test_samples_that_one_file_cannot_hold_are_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "MOST_BYTES", 10_000)
    with pytest.raises(InputError, match=r"--samples: .* have more than 4 GiB, which one file cannot hold; give fewer"):
        export(finished, "mds", str(tmp_path / "out"))


def test_a_run_over_metadata_has_no_members(metadata_run, tmp_path):
    with pytest.raises(InputError, match="--format litdata: the input of this run was DataComp metadata"):
        export(Store(str(metadata_run)), "litdata", str(tmp_path / "out"))
