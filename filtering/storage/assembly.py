"""One object made of others, one after the other, of which none is in memory."""

import contextlib
from collections.abc import Iterator, Mapping

from filtering.core.errors import DamagedError
from filtering.storage.checksums import MissingError
from filtering.storage.s3_answers import NoCopyError
from filtering.storage.store import filesystem_of, stream_object, write_chunks
from filtering.storage.streams import is_s3
from filtering.storage.upload_parts import copied, size_of, upload_parts
from filtering.storage.written import note

CHUNK_BYTES = 1 << 20


def assemble(url: str, header: bytes, sizes: Mapping[str, int]) -> None:
    """Write a whole object: a header, then other objects of the same storage, by their URLs and bytes, in their order.

    S3 copies them itself, in one upload of up to 10,000 parts, which is aborted if it fails; the header and what no
    part may be by itself, less than 5 MiB, is sent. A disk, another store, or one with S3's API that copies no parts,
    is written to 1 MiB at a time. Raises DamagedError if an object is missing or has another size.
    """
    filesystem, path = filesystem_of(url)
    parts = list(upload_parts(header, sizes)) if is_s3(filesystem) else []
    if any(map(copied, parts)):
        with contextlib.suppress(NoCopyError):
            filesystem.assemble(path, parts)
            note(url, sum(map(size_of, parts)))
            return
    write_chunks(url, _chunks(header, sizes))


def _chunks(header: bytes, sizes: Mapping[str, int]) -> Iterator[bytes]:
    yield header
    for url, size in sizes.items():
        yield from _whole(url, size)


def _whole(url: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of an object, 1 MiB at a time; that it has another size is said after the last."""
    found = 0
    try:
        with stream_object(url) as stream:
            while data := stream.read(CHUNK_BYTES):
                found += len(data)
                yield data
    except FileNotFoundError:
        raise MissingError(url) from None
    if found != size:
        raise DamagedError(url, f"is damaged ({found:,} bytes where {size:,} were written)")
