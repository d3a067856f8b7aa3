"""Members read where they stand are those that the sequential reader finds, byte for byte, whatever the tar."""

import gzip
import io
import tarfile
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest
from examples import examples
from hostile import cases, header, padded, record
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pools import members, tar_bytes
from tar_members import read_members

from filtering.config.input import Input
from filtering.core.errors import RunError
from filtering.shards import members as reading
from filtering.shards import offsets as noting
from filtering.shards.grouping import Group
from filtering.shards.inventory import Shard, list_shards
from filtering.shards.members import MissingSamplesError, groups_at, groups_by_key, keys_at
from filtering.shards.offsets import OFFSET, Offsets, Span, Wanted, offsets_of, read_offsets, write_offsets
from filtering.shards.samples import Sample, member_limits, read_samples, sample_of
from filtering.storage.checksums import PLAIN_SLOT, fill_file
from filtering.storage.store import Store, stream_object

KEYS = st.sampled_from(["a", "b", "c", "d/a", "e" * 120])
EXTENSIONS = st.sampled_from(["jpg", "txt", "json", "png", "b.jpg", "b.txt", "cls", "JPG", "x.y.npy", "é"])
MEMBER = st.tuples(st.just("member"), KEYS, EXTENSIONS, st.sampled_from([b"{}", b"text", b"", b"x" * 700]))
OTHER = st.sampled_from([("link", "a", "npy", b""), ("link", "b", "jpg", b""), ("global", "", "", b"")])
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def everything(name: str) -> int:
    return 1 << 30


def tar_of(parts, form: int) -> bytes:
    buffer = io.BytesIO()
    for kind, key, extension, data in parts:
        name = f"{key}.{extension}"
        if kind == "global":
            held = record(b"path", b"/etc/passwd")
            buffer.write(bytes(header("g", tarfile.XGLTYPE, len(held))) + padded(held))
        elif kind == "link":
            buffer.write(bytes(header(name, tarfile.SYMTYPE, linkname="/etc/passwd")))
        else:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
            buffer.write(info.tobuf(form, "utf-8", "surrogateescape") + padded(data))
    return buffer.getvalue() + bytes(1024)


def shard_of(url: str) -> Shard:
    (shard,) = list_shards(Input(shards=url))
    return shard


def noted(shard: Shard) -> list[Sample]:
    with stream_object(shard.url) as stream:
        return [one for one in read_samples(stream, shard.name) if isinstance(one, Sample)]


def content(groups) -> dict[str, list[tuple]]:
    """The members of each sample: all that is known of them."""
    return {group.key: [(group.span, *group.members.items())] for group in groups}


def check(shard: Shard) -> list[Sample]:
    """Compare both readers over all usable samples of a shard; return these."""
    samples = noted(shard)
    wanted = [Wanted(one.key, one.span) for one in samples]
    keys = [one.key for one in samples]
    found = list(groups_at(shard, wanted, everything))
    assert content(found) == content(groups_by_key(shard.url, keys, reading.limits_of_keys(set(keys), everything)))
    assert len(found) == len(samples)
    again = {one.key: one for one in samples}
    for group in groups_at(shard, wanted, member_limits()):
        assert sample_of(group, shard.name) == again[group.key]
        assert group.span == again[group.key].span
    some = wanted[1::2]
    assert content(groups_at(shard, some, everything)) == {one.key: content(found)[one.key] for one in some}
    return samples


@pytest.mark.parametrize("case", cases(Path("canary")), ids=lambda case: case.name)
def test_hostile_tars_are_read_alike_by_offset_and_by_key(case, tmp_path):
    (tmp_path / "00000000.tar").write_bytes(case.data)
    check(shard_of(str(tmp_path / "00000000.tar")))


@examples(2, suppress=HealthCheck.function_scoped_fixture)
@given(
    parts=st.lists(st.one_of(MEMBER, MEMBER, MEMBER, OTHER), max_size=25),
    form=FORMATS,
    cut=st.floats(0, 1),
    zipped=st.booleans(),
    remote=st.booleans(),
)
def test_any_tar_is_read_alike_by_offset_and_by_key(tmp_path, parts, form, cut, zipped, remote):
    marked = [(kind, key, extension, data + bytes([65 + at])) for at, (kind, key, extension, data) in enumerate(parts)]
    data = tar_of(marked, form)
    data = data[: int(len(data) * cut)] if cut > 0.4 else data
    data = gzip.compress(data) if zipped else data
    url = f"memory://{uuid.uuid4().hex}/00000000.tar" if remote else str(tmp_path / "00000000.tar")
    with fsspec.open(url, "wb") as file:
        file.write(data)
    for sample in check(shard_of(url)):
        if not sample.span.layout:
            alone = io.BytesIO(data[sample.span.start : sample.span.end] + bytes(1024))
            assert {one.name.partition(".")[0] for one in read_members(alone, everything)} == {sample.key}


def test_offsets_of_members_are_those_of_tarfile(tmp_path):
    path = tmp_path / "00000000.tar"
    path.write_bytes(tar_bytes(members(0, 30)))
    with tarfile.open(path) as tar:
        infos = tar.getmembers()
    found = list(read_members(io.BytesIO(path.read_bytes()), everything))
    assert [one.name for one in found] == [info.name for info in infos]
    assert [one.start for one in found] == [info.offset for info in infos]
    assert [one.end - len(one.data) - -len(one.data) % 512 for one in found] == [info.offset_data for info in infos]
    samples = noted(shard_of(str(path)))
    assert len({one.key for one in samples}) == 30
    assert {one.span.layout for one in samples} == {0}
    starts = [one.span.start for one in samples]
    assert list(keys_at(path, starts)) == [one.key for one in samples]
    assert list(keys_at(path, [starts[0] + 1, 1 << 40])) == ["", ""]


@pytest.mark.parametrize("at", range(0, 512, 7))
def test_a_header_with_one_other_byte_is_refused(tmp_path, at):
    data = bytearray(tar_bytes(members(0, 2)))
    path = tmp_path / "00000000.tar"
    path.write_bytes(data)
    shard = shard_of(str(path))
    wanted = [Wanted(one.key, one.span) for one in noted(shard)]
    data[at] ^= 0x11
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"00000000\.tar: no tar header at byte 0"):
        list(groups_at(shard, wanted, everything))
    assert list(keys_at(path, [0])) == [""]


@pytest.mark.parametrize("shift", [(-512, 0), (512, 0), (0, -512), (0, 512), (1, 1), (1 << 30, 1 << 30)], ids=str)
def test_a_span_that_holds_other_bytes_is_refused(tmp_path, shift):
    path = tmp_path / "00000000.tar"
    path.write_bytes(tar_bytes(members(0, 5)))
    shard = shard_of(str(path))
    wanted = [Wanted(one.key, one.span) for one in noted(shard)]
    start, end, layout = wanted[2].span
    wanted[2] = Wanted(wanted[2].key, Span(start + shift[0], end + shift[1], layout))
    with pytest.raises(RunError, match=r"^[^\n]*00000000\.tar: [^\n]*$"):
        list(groups_at(shard, wanted, everything))
    other = [Wanted(wanted[1].key, wanted[3].span)]
    with pytest.raises(RunError, match="is not where it was"):
        list(groups_at(shard, other, everything))


def test_samples_that_are_interleaved_too_widely_are_not_held(tmp_path, monkeypatch):
    parts = [("member", f"{at:03d}", extension, b"x" * 600) for extension in ("jpg", "txt") for at in range(50)]
    path = tmp_path / "00000000.tar"
    path.write_bytes(tar_of(parts, tarfile.GNU_FORMAT))
    shard = shard_of(str(path))
    wanted = [Wanted(one.key, one.span) for one in noted(shard)]
    assert len(list(groups_at(shard, wanted, everything))) == 50
    monkeypatch.setattr(reading, "WINDOW_BYTES", 20_000)
    with pytest.raises(RunError, match="its members lie too far apart"):
        list(groups_at(shard, wanted, everything))
    assert len(list(groups_at(shard, wanted[:5], everything))) == 5


def test_what_is_not_there_is_counted_and_the_rest_is_found(tmp_path):
    path = tmp_path / "00000000.tar"
    path.write_bytes(tar_bytes(members(0, 5)))
    keys = [one.key for one in noted(shard_of(str(path)))]
    found = list[Group]()
    with pytest.raises(MissingSamplesError, match=r"00000000.tar: 2 of 7 kept samples are not there, x for one"):
        for group in groups_by_key(str(path), [*keys, "x", "y"], everything):
            found.append(group)
    assert [group.key for group in found] == keys


def test_offsets_are_looked_up_by_key(tmp_path):
    store = Store(str(tmp_path))
    spans = [(f"{at:04d}", Span(1024 * at, 1024 * at + 512, 0)) for at in range(100)]
    write_offsets(store, "a.npy", offsets_of(spans))
    offsets = read_offsets(store, "a.npy")
    assert offsets.wanted(["0099", "0000"]) == [Wanted(*spans[99]), Wanted(*spans[0])]
    assert offsets.places(["0007", "none"]).tolist() == [7, -1]
    assert offsets.wanted(["0007", "none"]) is None
    assert offsets_of([]).places(["a"]).tolist() == [-1]
    assert read_offsets(store, "b.npy") is None


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: b"x" + data[1:], lambda data: b""])
def test_damaged_offsets_are_an_error_of_one_line(tmp_path, damage):
    store = Store(str(tmp_path))
    write_offsets(store, "a.npy", offsets_of([("a", Span(0, 512, 0))]))
    store.write("a.npy", damage(store.read("a.npy")))
    with pytest.raises(RunError, match=r"a\.npy: .*is damaged"):
        read_offsets(store, "a.npy")
    write_offsets(store, "a.npy", Offsets(offsets_of([("a", Span(1024, 512, 0))]).table))
    with pytest.raises(RunError, match=r"a\.npy: does not hold offsets"):
        read_offsets(store, "a.npy")


def npy(descr: object, shape: object, data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize(
    "data",
    [
        npy(OFFSET.descr, (1 << 50,)),
        npy(OFFSET.descr, (2,), bytes(25)),
        npy(OFFSET.descr, (1, 1), bytes(25)),
        npy("|O", (25,), bytes(25)),
        npy("|u1", (25,), bytes(25)),
        npy(OFFSET.descr, (1,), bytes(8) + (1).to_bytes(8, "little") + (513).to_bytes(8, "little") + b"\0"),
        npy("|u1", (0,)).replace(b"{", b"("),
        npy("|u1", (0,)).replace(b"{'descr'", b"[[[[[[[[["),
        b"PK\x05\x06" + bytes(18),
    ],
    ids=["huge", "short", "2d", "objects", "bytes", "askew", "no_dict", "brackets", "zip"],
)
def test_offsets_that_only_claim_to_be_some_are_refused(tmp_path, data):
    store = Store(str(tmp_path))
    store.write("a.npy", data + PLAIN_SLOT)
    fill_file(store.path("a.npy"), tmp_path / "a.npy")
    with pytest.raises(RunError, match=r"a\.npy: does not hold offsets"):
        read_offsets(store, "a.npy")


def test_keys_that_share_a_hash_are_looked_up_in_the_tar(monkeypatch):
    monkeypatch.setattr(noting, "key_hash", lambda key: len(key))
    offsets = offsets_of([("a", Span(0, 512, 0)), ("b", Span(512, 1024, 0)), ("cc", Span(1024, 1536, 0))])
    assert offsets.places(["a", "b", "cc", "ddd"]).tolist() == [-1, -1, 2, -1]
    assert offsets.wanted(["a", "cc"]) is None


@pytest.mark.parametrize("span", [Span(1 << 40, (1 << 40) + 512, 2), Span(1 << 20, 1 << 21, 2)], ids=str)
def test_a_span_behind_the_end_of_a_compressed_tar_is_refused(tmp_path, span):
    path = tmp_path / "00000000.tar"
    path.write_bytes(gzip.compress(tar_bytes(members(0, 2))))
    with pytest.raises(RunError, match=r"^[^\n]*00000000\.tar: [^\n]*$"):
        list(groups_at(shard_of(str(path)), [Wanted("a", span)], everything))


def test_a_span_without_end_is_not_asked_for_whole():
    url = f"memory://{uuid.uuid4().hex}/00000000.tar"
    with fsspec.open(url, "wb") as file:
        file.write(tar_bytes(members(0, 2)))
    (first, *_) = noted(shard_of(url))
    with pytest.raises(RunError, match=r"00000000\.tar: ends at byte [\d,]+, too early"):
        list(groups_at(shard_of(url), [Wanted(first.key, Span(0, 1 << 60, 1))], everything))
