"""The ranges of kept samples are their members, whether offsets were noted while the shard was embedded or not."""

import gzip
import io
import json
from pathlib import Path

import pytest
from finished_runs import MAX_IMAGE_BYTES, note_offsets, usable, write_finished
from hostile import cases
from in_process import export
from pools import member, members, write_tar
from tar_members import read_members

from filtering.config.input import Input
from filtering.core.errors import InputError, RunError
from filtering.exports.columns import json_fields
from filtering.exports.members import kept_ranges
from filtering.exports.options import Options
from filtering.manifests.finished import Source, read_finished
from filtering.shards.inventory import list_shards
from filtering.shards.offsets import COMPRESSED, Span
from filtering.storage.retries import taken


def content(source: Source) -> list[tuple[int, str, bytes]]:
    """Row, name and data of every member of a kept sample."""
    found = []
    with kept_ranges(source, MAX_IMAGE_BYTES) as (holder, ranges):
        data = Path(holder.url).read_bytes()
        for at, row in enumerate(ranges.rows.tolist()):
            pieces = [data[piece.start : piece.end] for piece in ranges.of(slice(at, at + 1)).pieces(holder)]
            tar = io.BytesIO(b"".join(pieces) + bytes(1024))
            found += [(row, one.name, one.data) for one in read_members(tar, lambda name: 1 << 30)]
    return found


def source_of(folder: Path, noted: bool) -> Source:
    (source,) = read_finished(write_finished(folder / f"run-{noted}", folder / "pool", noted=noted)).sources
    assert (source.offsets() is not None) == noted
    return source


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(Path("canary")), ids=lambda case: case.name)
def test_hostile_tars_give_the_same_members_both_ways(case, tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/00000000.tar").write_bytes(case.data)
    (shard,) = list_shards(Input(shards=str(tmp_path / "pool")))
    samples = usable(shard)
    if not samples:
        return
    noted, found = (source_of(tmp_path, noted) for noted in (True, False))
    assert content(noted) == content(found)
    rows = {row for row, _, _ in content(noted)}
    assert rows == set(range(len(samples)))
    images = {(row, name): data for row, name, data in content(noted)}
    assert all(images[row, one.image_member] == one.image for row, one in enumerate(samples))
    fields = [json_fields(source, ("uid",), MAX_IMAGE_BYTES) for source in (noted, found)]
    assert fields[0] == fields[1]
    pairs = [(one.get("uid") or sample.uid, sample.uid) for one, sample in zip(fields[0], samples, strict=True)]
    assert all(said.lower() == uid for said, uid in pairs)


@pytest.fixture
def pool(tmp_path) -> Path:
    (tmp_path / "pool").mkdir()
    for shard in range(2):
        write_tar(tmp_path / f"pool/{shard:08d}.tar", members(shard, 12))
    return tmp_path / "pool"


def test_the_json_of_kept_samples_is_read_without_their_images(pool, tmp_path):
    parts = [(f"{at}.{extension}", data) for at in range(30) for extension, data in parts_of(at)]
    write_tar(pool / "00000000.tar", parts)
    run = write_finished(tmp_path / "run", pool, lambda uid: int(uid, 16) % 2 > 0)
    source = read_finished(run).kept_sources()[0]
    taken()
    found = json_fields(source, ("number",), MAX_IMAGE_BYTES)
    assert [one["number"] for one in found] == list(range(1, 30, 2))
    assert taken()["read_bytes"] < 0.2 * (pool / "00000000.tar").stat().st_size


def parts_of(number: int):
    fields = {"uid": f"{number:032x}", "number": number}
    return [("jpg", bytes([number]) * 200_000), ("json", json.dumps(fields).encode()), ("txt", b"a caption")]


@pytest.mark.parametrize("options", [{}, {"bytes": 50_000}, {"shuffle": True}], ids=str)
def test_offsets_that_are_not_the_shards_own_are_refused(pool, tmp_path, options):
    run = write_finished(tmp_path / "run", pool)
    spans = {shard: [(one.key, one.span) for one in usable(shard)] for shard in list_shards(Input(shards=str(pool)))}
    for found in spans.values():
        found[3:5] = [(found[3][0], found[4][1]), (found[4][0], found[3][1])]
    note_offsets(run, spans)
    with pytest.raises(InputError, match=r"\.tar: kept sample 0000\d000000\d is not where it was when the run read it"):
        export(run, "tar", str(tmp_path / "out"), Options(**options))
    assert not list((tmp_path / "out").glob("*.tar"))


@pytest.mark.parametrize(
    "options", [{"samples": 7}, {"bytes": 20_000}, {"shuffle": True, "seed": 3, "samples": 7}], ids=str
)
def test_a_run_that_noted_no_offsets_exports_the_same_bytes(pool, tmp_path, options):
    apart = [part for parts in zip(*(member(f"x{at}", at) for at in range(5)), strict=True) for part in parts]
    write_tar(pool / "00000002.tar", apart)
    found = []
    for noted in (True, False):
        run = write_finished(tmp_path / f"run-{noted}", pool, lambda uid: int(uid, 16) % 3 > 0, noted)
        export(run, "tar", str(tmp_path / f"out-{noted}"), Options(**options))
        found.append({path.name: path.read_bytes() for path in (tmp_path / f"out-{noted}").iterdir()})
    assert found[0] == found[1]
    assert len(found[0]) > 4


def test_samples_that_the_noted_offsets_lack_are_looked_for_in_the_tar(pool, tmp_path):
    run, whole = (write_finished(tmp_path / name, pool) for name in ("run", "whole"))
    spans = {shard: [(one.key, one.span) for one in usable(shard)] for shard in list_shards(Input(shards=str(pool)))}
    note_offsets(run, {shard: found[::2] for shard, found in spans.items()})
    for store in (run, whole):
        export(store, "tar", str(tmp_path / f"out-{store.url[-3:]}"), Options())
    tars = [(tmp_path / f"out-{name}/00000000.tar").read_bytes() for name in ("run", "ole")]
    assert tars[0] == tars[1]


def test_offsets_behind_the_end_of_a_compressed_tar_are_refused(pool, tmp_path):
    (pool / "00000000.tar").write_bytes(gzip.compress((pool / "00000000.tar").read_bytes()))
    run = write_finished(tmp_path / "run", pool)
    spans = {shard: [(one.key, one.span) for one in usable(shard)] for shard in list_shards(Input(shards=str(pool)))}
    first = next(iter(spans.values()))
    first[0] = (first[0][0], Span(1 << 40, (1 << 40) + 512, COMPRESSED))
    note_offsets(run, spans)
    source = read_finished(run).kept_sources()[0]
    with pytest.raises(RunError, match=r"00000000\.tar: ends at byte \d+"), kept_ranges(source, MAX_IMAGE_BYTES):
        pass
