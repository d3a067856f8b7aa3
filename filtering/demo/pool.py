"""Builds the demo's pool of OpenMoji pictures, with known defects planted in it."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from filtering.core.errors import InputError
from filtering.demo.openmoji import Picture, pictures, rasterise
from filtering.shards.writer import ShardSample, write_shard

TRUTH_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("shard", pa.int32()),
        ("hexcode", pa.string()),
        ("base", pa.string()),
        ("kind", pa.string()),
        ("group", pa.string()),
        ("held_out", pa.bool_()),
    ]
)
"""Columns of ``truth.parquet``; ``group`` is null outside the planted duplicates' groups."""

Progress = Callable[[int, int], None]
Encode = Callable[[Image.Image], bytes]

_SWAPPED_SHARE = 0.08
_EXACT_SHARE = 0.04
_NEAR_SHARE = 0.06
_BROKEN_EACH = 12
_SHARD_CAPACITY = 10_000
_SWAP_ATTEMPTS = 10_000


class Kind(StrEnum):
    """What was done to a sample; every sample has exactly one kind."""

    CLEAN = "clean"
    SWAPPED = "swapped"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    NO_CAPTION = "no_caption"


def encode_jpeg(image: Image.Image, quality: int = 95) -> bytes:
    """Return an RGB picture as a JPEG file of Pillow's quality, 1 to 95."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _shrunk(image: Image.Image) -> bytes:
    size = (image.width * 3 // 4, image.height * 3 // 4)
    return encode_jpeg(image.resize(size, Image.Resampling.BICUBIC))


def _recoloured(image: Image.Image) -> bytes:
    return encode_jpeg(ImageEnhance.Brightness(ImageEnhance.Color(image).enhance(1.25)).enhance(0.95))


NEAR_DUPLICATES: tuple[Encode, ...] = (partial(encode_jpeg, quality=40), _shrunk, _recoloured)
"""The ways a near duplicate is made from an RGB picture; each gives the bytes of a JPEG file."""


@dataclass(frozen=True, slots=True)
class _Specimen:
    picture: Picture
    caption: str | None
    kind: Kind = Kind.CLEAN
    group: str | None = None
    encode: Encode = encode_jpeg


def build_pool(
    directory: str | Path,
    *,
    seed: int = 0,
    shards: int = 8,
    size: int = 128,
    limit: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the demo's shards to ``directory/pool`` and the planted defects to ``directory/truth.parquet``.

    The same arguments give the same bytes: `seed` decides which pictures (`limit` of them, all by default; `size` x
    `size` pixels) get which defect, and the order of the samples. `progress(done, total)` is called after every sample.
    Raises InputError if there are too few pictures to plant every defect, too few shards to hold the samples, shards of
    a larger build in the folder, or if the packages of the ``demo`` extra are not installed.
    """
    random = np.random.default_rng(seed)
    specimens = _plan(_chosen(limit, random), random)
    pool = Path(directory) / "pool"
    _check_room(pool, shards, len(specimens))
    truth: list[dict[str, object]] = []
    for shard, indices in enumerate(np.array_split(random.permutation(len(specimens)), shards)):
        samples = []
        for position, specimen in enumerate(specimens[index] for index in indices):
            samples.append(_sample(specimen, f"{shard * _SHARD_CAPACITY + position:012d}", seed, size))
            truth.append(_truth(specimen, samples[-1], shard))
            if progress is not None:
                progress(len(truth), len(specimens))
        write_shard(pool, shard, samples)
    pq.write_table(pa.Table.from_pylist(truth, schema=TRUTH_SCHEMA), Path(directory) / "truth.parquet")


def _check_room(pool: Path, shards: int, samples: int) -> None:
    if shards < 1 or samples > shards * _SHARD_CAPACITY:
        raise InputError(f"{shards} shards cannot hold {samples} samples; raise shards=")
    if (pool / f"{shards:08d}.tar").exists():
        raise InputError(f"{pool} holds a pool of more than {shards} shards; delete it or build elsewhere")


def _chosen(limit: int | None, random: np.random.Generator) -> list[Picture]:
    available = pictures()
    order = random.permutation(len(available))
    return [available[index] for index in order[:limit]]


def _plan(chosen: Sequence[Picture], random: np.random.Generator) -> list[_Specimen]:
    # The pictures arrive shuffled, so consecutive slices are random and cannot overlap.
    count, rest = len(chosen), iter(chosen)
    swapped = _take(rest, round(_SWAPPED_SHARE * count))
    exact = _take(rest, round(_EXACT_SHARE * count))
    near = _take(rest, round(_NEAR_SHARE * count))
    broken = {kind: _take(rest, _BROKEN_EACH) for kind in (Kind.UNDECODABLE, Kind.TRUNCATED, Kind.NO_CAPTION)}
    if len(swapped) < 2 or not exact or not near or any(len(part) < _BROKEN_EACH for part in broken.values()):
        raise InputError(f"{count} pictures are too few to plant every defect; raise limit= to 100 or more")
    return [
        *_swapped(swapped, random),
        *_with_duplicates(exact, Kind.EXACT_DUPLICATE, (encode_jpeg,)),
        *_with_duplicates(near, Kind.NEAR_DUPLICATE, NEAR_DUPLICATES),
        *(
            _Specimen(picture, None if kind is Kind.NO_CAPTION else picture.caption, kind)
            for kind, part in broken.items()
            for picture in part
        ),
        *(_Specimen(picture, picture.caption) for picture in rest),
    ]


def _take(rest: Iterator[Picture], count: int) -> list[Picture]:
    return [picture for _, picture in zip(range(count), rest, strict=False)]


def _swapped(chosen: Sequence[Picture], random: np.random.Generator) -> Iterator[_Specimen]:
    donors = _derangement([picture.base for picture in chosen], random)
    for picture, donor in zip(chosen, donors, strict=True):
        yield _Specimen(picture, chosen[donor].caption, Kind.SWAPPED)


def _derangement(bases: Sequence[str], random: np.random.Generator) -> NDArray[np.int64]:
    names = np.array(bases)
    for _ in range(_SWAP_ATTEMPTS):
        donors = random.permutation(len(names))
        if (names[donors] != names).all():
            return donors
    raise InputError("the pictures share too few bases to swap their captions; raise limit=")


def _with_duplicates(chosen: Sequence[Picture], kind: Kind, encodings: Sequence[Encode]) -> Iterator[_Specimen]:
    for index, picture in enumerate(chosen):
        original = _Specimen(picture, picture.caption, group=picture.hexcode)
        yield original
        yield replace(original, kind=kind, encode=encodings[index % len(encodings)])


def _sample(specimen: _Specimen, key: str, seed: int, size: int) -> ShardSample:
    image = _image_bytes(specimen, size)
    caption = None if specimen.caption is None else specimen.caption.encode()
    side = size * 3 // 4 if specimen.encode is _shrunk else size
    metadata = {
        "uid": _uid(specimen, seed),
        "caption": specimen.caption,
        "url": f"https://pictures.example/{_uid(specimen, seed)}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        **dict.fromkeys(("width", "height", "original_width", "original_height"), side),
        "exif": "{}",
        "sha256": hashlib.sha256(image).hexdigest(),
    }
    return ShardSample(key, image, caption, metadata)


def _image_bytes(specimen: _Specimen, size: int) -> bytes:
    if specimen.kind is Kind.UNDECODABLE:
        # What a server sends in place of a picture that is gone.
        return f"<!doctype html><title>404</title><p>{specimen.picture.hexcode} not found".encode()
    image = specimen.encode(rasterise(specimen.picture.hexcode, size))
    return image[: len(image) // 2] if specimen.kind is Kind.TRUNCATED else image


def _uid(specimen: _Specimen, seed: int) -> str:
    # A picture has at most one duplicate, so its hexcode and kind name a sample.
    name = f"{seed}/{specimen.picture.hexcode}/{specimen.kind}"
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _truth(specimen: _Specimen, sample: ShardSample, shard: int) -> dict[str, object]:
    return {
        "uid": sample.metadata["uid"],
        "key": sample.key,
        "shard": shard,
        "hexcode": specimen.picture.hexcode,
        "base": specimen.picture.base,
        "kind": str(specimen.kind),
        "group": specimen.group,
        "held_out": specimen.picture.held_out,
    }
