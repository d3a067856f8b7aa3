"""Tars as webdataset writes them, in every format that there is, damaged bytewise and header by header."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.robustness.fuzz.kinds import Input, Kind, most_common, must
from filtering.shards.samples import Quarantined, Sample, read_samples
from tests.support.mutations import BLOCK, EDGES, Noise, inside_deflate, mutated

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
GZIP = 31
# Where in a header each number or text stands.
FIELDS = {"name": (0, 100), "mode": (100, 8), "size": (124, 12), "type": (156, 1), "link": (157, 100)} | {
    "magic": (257, 8),
    "prefix": (345, 155),
    "sparse": (386, 96),
}
TYPES = b"\0001234567xgLKSDVMAZ"
NAMES = (b"a.jpg", b"a.txt", b"a.json", b"a/", b".", b"..jpg", b"\xff.jpg", b"a.\xf0\x9f.txt", b"/a.jpg", b"")


class Tars(Kind):
    """Reads shards with `read_samples`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forms = dict(_forms())

    def make(self, noise: Noise) -> Input:
        """Change bytes, headers with a right checksum, or what a gzip holds."""
        form = noise.choice([*self.forms])
        whole, others = self.forms[form], [*self.forms.values()]
        if form.endswith("gz") and noise.random() < 0.5:
            return Input(form, "inside the gzip", inside_deflate(noise, whole, GZIP))
        if not form.endswith("gz") and noise.random() < 0.5:
            return Input(form, "headers", _with_headers(noise, whole))
        return Input(form, *mutated(noise, whole, others))

    def read(self, given: Input) -> str:
        """Read every sample; each must have a key of its own, and text that can be stored."""
        found = list(read_samples(io.BytesIO(given.data), "0.tar"))
        samples = [one for one in found if isinstance(one, Sample)]
        must(len({one.key for one in samples}) == len(samples), "two samples have one key")
        entries = [one for one in found if isinstance(one, Quarantined)]
        for text in (*_texts(samples), *(text for one in entries for text in (one.member, one.key, one.fault.detail))):
            (text or "").encode()
        for one in samples:
            must(given.form.endswith("gz") or _stands_there(given.data, one), "a sample is not where its offsets say")
        return most_common(one.fault.reason for one in entries)


def _texts(samples: Sequence[Sample]) -> Iterator[str]:
    for one in samples:
        yield from (one.uid, one.key, one.caption, one.image_member)


def _stands_there(data: bytes, sample: Sample) -> bool:
    return sample.image in data


def _forms() -> Iterator[tuple[str, bytes]]:
    long = "folder/" * 20 + "k" * 60
    for name, kind in FORMATS.items():
        keys = ["0001", "0002", "a/0003", *([long, "caf\u00e9"] if name != "ustar" else [])]
        whole = _tar([part for number, key in enumerate(keys) for part in _sample(key, number)], kind)
        yield name, whole
        yield f"{name}.gz", gzip.compress(whole, mtime=0)
    parts = [_sample(f"{number:04d}", number) for number in range(8)]
    yield "interleaved", _tar([part[at] for at in range(3) for part in parts], tarfile.USTAR_FORMAT)
    yield "links", _linked()


def _sample(key: str, number: int) -> list[tuple[str, bytes]]:
    fields = json.dumps({"uid": f"{number + 1:032x}", "width": 3, "height": 2})
    # What is no image all the same is enough: nothing is decoded here.
    return [
        (f"{key}.jpg", bytes([number + 1]) * (300 + 200 * number)),
        (f"{key}.json", fields.encode()),
        (f"{key}.txt", f"caption {number} \u732b".encode()),
    ]


def _tar(parts: Sequence[tuple[str, bytes]], kind: int, infos: Sequence[tarfile.TarInfo] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for info in infos:
            tar.addfile(info)
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if kind == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _linked() -> bytes:
    infos = []
    for number, kind in enumerate(
        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    ):
        info = tarfile.TarInfo(f"link{number}.jpg")
        info.type, info.linkname = kind, "0001.jpg"
        infos.append(info)
    return _tar([part for number in range(3) for part in _sample(f"{number:04d}", number)], tarfile.GNU_FORMAT, infos)


def _with_headers(noise: Noise, whole: bytes) -> bytes:
    """Return a tar of which some headers have another field and a right checksum."""
    found = bytearray(whole)
    headers = [at for at in range(0, len(found) - BLOCK, BLOCK) if found[at + 257 : at + 262] == b"ustar"]
    for at in noise.choices(headers, k=noise.choice([1, 1, 2, 4])):
        start, size = FIELDS[noise.choice([*FIELDS])]
        found[at + start : at + start + size] = _field(noise, start, size, bytes(found[at + start : at + start + size]))
        found[at + 148 : at + 156] = b" " * 8
        found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + BLOCK])
    return bytes(found)


def _field(noise: Noise, start: int, size: int, known: bytes) -> bytes:
    if size == 1:
        return bytes([noise.choice(TYPES)])
    if size == 12:
        number = noise.choice([*EDGES, *range(0, 3000, 100)])
        base256 = b"\x80" + (number % (1 << 88)).to_bytes(11, "big")
        octal = (b"%o" % number).zfill(11)[-11:] + b"\0"
        chosen: bytes = noise.choice([octal, base256, b"\xff" * 11 + b"\xfb", mutated(noise, known)[1]])
        return chosen[:12].ljust(12, b"\0")
    text: bytes = noise.choice([*NAMES, mutated(noise, known)[1], noise.randbytes(size)])
    return text[:size].ljust(size, b"\0")
