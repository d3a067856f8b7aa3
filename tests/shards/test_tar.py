import contextlib
import gzip
import io
import random
import tarfile

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tar_bytes import FORMATS, MEMBERS, everything, faults, header, members_of, padded, tar_of
from tar_members import read_members

from filtering.shards.tar import BLOCK


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_tar_comes_back(kind):
    found = members_of(tar_of(MEMBERS, kind))
    assert [(member.name, member.data) for member in found] == MEMBERS
    assert faults(found) == []


@pytest.mark.parametrize("kind", ["pax", "gnu"])
def test_very_long_names_come_back(kind):
    name = "deep/" * 200 + "\u732b" * 100 + ".jpg"
    assert [member.name for member in members_of(tar_of([(name, b"x")], kind))] == [name]


def test_a_size_that_only_the_extended_header_holds():
    body = b"12 size=700\n"
    data = header("", tarfile.XHDTYPE, len(body)) + padded(body)
    data += header("a.jpg", tarfile.REGTYPE, 0) + padded(b"x" * 700) + tar_of([("b.jpg", b"y")])
    assert [(member.name, len(member.data)) for member in members_of(data)] == [("a.jpg", 700), ("b.jpg", 1)]


def test_global_headers_are_passed():
    body = b"13 comment=x\n"
    data = header("", tarfile.XGLTYPE, len(body)) + padded(body) + tar_of([("b.jpg", b"y")])
    assert [member.name for member in members_of(data)] == ["b.jpg"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tar_cut_anywhere_gives_a_prefix_and_one_fault(kind):
    whole = tar_of(MEMBERS, kind)
    end = len(whole.rstrip(b"\0"))
    content = next(at for at in range(0, len(whole), BLOCK) if at >= end and not whole[at:].strip(b"\0"))
    for cut in sorted({*range(BLOCK, len(whole), BLOCK), *range(1, len(whole), 211)}):
        found = members_of(whole[:cut])
        good = [(member.name, member.data) for member in found if member.fault is None]
        assert good == MEMBERS[: len(good)], cut
        if cut >= content + BLOCK:
            assert len(good) == len(MEMBERS)
            assert faults(found) == []
        else:
            assert faults(found) == ["truncated_tar"], cut
            assert found[-1].ends
            assert found[-1].data is None


def test_no_bytes_at_all():
    assert faults(members_of(b"")) == ["empty_shard"]


def test_an_empty_tar_has_no_members():
    assert members_of(tar_of([])) == []
    assert members_of(bytes(BLOCK)) == []


@pytest.mark.parametrize("garbage", [b"x" * 2000, b"<html>not found</html>", bytes(range(256)) * 8, b"x"])
def test_garbage_is_one_fault(garbage):
    found = members_of(garbage)
    assert len(found) == 1
    assert found[0].fault.reason in ("corrupt_tar", "truncated_tar")
    assert (found[0].name, found[0].ends) == ("", True)


def test_garbage_after_a_member_keeps_the_member():
    first = header("0001.jpg", tarfile.REGTYPE, 700) + padded(MEMBERS[0][1])
    found = members_of(first + b"garbage!" * 64 + tar_of(MEMBERS[1:]))
    assert [(member.name, member.data) for member in found[:-1]] == MEMBERS[:1]
    assert faults(found) == ["corrupt_tar"]
    assert found[-1].ends


def test_gzip_comes_back():
    found = members_of(gzip.compress(tar_of(MEMBERS)))
    assert [(member.name, member.data) for member in found] == MEMBERS


def test_cut_gzip_gives_a_prefix_and_one_fault():
    noise = random.Random(0)
    members = [(f"{number}.jpg", noise.randbytes(3000)) for number in range(6)]
    whole = gzip.compress(tar_of(members))
    for cut in range(2, len(whole) - 200, 97):
        found = members_of(whole[:cut])
        good = [(member.name, member.data) for member in found if member.fault is None]
        assert good == members[: len(good)]
        assert faults(found) in (["corrupt_gzip"], ["truncated_tar"], ["empty_shard"])


def test_damaged_gzip_is_a_fault():
    whole = bytearray(gzip.compress(tar_of([("a.jpg", random.Random(1).randbytes(9000))])))
    whole[4000:4100] = bytes(100)
    assert len(faults(members_of(bytes(whole)))) == 1


def test_members_not_wanted_are_named_without_data():
    found = members_of(tar_of(MEMBERS), lambda name: 600 if name.endswith(".txt") else None)
    assert [member.name for member in found] == [name for name, _ in MEMBERS]
    assert [member.data is not None for member in found] == [name.endswith(".txt") for name, _ in MEMBERS]


def test_names_that_are_not_utf8_stay_readable():
    block = bytearray(header("aa.jpg", tarfile.REGTYPE, 1))
    block[0:2] = b"\xff\xfe"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    found = members_of(bytes(block) + padded(b"x") + bytes(1024))
    assert [(member.name, member.data) for member in found] == [("\\xff\\xfe.jpg", b"x")]
    found[0].name.encode("utf-8")


class Trickle(io.BytesIO):
    def read(self, size=-1):
        return super().read(min(size, 7) if size > 0 else size)


def test_a_stream_that_gives_a_few_bytes_at_a_time():
    for data in (tar_of(MEMBERS), gzip.compress(tar_of(MEMBERS))):
        found = list(read_members(Trickle(data), everything))
        assert [(member.name, member.data) for member in found] == MEMBERS


@given(st.binary(max_size=3000), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\0"]))
def test_random_bytes_never_raise(data, start):
    found = members_of(start + data)
    assert not any(member.ends for member in found[:-1])


WHOLE = {kind: tar_of(MEMBERS, kind) for kind in FORMATS}


@examples(2)
@given(st.sampled_from(sorted(FORMATS)), st.booleans(), st.randoms(use_true_random=False), st.data())
def test_a_damaged_tar_never_raises(kind, zipped, noise, data):
    damaged = bytearray(gzip.compress(WHOLE[kind], mtime=0) if zipped else WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        # Its end is a place, too: earlier damage may have left nothing.
        place = noise.randint(0, len(damaged))
        damaged[place : place + noise.choice([0, 1, 8, 512])] = noise.randbytes(noise.choice([0, 1, 8, 512]))
    found = members_of(bytes(damaged), lambda name: 5000)
    assert not any(member.ends for member in found[:-1])
    for member in found:
        member.name.encode("utf-8")
        assert member.data is None or len(member.data) <= 5000


@given(st.integers(0, 11), st.binary(max_size=12), st.sampled_from([b"x", b"g", b"L", b"K", b"S", b"0", b"7", b"\0"]))
def test_odd_headers_with_a_right_checksum_never_raise(field, value, kind):
    place = [0, 100, 108, 116, 124, 136, 257, 265, 297, 345, 386, 483][field]
    block = bytearray(header("a.jpg", tarfile.REGTYPE, 40))
    block[156:157] = kind
    block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    members_of(bytes(block[:BLOCK]) + padded(b"20 path=b.jpg\n") + WHOLE["ustar"], lambda name: 5000)


def with_checksum(block):
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("signed", [False, True])
def test_checksums_of_both_kinds_are_taken(signed):
    block = bytearray(header("\u00e9" * 40 + ".jpg", tarfile.REGTYPE, 1))
    block[148:156] = b" " * 8
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % total
    assert faults(members_of(bytes(block) + padded(b"x") + bytes(1024))) == []
    block[0] ^= 1
    assert faults(members_of(bytes(block) + padded(b"x") + bytes(1024))) == ["corrupt_tar"]


@pytest.mark.parametrize("place", [100, 108, 116, 124, 136, 329, 337])
def test_a_number_that_is_none_is_a_fault(place):
    block = bytearray(header("a.jpg", tarfile.REGTYPE, 1))
    block[place : place + 3] = b"zz9"
    assert faults(members_of(with_checksum(block) + padded(b"x") + bytes(1024))) == ["corrupt_tar"]


NAMES = st.text(st.sampled_from("a0./ \\\u00e9\u732b_-"), min_size=1, max_size=130).filter(
    lambda name: name.strip("/. ")
)
KINDS = st.sampled_from([tarfile.REGTYPE] * 6 + [b"7", b"1", b"2", b"3", b"5", b"6"])
ENTRIES = st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=1500)), max_size=6)


def built(entries, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind], encoding="utf-8") as tar:
        for name, type_byte, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_byte, "x" * (len(data) % 140)
            info.size = len(data) if type_byte in tarfile.REGULAR_TYPES else 0
            # What a format cannot hold is not packed.
            with contextlib.suppress(ValueError):
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@examples(2)
@given(ENTRIES, st.sampled_from(sorted(FORMATS)))
def test_a_valid_tar_is_read_as_pythons_own_reader_does(entries, kind):
    whole = built(entries, kind)
    with tarfile.open(fileobj=io.BytesIO(whole), encoding="utf-8") as tar:
        expected = [(info.name, tar.extractfile(info).read()) for info in tar if info.isreg()]
    found = members_of(whole)
    assert [(member.name, member.data) for member in found if member.fault is None] == expected
    assert set(faults(found)) <= {"not_a_file"}
