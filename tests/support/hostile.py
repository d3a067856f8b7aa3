"""A pool built to hurt: one tar a case, with what must become of each of its samples."""

import gzip
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from hostile_images import KEPT, images
from pools import member, picture, tar_bytes

from filtering.shards.names import shortened

BLOCK = 512
Outcomes = Sequence[tuple[str | None, str]]
Parts = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Case:
    """A tar and its samples' outcomes: key (None for the rest of a shard), and "kept" or the quarantine's reason."""

    name: str
    data: bytes
    expected: Outcomes


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.mkdir, (self.canary,)


@cache
def cases(canary: Path) -> list[Case]:
    """Return every case; `canary` comes into being if anything is unpickled."""
    found = [*structures(), *headers(), *names(), *compressed(), *captions(), *metadata(), *pickles(canary)]
    return found + list(pictures())


def pictures() -> Iterator[Case]:
    """One tar of all that can be used, one for each of the others."""
    found = list(images())
    usable = [(name, data) for name, data, outcome in found if outcome == KEPT]
    parts = [part for name, data in usable for part in sample(name, image=data)]
    yield Case("images", tar_bytes(parts), [(name, KEPT) for name, _ in usable])
    for name, data, outcome in found:
        if outcome != KEPT:
            yield Case(f"image_{name}", tar_bytes(sample("a", image=data)), [("a", outcome)])


def sample(key: str, image: bytes | None = None, caption: bytes | None = None, fields: bytes | None = None) -> Parts:
    (jpg, drawn), (js, made), text = member(key, zlib.crc32(key.encode()), caption)
    return [(jpg, drawn if image is None else image), (js, made if fields is None else fields), text]


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, linkname: str = "") -> bytearray:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, linkname
    return bytearray(info.tobuf(tarfile.GNU_FORMAT))


def patched(block: bytearray, at: int, value: bytes) -> bytes:
    """A header with other bytes somewhere, its checksum made right."""
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pax(data: bytes) -> bytes:
    return bytes(header("pax", tarfile.XHDTYPE, len(data))) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = next(n for n in range(len(body), len(body) + 10) if len(b"%d" % n) + len(body) == n)
    return b"%d" % length + body


A, B = tar_bytes(sample("a")), tar_bytes([*sample("a"), *sample("b")])
A_OPEN = B[: B.index(b"b.jpg") - 2 * BLOCK]  # Sample a without an end mark.
A_KEPT, LOST = ("a", KEPT), "truncated_tar"


def structures() -> Iterator[Case]:
    yield Case("healthy", B, [A_KEPT, ("b", KEPT)])
    yield Case("no_bytes", b"", [(None, "empty_shard")])
    yield Case("garbage", np.random.default_rng(1).bytes(20_000), [(None, "corrupt_tar")])
    yield Case("an_error_page", b"<html>not found</html>" * 100, [(None, "corrupt_tar")])
    yield Case("only_zeros", bytes(10_240), [])
    yield Case("cut_in_a_header", B[: B.index(b"b.jpg") + 100], [A_KEPT, (None, LOST)])
    yield Case("cut_in_an_image", B[: B.index(b"b.jpg") + BLOCK + 200], [A_KEPT, ("b", LOST)])
    yield Case("cut_between_samples", A_OPEN, [A_KEPT, (None, LOST)])
    yield Case("cut_inside_a_sample", B[: B.index(b"b.json") - 2 * BLOCK], [A_KEPT, ("b", LOST)])
    yield Case("one_end_block", A_OPEN + bytes(BLOCK), [A_KEPT])
    yield Case("data_after_the_end", A + B, [A_KEPT, (None, "data_after_end")])
    yield Case("duplicate_key", tar_bytes([*sample("a"), *sample("a", picture(9))]), [A_KEPT, ("a", "duplicate_key")])
    thrice = tar_bytes([*sample("a"), *sample("b"), *sample("a"), *sample("a")])
    yield Case("duplicate_keys_apart", thrice, [A_KEPT, ("b", KEPT), *[("a", "duplicate_key")] * 2])
    parts = [sample(key) for key in "abc"]
    mixed = tar_bytes(part[at] for at in range(3) for part in parts)
    yield Case("interleaved", mixed, [(key, KEPT) for key in "abc"])
    yield Case("no_caption", tar_bytes(sample("a")[:2]), [("a", "missing_caption")])
    yield Case("no_image", tar_bytes(sample("a")[1:]), [("a", "missing_image")])
    yield Case("no_json", tar_bytes(sample("a")[::2]), [A_KEPT])
    yield Case("two_pairs_of_a_key", tar_bytes(dotted("a.x") + dotted("a.y")), [A_KEPT, ("a", "duplicate_key")])
    many = [(f"{at:05d}.txt", b"x") for at in range(3000)]
    yield Case("captions_alone", tar_bytes(many), [(f"{at:05d}", "missing_image") for at in range(3000)])
    yield Case("image_too_heavy", heavy("b.jpg", 129), [A_KEPT, ("b", "missing_caption")])


def dotted(key: str) -> Parts:
    return [(f"{key}.jpg", picture(1)), (f"{key}.txt", b"a pair")]


def heavy(name: str, megabytes: int) -> bytes:
    """Sample a and a member of hardly compressible megabytes, in a gzip that is small all the same."""
    body = (np.random.default_rng(2).bytes(20_000) + bytes((1 << 20) - 20_000)) * megabytes
    return gzip.compress(A_OPEN + bytes(header(name, size=len(body))) + body + bytes(1024), 1)


def headers() -> Iterator[Case]:
    other = bytes(header("b.jpg", size=5)) + padded(b"x")
    wrong = bytearray(other)
    wrong[0] ^= 1
    yield Case("bad_checksum", A_OPEN + bytes(wrong), [A_KEPT, (None, "corrupt_tar")])
    for name, size in (("octal", b"77777777777\0"), ("base_256", b"\x80" + bytes(4) + b"\x7f" * 7)):
        huge = patched(header("b.jpg"), 124, size)
        yield Case(f"huge_size_in_{name}", A_OPEN + huge + bytes(5000), [A_KEPT, ("b", LOST)])
    negative = patched(header("b.jpg"), 124, b"\xff" * 11 + b"\xfb")
    yield Case("negative_size", A_OPEN + negative + bytes(BLOCK), [A_KEPT, (None, "corrupt_tar")])
    yield Case("size_that_is_no_number", A_OPEN + patched(header("b.jpg"), 124, b"zz"), [A_KEPT, (None, "corrupt_tar")])
    kinds = {"hard_link": b"1", "symbolic_link": b"2", "device": b"3", "block_device": b"4", "pipe": b"6"}
    for name, kind in kinds.items():
        link = bytes(header("b.jpg", kind, linkname="/etc/passwd"))
        yield Case(name, link + tar_bytes([*sample("b")[1:], *sample("a")]), [A_KEPT, ("b", "not_a_file")])
    yield Case("directories", bytes(header("a", tarfile.DIRTYPE)) + A, [A_KEPT])
    yield Case("unknown_type", patched(header("a.cls", size=1), 156, b"Z") + padded(b"x") + A, [A_KEPT])
    sparse = bytes(header("b.jpg", tarfile.GNUTYPE_SPARSE, 600)) + padded(bytes(600))
    yield Case("sparse", sparse + tar_bytes([*sample("b")[1:], *sample("a")]), [A_KEPT, ("b", "not_a_file")])
    sparse = pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.name", b"/etc/passwd")) + other
    yield Case("pax_sparse", sparse + tar_bytes([*sample("b")[1:], *sample("a")]), [A_KEPT, ("b", "missing_image")])
    yield Case("malformed_records", pax(b"9999 path=x\n") + pax(b"x y=\n") + A, [A_KEPT])
    yield Case("records_of_10_megabytes", A_OPEN + pax(b"x" * 10_000_000) + A, [A_KEPT, (None, "corrupt_tar")])
    nested = pax(b"")[:BLOCK] * 10_000
    yield Case("ten_thousand_nested_headers", A_OPEN + nested + A, [A_KEPT, (None, "corrupt_tar")])
    endless = pax(record(b"size", b"9" * 19)) + bytes(header("b.jpg")) + bytes(2000)
    yield Case("huge_size_in_a_record", A_OPEN + endless, [A_KEPT, ("b", LOST)])
    yield Case(
        "global_header", bytes(header("g", tarfile.XGLTYPE, 22)) + padded(record(b"path", b"/etc/x")) + A, [A_KEPT]
    )


def names() -> Iterator[Case]:
    keys = [
        "/etc/passwd",
        "../../../etc/cron",
        "C:\\windows\\x",
        "-rf",
        "a b",
        "~root",
        "$(reboot)",
        "%s%n",
        "\u202egpj",
    ]
    keys += ["<img src=x onerror=hostile()>", '"><svg onload=hostile()>', "con", "\u732b" * 80, "k" * 300, "k" * 4000]
    yield Case("names", tar_bytes(part for key in keys for part in sample(key)), [(key, KEPT) for key in keys])
    long = "k" * 100_000
    yield Case(
        "name_of_100_kilobytes", tar_bytes([*sample(long), *sample("a")]), [A_KEPT, (shortened(long), "name_too_long")]
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sample("deep/" * 100 + "a"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    yield Case("gnu_long_name", buffer.getvalue(), [("deep/" * 100 + "a", KEPT)])
    odd = {
        b"nul\0nul": "nul\0nul",
        b"line\nline": "line\nline",
        b"\xed\xa0\x80": "\\xed\\xa0\\x80",
        b"\xff\x1b[2J": "\\xff\x1b[2J",
    }
    for at, (raw, key) in enumerate(odd.items()):
        parts = [(raw + name[1:].encode(), data) for name, data in sample("x")]
        data = b"".join(pax(record(b"path", name)) + bytes(header("x", size=len(d))) + padded(d) for name, d in parts)
        yield Case(f"odd_name_{at}", data + bytes(1024), [(key, KEPT)])


def compressed() -> Iterator[Case]:
    noisy = tar_bytes([*sample("a"), ("b.jpg", np.random.default_rng(3).bytes(400_000))])
    whole = gzip.compress(noisy, 1, mtime=0)
    yield Case("gzip", gzip.compress(A), [A_KEPT])
    yield Case("cut_gzip", whole[:-150_000], [A_KEPT, ("b", "corrupt_gzip")])
    yield Case("gzip_with_a_wrong_sum", gzip.compress(A)[:-8] + bytes(8), [(None, "corrupt_gzip")])
    yield Case("gzip_in_gzip", gzip.compress(gzip.compress(A)), [(None, "corrupt_tar")])
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(A_OPEN + bytes(header("b.jpg", size=1 << 33))) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    yield Case("gzip_bomb", start + zeros * 2000, [A_KEPT, ("b", "gzip_bomb")])
    start = gzip.compress(A)
    yield Case("zeros_without_end", start + gzip.compress(bytes(1 << 24)) * 100, [A_KEPT, (None, "gzip_bomb")])


def captions() -> Iterator[Case]:
    texts = {
        "not_utf8": (b"caf\xe9", "caption_not_utf8"),
        "utf16": ("a cat".encode("utf-16"), "caption_not_utf8"),
        "surrogate": (b"a \xed\xa0\x80 cat", "caption_not_utf8"),
        "megabytes": (b"cat " * 700_000, "caption_too_long"),
        "empty": (b"", "caption_empty"),
        "whitespace": (b" \r\n\t\xe2\x80\x83", "caption_empty"),
        "as_long_as_may_be": (b"cat " * (16 << 10), KEPT),
        "nul": (b"a\0cat", KEPT),
        "script": (b"<script>hostile()</script>", KEPT),
        "attribute": (b"\"'><svg onload=hostile()>", KEPT),
        "end_of_script": (b"</script></style><img src=x onerror=hostile()>", KEPT),
        "terminal": (b"\x1b[2J\x1b]0;owned\x07 cat", KEPT),
        "format": (b"%s%n {0.__class__} {{7*7}} ${HOME} `id`", KEPT),
        "right_to_left": ("\u202etac a\u202c".encode(), KEPT),
        "tokens": (b"<end_of_text><start_of_text>" * 50, KEPT),
        "credentials": (b"AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY s3://u:p@host/x", KEPT),
        "one_word_of_60_kilobytes": (b"x" * 60_000, KEPT),
    }
    parts = [part for name, (text, _) in texts.items() for part in sample(name, caption=text)]
    yield Case("captions", tar_bytes(parts), [(name, outcome) for name, (_, outcome) in texts.items()])


UID = "0123456789abcdef" * 2


def metadata() -> Iterator[Case]:
    fields = {
        "broken": (b'{"uid": ', "json_broken"),
        "empty": (b"", "json_broken"),
        "array": (b"[1, 2]", "json_broken"),
        "deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "json_broken"),
        "huge_number": (b'{"width": ' + b"9" * 10_000 + b"}", "json_broken"),
        "too_large": (b'{"a": "' + b"x" * (1 << 20) + b'"}', "json_too_large"),
        "nan": (b'{"width": NaN, "height": -Infinity, "a": 1e999}', KEPT),
        "wrong_types": (b'{"caption": {"$ne": 1}, "width": "64", "key": [null]}', KEPT),
        "lone_surrogate": (b'{"caption": "\\ud800", "url": "file:///etc/passwd"}', KEPT),
        "repeated_fields": (b'{"uid": "x", "uid": "' + b"a1" * 16 + b'"}', KEPT),
        "upper_case_uid": (b'{"uid": "' + b"AB" * 16 + b'"}', KEPT),
        "no_uid": (b"{}", KEPT),
        "short_uid": (b'{"uid": "abc"}', "uid_malformed"),
        "numeric_uid": (b'{"uid": 7}', "uid_malformed"),
        "uid_that_is_a_path": (b'{"uid": "../../../../../../../../etc/pass"}', "uid_malformed"),
    }
    parts = [part for name, (data, _) in fields.items() for part in sample(name, fields=data)]
    yield Case("json", tar_bytes(parts), [(name, outcome) for name, (_, outcome) in fields.items()])
    uid = json.dumps({"uid": UID}).encode()
    twice = tar_bytes([*sample("a", fields=uid), *sample("b", fields=uid)])
    yield Case("uid_1_twice_in_a_shard", twice, [A_KEPT, ("b", "uid_conflict")])
    yield Case("uid_2_in_another_shard", tar_bytes(sample("a", fields=uid)), [("a", "duplicate_uid")])


def pickles(canary: Path) -> Iterator[Case]:
    bomb = pickle.dumps(Payload(canary))
    extensions = {"a": "pkl", "b": "pyd", "c": "pickle", "d": "pth", "e": "npy", "f": "jpg.pkl"}
    parts = [part for key, last in extensions.items() for part in [*sample(key), (f"{key}.{last}", bomb)]]
    yield Case("pickles", tar_bytes(parts), [(key, KEPT) for key in extensions])
    yield Case("pickle_as_image", tar_bytes(sample("a", image=bomb)), [("a", "image_undecodable")])
    yield Case("pickle_as_json", tar_bytes(sample("a", fields=bomb)), [("a", "json_broken")])
