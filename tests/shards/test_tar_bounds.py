"""Tars that ask for more than they are worth: bounded, and named."""

import io
import tarfile
import time
import zlib

import pytest
from tar_bytes import LONG, MEMBERS, faults, header, members_of, padded, tar_of
from tar_members import read_members


def test_a_member_above_the_limit_is_passed():
    found = members_of(tar_of(MEMBERS), lambda name: 600)
    assert {member.name for member in found if member.fault} == {"0001.jpg", LONG}
    assert set(faults(found)) == {"member_too_large"}
    assert [(m.name, m.data) for m in found if not m.fault] == [m for m in MEMBERS if len(m[1]) <= 600]


def test_a_huge_declared_size_is_a_fault():
    found = members_of(header("a.jpg", tarfile.REGTYPE, 1 << 60) + b"x" * 2000)
    assert faults(found) == ["truncated_tar"]
    assert found[0].name == "a.jpg"


def test_a_negative_size_is_a_fault():
    block = bytearray(header("a.jpg", tarfile.REGTYPE, 5))
    block[124:136] = b"\xff" * 11 + b"\xfb"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert faults(members_of(bytes(block) + padded(b"x"))) == ["corrupt_tar"]


def test_a_huge_extended_header_is_a_fault():
    assert faults(members_of(header("", tarfile.XHDTYPE, 1 << 30) + b"x" * 2000)) == ["corrupt_tar"]
    assert faults(members_of(header("", tarfile.GNUTYPE_LONGNAME, 1 << 30) + b"x" * 2000)) == ["corrupt_tar"]


@pytest.mark.parametrize(
    "body", [b"9999 path=x\n", b"x path=y\n", b"0 a=b\n", b"", b"5", b"\xff\xfe", b"30 size=" + b"9" * 21]
)
def test_broken_extended_headers_never_raise(body):
    data = header("", tarfile.XHDTYPE, len(body)) + padded(body) + tar_of([("b.jpg", b"y")])
    assert [member.name for member in members_of(data)] == ["b.jpg"]


def test_an_extended_header_of_many_records_is_read_quickly():
    body = b"5 a=\n" * 200_000
    data = header("", tarfile.XHDTYPE, len(body)) + padded(body) + tar_of([("b.jpg", b"y")])
    start = time.process_time()
    assert [member.name for member in members_of(data)] == ["b.jpg"]
    assert time.process_time() - start < 1


def test_countless_extended_headers_are_a_fault():
    nested = header("", tarfile.XHDTYPE, 0) * 1000 + tar_of([("b.jpg", b"y")])
    assert faults(members_of(nested)) == ["corrupt_tar"]


def test_no_more_members_are_read_than_asked():
    found = members_of(tar_of(MEMBERS), max_members=4)
    assert [member.name for member in found] == [name for name, _ in MEMBERS[:4]] + [""]
    assert (faults(found), found[-1].ends) == (["shard_too_long"], True)
    assert faults(members_of(tar_of(MEMBERS), max_members=len(MEMBERS))) == []


class Counting(io.BytesIO):
    largest = 0

    def read(self, size=-1):
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


def test_a_member_above_its_limit_is_passed_in_small_steps():
    stream = Counting(tar_of([("a.txt", b"x" * 20_000_000), ("b.txt", b"y")]))
    found = list(read_members(stream, lambda name: 100))
    assert faults(found) == ["member_too_large"]
    assert found[1].data == b"y"
    assert stream.largest < 1 << 20


def test_a_gzip_bomb_is_not_read_to_its_end():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(header("a.jpg", tarfile.REGTYPE, 1 << 40)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    assert faults(members_of(start + zeros * 40)) == ["gzip_bomb"]
