"""What a tar holds beside files: folders, links, sparse files, volumes, notes of archives, and other kinds of file."""

import gzip
import tarfile

import pytest
from tar_bytes import MEMBERS, faults, header, members_of, padded, tar_of


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_what_is_no_file_is_named_and_passed(kind):
    data = header("a.jpg", kind, linkname="/etc/passwd") + tar_of(MEMBERS[:1])
    found = members_of(data)
    assert faults(found) == ["not_a_file"]
    assert (found[0].data, found[0].ends) == (None, False)
    assert [(member.name, member.data) for member in found[1:]] == MEMBERS[:1]


@pytest.mark.parametrize("kind", [b"5", b"D", b"V", b"N", b"A", b"E", b"I"])
def test_folders_and_notes_of_archives_are_no_members(kind):
    size = 0 if kind == b"5" else 700
    data = header("laion.v2/", kind, size) + padded(b"x" * size) + tar_of(MEMBERS[:1])
    assert [(member.name, member.data) for member in members_of(data)] == MEMBERS[:1]


def test_a_folder_of_the_oldest_tars_is_none():
    data = header("laion.v2/", tarfile.AREGTYPE) + tar_of(MEMBERS[:1])
    assert [member.name for member in members_of(data)] == ["0001.jpg"]


def test_a_contiguous_file_is_a_file():
    data = header("a.jpg", tarfile.CONTTYPE, 3) + padded(b"abc") + tar_of(MEMBERS[:1])
    assert [(member.name, member.data) for member in members_of(data)] == [("a.jpg", b"abc"), MEMBERS[0]]


def test_the_rest_of_a_file_of_another_volume_is_named_and_passed():
    found = members_of(header("a.jpg", b"M", 700) + padded(b"x" * 700) + tar_of(MEMBERS[:1]))
    assert faults(found) == ["not_a_file"] and "another volume" in found[0].fault.detail
    assert [member.name for member in found] == ["a.jpg", "0001.jpg"]


def record(key, value):
    body = f" {key}={value}\n"
    length = len(body) + 1
    while len(f"{length}{body}") != length:
        length += 1
    return f"{length}{body}".encode()


SPARSE = {
    "0.0": {"GNU.sparse.size": 9000, "GNU.sparse.numblocks": 1, "GNU.sparse.offset": 0, "GNU.sparse.numbytes": 600},
    "0.1": {"GNU.sparse.size": 9000, "GNU.sparse.map": "0,600", "GNU.sparse.name": "0002.jpg"},
    "1.0": {
        **{"GNU.sparse.major": 1, "GNU.sparse.minor": 0, "GNU.sparse.name": "0002.jpg", "GNU.sparse.realsize": 9000},
        "path": "GNUSparseFile.7/0002.jpg",
    },
}


@pytest.mark.parametrize("version", SPARSE)
def test_a_sparse_file_of_every_version_is_one_member_under_its_own_name(version):
    body = b"".join(record(key, value) for key, value in SPARSE[version].items())
    made_up = "0002.jpg" if version == "0.0" else "GNUSparseFile.7/0002.jpg"
    data = header("", tarfile.XHDTYPE, len(body)) + padded(body)
    data += header(made_up, tarfile.REGTYPE, 1112) + padded(b"1\n0\n600\n".ljust(512, b"\0") + b"x" * 600)
    found = members_of(data + tar_of(MEMBERS[:1]))
    assert [member.name for member in found] == ["0002.jpg", "0001.jpg"]
    assert faults(found) == ["not_a_file"] and found[0].fault.detail == "is a sparse file"


@pytest.mark.parametrize(
    ("begins", "words"),
    [
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"BZh91AY", "compressed with bzip2"),
        (gzip.compress(tar_of(MEMBERS)), "compressed with gzip twice"),
        (b"PK\x03\x04", "is a zip file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>sign in", "is a web page"),
        (b"<HTML>", "is a web page"),
    ],
)
@pytest.mark.parametrize("length", [60, 5000])
def test_a_file_that_is_no_tar_is_called_what_it_is(begins, words, length):
    data = begins[:length].ljust(length, b"\x11")
    found = members_of(gzip.compress(data) if words.endswith("twice") else data)
    assert faults(found) == ["corrupt_tar"]
    assert words in found[0].fault.detail


def test_a_member_may_be_named_like_the_beginning_of_another_kind_of_file():
    assert [member.name for member in members_of(tar_of([("BZh.jpg", b"x"), ("b.jpg", b"y")]))] == ["BZh.jpg", "b.jpg"]


@pytest.mark.parametrize("extensions", [0, 1, 3])
def test_a_sparse_file_is_passed_with_its_maps(extensions):
    block = bytearray(header("a.jpg", tarfile.GNUTYPE_SPARSE, 600))
    block[482] = extensions > 0
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    maps = b"".join(bytes(504) + bytes([number + 1 < extensions]) + bytes(7) for number in range(extensions))
    found = members_of(bytes(block) + maps + padded(b"x" * 600) + tar_of(MEMBERS[:1]))
    assert faults(found) == ["not_a_file"]
    assert [(member.name, member.data) for member in found[1:]] == MEMBERS[:1]
