import json
import pickle
import tarfile
from collections import Counter

import pyarrow as pa
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sample_tars import FORMATS, SHARD, expected_samples, many, only_fault, pair, read, sample, tar_of

from filtering.core.uids import derived_uid
from filtering.shards.offsets import MIXED
from filtering.shards.samples import MAX_CAPTION_BYTES


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("window", [0, 1, 1 << 26])
def test_a_whole_tar_comes_back(kind, window):
    samples, quarantined = read(many(8, kind=kind), window_bytes=window)
    assert samples == expected_samples(8)
    assert quarantined == []


def test_an_empty_tar_has_no_samples():
    assert read(tar_of()) == ([], [])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_sample_whose_image_is_no_file(kind):
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    samples, quarantined = read(info.tobuf(tarfile.GNU_FORMAT) + tar_of(("a.txt", b"x"), *pair("b")))
    assert [one.key for one in samples] == ["b"]
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("a", "not_a_file")]


def test_folders_are_passed():
    info = tarfile.TarInfo("pool")
    info.type = tarfile.DIRTYPE
    samples, quarantined = read(info.tobuf() + tar_of(*pair("pool/a")))
    assert [one.key for one in samples] == ["pool/a"]
    assert quarantined == []


def linked(name, kind, target="0001.jpg"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"V", b"M"])
def test_nothing_with_a_dot_in_its_name_that_is_no_file_makes_a_sample(kind):
    samples, quarantined = read(linked("laion.v2", kind) + linked("a/cc.12m", kind) + tar_of(*pair("0001")))
    assert [one.key for one in samples] == ["0001"]
    assert quarantined == []


def test_a_link_in_the_middle_of_a_sample_costs_nothing():
    image, caption = pair("0001")
    data = tar_of(image)[:1024] + linked("0001.link", tarfile.SYMTYPE) + tar_of(caption)
    samples, quarantined = read(data)
    assert [(one.key, one.span.layout) for one in samples] == [("0001", MIXED)]
    assert quarantined == []


@pytest.mark.parametrize(
    "name",
    ["._0001.jpg", "a/._0001.txt", "__MACOSX/._0001.jpg", "PaxHeaders.12/0001.jpg", "PaxHeader/0001.jpg", ".DS_Store"],
)
def test_what_other_programs_leave_beside_the_files_makes_no_sample(name):
    samples, quarantined = read(tar_of((name, b"Mac OS X"), *pair("0001")))
    assert [one.key for one in samples] == ["0001"]
    assert quarantined == []


def test_a_sparse_image_is_one_entry_under_its_own_name():
    body = b"28 GNU.sparse.name=0001.jpg\n22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=90000\n"
    head = tarfile.TarInfo()
    head.type, head.size = tarfile.XHDTYPE, len(body)
    caption = tar_of(("0001.txt", b"a cat"))
    stored = tar_of(("GNUSparseFile.0/0001.jpg", b"0\n".ljust(512, b"\0")))[:1024]
    samples, quarantined = read(head.tobuf(tarfile.GNU_FORMAT) + body.ljust(512, b"\0") + stored + caption)
    assert samples == []
    assert [(one.key, one.fault.reason, one.fault.detail) for one in quarantined] == [
        ("0001", "not_a_file", "is a sparse file")
    ]


def test_a_key_used_again_is_one_duplicate():
    samples, quarantined = read(tar_of(*pair("a", b"first"), *pair("b"), *pair("a", b"second"), *pair("a", b"third")))
    assert [(one.key, one.image) for one in samples] == [("a", b"first"), ("b", b"image")]
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("a", "duplicate_key")] * 2


def test_a_key_used_again_next_to_the_first():
    samples, quarantined = read(tar_of(*pair("a", b"first"), *pair("a", b"second")))
    assert [one.image for one in samples] == [b"first"]
    assert [entry.fault.reason for entry in quarantined] == ["duplicate_key"]


def interleaved(count):
    parts = [sample(number) for number in range(count)]
    return tar_of(*(part[place] for place in range(3) for part in parts))


def test_interleaved_members_find_each_other():
    samples, quarantined = read(interleaved(6))
    assert sorted(samples, key=lambda one: one.key) == expected_samples(6)
    assert quarantined == []


@pytest.mark.parametrize("window", [0, 1, 500, 1500, 3000])
def test_a_tiny_window_reports_each_sample_once(window):
    samples, quarantined = read(interleaved(6), window_bytes=window)
    keys = Counter(one.key for one in [*samples, *quarantined])
    assert keys == {f"{number:06d}": 1 for number in range(6)}
    assert all(one in expected_samples(6) for one in samples)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("a.txt", b"x")], "missing_image"),
        ([("a.json", b"{}")], "missing_image"),
        ([("a.jpg", b"x")], "missing_caption"),
        ([("a.jpg", b"x"), ("a.json", b"{}")], "missing_caption"),
        (pair("a", caption=b"\xff\xfe"), "caption_not_utf8"),
        (pair("a", caption=b"\xed\xa0\x80"), "caption_not_utf8"),
        (pair("a", caption=b""), "caption_empty"),
        (pair("a", caption=b" \n\t"), "caption_empty"),
        (pair("a", caption=b"x" * (MAX_CAPTION_BYTES + 1)), "caption_too_long"),
        ([*pair("a"), ("a.json", b"{")], "json_broken"),
        ([*pair("a"), ("a.json", b"")], "json_broken"),
        ([*pair("a"), ("a.json", b"\xff\xff")], "json_broken"),
        ([*pair("a"), ("a.json", b"[" * 10_000 + b"]" * 10_000)], "json_broken"),
        ([*pair("a"), ("a.json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000)], "json_broken"),
        ([*pair("a"), ("a.json", b'{"a": ' + b"9" * 5000 + b"}")], "json_broken"),
        ([*pair("a"), ("a.json", b"[]")], "json_broken"),
        ([*pair("a"), ("a.json", b"null")], "json_broken"),
        ([*pair("a"), ("a.json", b'{"uid": "xyz"}')], "uid_malformed"),
        ([*pair("a"), ("a.json", b'{"uid": 5}')], "uid_malformed"),
        ([*pair("a"), ("a.json", b'{"uid": ["' + b"0" * 32 + b'"]}')], "uid_malformed"),
        ([*pair("a"), ("a.json", b'{"uid": "' + b"0" * 33 + b'"}')], "uid_malformed"),
        ([*pair("a"), ("a.json", b'{"uid": ""}')], "uid_malformed"),
    ],
)
def test_an_unusable_sample_has_one_reason(members, reason):
    entry = only_fault(*members)
    assert entry.fault.reason == reason
    assert entry.key == "a"
    assert entry.fault.detail


def test_a_bad_sample_leaves_the_others():
    samples, quarantined = read(tar_of(*pair("a"), ("b.jpg", b"x"), *pair("c")))
    assert [one.key for one in samples] == ["a", "c"]
    assert [entry.key for entry in quarantined] == ["b"]


@pytest.mark.parametrize("fields", [b"{}", b'{"uid": null}', None])
def test_a_uid_is_derived_where_there_is_none(fields):
    members = pair("a") if fields is None else [*pair("a"), ("a.json", fields)]
    samples, _ = read(tar_of(*members))
    assert samples[0].uid == derived_uid(SHARD, "a")


def test_an_upper_case_uid_is_lowered():
    samples, _ = read(tar_of(*pair("a"), ("a.json", b'{"uid": "' + b"AB" * 16 + b'"}')))
    assert samples[0].uid == "ab" * 16


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "webp", "JPG", "Png"])
def test_images_by_extension(extension):
    samples, quarantined = read(tar_of((f"a.{extension}", b"x"), ("a.txt", b"y")))
    assert [(one.image, one.image_member) for one in samples] == [(b"x", f"a.{extension}")]
    assert quarantined == []


def test_a_key_ends_at_the_first_dot():
    samples, quarantined = read(tar_of(("0001.a.jpg", b"x"), ("0001.a.txt", b"y"), ("0001.extra.cls", b"1")))
    assert [(one.key, one.caption) for one in samples] == [("0001", "y")]
    assert quarantined == []


def test_a_second_pair_before_the_first_dot_is_a_duplicate():
    members = [("1.a.jpg", b"A"), ("1.a.txt", b"a"), ("1.b.jpg", b"B"), ("1.b.txt", b"b")]
    samples, quarantined = read(tar_of(*members))
    assert [(one.image, one.caption) for one in samples] == [(b"A", "a")]
    assert [(entry.member, entry.fault.reason) for entry in quarantined] == [("1.b.jpg", "duplicate_key")]


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a", "x.y/a", "./a", "a b", "\u732b/\u732b"])
def test_odd_folders_are_only_names(name):
    samples, quarantined = read(tar_of(*pair(name)))
    assert [one.key for one in samples] == [name]
    assert quarantined == []


def test_equal_base_names_in_two_folders_are_two_samples():
    samples, _ = read(tar_of(*pair("x/a"), *pair("y/a")))
    assert [one.key for one in samples] == ["x/a", "y/a"]
    assert samples[0].uid != samples[1].uid


@pytest.mark.parametrize("name", [".jpg", "jpg", "a/.jpg", "..", "..jpg", "a.", "README"])
def test_names_without_key_or_kind_are_passed(name):
    samples, quarantined = read(tar_of((name, b"x"), *pair("b")))
    assert [one.key for one in samples] == ["b"]
    assert [entry for entry in quarantined if entry.key == "b"] == []


def test_names_that_are_not_utf8_can_be_written_to_a_table():
    blocks = bytearray(tar_of(("zz.jpg", b"x"), ("zz.txt", b"y"), kind="ustar"))
    for start in (0, 1024):
        blocks[start : start + 2] = b"\xff\xfe"
        blocks[start + 148 : start + 156] = b" " * 8
        blocks[start + 148 : start + 156] = b"%06o\0 " % sum(blocks[start : start + 512])
    samples, quarantined = read(bytes(blocks))
    assert quarantined == []
    assert samples[0].key.encode("utf-8")
    assert samples[0].uid == derived_uid(SHARD, samples[0].key)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickles_are_ignored():
    bomb = pickle.dumps(Bomb())
    samples, quarantined = read(
        tar_of(*pair("a"), ("a.pyd", bomb), ("a.pkl", bomb), ("a.pickle", bomb), ("a.pth", bomb))
    )
    assert [one.key for one in samples] == ["a"]
    assert quarantined == []


NAMES = st.builds(
    "{}.{}".format, st.sampled_from("abc"), st.sampled_from(["jpg", "png", "txt", "json", "x.txt", "x.jpg", "cls"])
)


@examples(2)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from([b"", b"{}", b"text", b"\xff" * 600])), max_size=12),
    st.sampled_from([0, 700, 1 << 20]),
)
def test_every_key_is_accounted_for(members, window):
    samples, quarantined = read(tar_of(*members), window_bytes=window)
    known = {name.split(".")[0] for name, _ in members if not name.endswith(".cls")}
    found = {one.key for one in [*samples, *quarantined]}
    assert known <= found <= {name.split(".")[0] for name, _ in members}
    assert len({one.key for one in samples}) == len(samples)
    for one in samples:
        assert (one.image_member, one.image) in members
        assert one.caption.encode() in [data for name, data in members if name.startswith(one.key) and "txt" in name]


def test_json_that_is_odd_but_harmless_is_taken():
    for fields in (b'{"a": NaN, "b": Infinity}', b'{"uid": null, "a": [[[[]]]]}', b'{"a": 1, "a": 2}'):
        samples, quarantined = read(tar_of(*pair("a"), ("a.json", fields)))
        assert (len(samples), quarantined) == (1, [])


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\x00b", "a\u202eb", "\ud800", "\x7f\x01", "a\tb"])
def test_names_of_any_character_can_be_written_to_tables_and_json(name):
    record = b"path=" + name.encode("utf-8", "surrogatepass") + b".%s\n"
    blocks = b""
    for extension, data in ((b"jpg", b"image"), (b"txt", b"a cat")):
        body = record % extension
        length = next(n for n in range(len(body), len(body) + 9) if len(b"%d " % n) + len(body) == n)
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, length
        blocks += info.tobuf(tarfile.USTAR_FORMAT) + (b"%d " % length + body).ljust(512, b"\0")
        blocks += tar_of(("x", data), kind="ustar")[:1024]
    samples, quarantined = read(blocks + bytes(1024))
    assert quarantined == []
    assert len(samples) == 1
    assert pa.array([samples[0].key]).to_pylist() == [samples[0].key]
    assert json.loads(json.dumps(samples[0].key).encode()) == samples[0].key


def test_an_image_that_is_not_decoded_is_named_where_a_key_has_no_other():
    others = [("a.heic", b"x"), ("a.txt", b"a cat"), ("b.x.JXL", b"x"), ("b.x.txt", b"a dog"), ("c.heic", b"x")]
    samples, quarantined = read(tar_of(*others, ("c.avif", b"x"), ("c.txt", b"a bird")))
    assert [(one.member, one.key, one.fault.reason, one.fault.detail) for one in quarantined] == [
        ("a.heic", "a", "image_undecodable", "a.heic is HEIC, which is not decoded"),
        ("b.x.JXL", "b", "image_undecodable", "b.x.JXL is JPEG XL, which is not decoded"),
    ]
    assert [sample.image_member for sample in samples] == ["c.avif"]
