"""The members of the kept samples of a tar, wherever it lies and however it is made, as byte ranges of a local file."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError
from filtering.exports.scanning import DATA, END, RUN, START, STOP, scan
from filtering.exports.walking import walk
from filtering.manifests.finished import Source
from filtering.shards import inventory
from filtering.shards.names import METADATA, Place, place
from filtering.shards.samples import MAX_JSON_BYTES
from filtering.storage.store import filesystem_of, is_local, stream_object

Positions = npt.NDArray[np.int64]
METADATA_EXTENSION = "json"


@dataclass(frozen=True, slots=True)
class KeptMembers:
    """Members of kept samples, sample by sample, those of one sample in the tar's order.

    Attributes
    ----------
    path : a local file that holds their bytes: the tar itself, or an excerpt.
    whole : whether it is the tar itself.
    rows : int64 (n,), where in the kept table each sample stands; samples are in the order of their first members.
    sample : int64 (m,), to which of `rows` each member belongs, ascending.
    start, end : int64 (m,), the bytes of the file that are the member, its headers and padding included.
    data, stop : int64 (m,), those that are its data.
    names : the members' names, str (m,).
    """

    path: Path
    whole: bool
    rows: Positions
    sample: Positions
    start: Positions
    end: Positions
    data: Positions
    stop: Positions
    names: Sequence[str]

    def ranges(self) -> tuple[Positions, Positions, Positions]:
        """Return sample, start and end, int64 (r,) each, of what must be copied: members side by side are one range."""
        joined = (self.sample[1:] == self.sample[:-1]) & (self.start[1:] == self.end[:-1])
        first = np.flatnonzero(np.r_[True, ~joined]) if len(self.sample) else np.zeros(0, np.int64)
        last = np.r_[first[1:], len(self.sample)][: len(first)] - 1
        return self.sample[first], self.start[first], self.end[last]

    def metadata(self) -> Iterator[tuple[int, bytes]]:
        """Yield the JSON of each sample that has one, with its place in `rows`: the plain member first."""
        with self.path.open("rb") as file:
            for sample, members in _by_sample(self.sample):
                found = [(at.extension, member) for member in members if (at := self._metadata(member))]
                if found:
                    _, member = min(found, key=lambda one: one[0] != METADATA_EXTENSION)
                    file.seek(int(self.data[member]))
                    yield sample, file.read(int(self.stop[member] - self.data[member]))

    def _metadata(self, member: int) -> Place | None:
        at = place(self.names[member])
        small = self.stop[member] - self.data[member] <= MAX_JSON_BYTES
        return at if at is not None and at.kind == METADATA and small else None


@contextlib.contextmanager
def kept_members(source: Source, max_image_bytes: int, folder: Path | None = None) -> Iterator[KeptMembers]:
    """Give the members of the kept samples of a shard, for as long as the context lasts.

    A tar on a local disk is looked at by its headers alone and stays where it is. Of any other (remote, compressed, or
    strange) the kept members are set aside in a temporary file while it is read once from start to end.

    Memory is about 200 bytes for each kept member and 60 for each other, beside what `filtering.shards.grouping` holds.

    Parameters
    ----------
    source : Source
        The shard, and where its kept keys are.
    max_image_bytes : int
        The run's `embedding.max_image_bytes`, which decides how members that stand apart were put together.
    folder : Path, optional
        Where the excerpt is put, and left.

    Raises
    ------
    InputError
        If the shard is gone or no longer what the run saw, or lacks a kept sample: it names shard and key.
    """
    keys = source.keys()
    changed = change_of(source)
    fast = _scanned(source, keys)
    if fast is not None:
        _check(source, keys, fast.rows, changed)
        yield fast
        return
    with tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True) as own:
        path = (folder or Path(own)) / "excerpt"
        found = _excerpt(source, keys, path, max_image_bytes)
        _check(source, keys, found.rows, changed)
        yield found


def _scanned(source: Source, keys: Sequence[str]) -> KeptMembers | None:
    if not is_local(source.shard.url):
        return None
    path = Path(filesystem_of(source.shard.url)[1])
    found = scan(path)
    if found is None:
        return None
    places = {key.encode(): row for row, key in enumerate(keys)}
    # Of each run of members of one key, and for those in none, the row of the kept table.
    rows = np.array([*(places.get(key, -1) for key in found.keys.tolist()), -1], dtype=np.int64)
    here = rows[found.lines[:, RUN]] >= 0
    lines = found.lines[here]
    kept_runs = np.flatnonzero(rows[:-1] >= 0)
    sample = np.searchsorted(kept_runs, lines[:, RUN])
    start, end, data, stop = (np.ascontiguousarray(lines[:, at]) for at in (START, END, DATA, STOP))
    return KeptMembers(path, True, rows[kept_runs], sample, start, end, data, stop, _Decoded(found.names[here]))


def _excerpt(source: Source, keys: Sequence[str], path: Path, max_image_bytes: int) -> KeptMembers:
    places = {key: row for row, key in enumerate(keys)}
    with stream_object(source.shard.url) as stream, path.open("wb") as file:
        samples = walk(stream, file, places, max_image_bytes)
    samples.sort(key=lambda members: members[0].start)
    rows = np.array([places[members[0].key] for members in samples], dtype=np.int64)
    sample = np.repeat(np.arange(len(samples)), [len(members) for members in samples])
    found = [member for members in samples for member in members]
    spans = np.array([(one.start, one.end, one.data, one.stop) for one in found], np.int64).reshape(-1, 4)
    start, end, data, stop = spans.T
    names = tuple(one.name for one in found)
    return KeptMembers(path, False, rows, sample, start, end, data, stop, names)


def _check(source: Source, keys: Sequence[str], rows: Positions, changed: str) -> None:
    missing = np.setdiff1d(np.arange(len(keys)), rows)
    if len(missing):
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        why = f": {changed} since the run" if changed else ""
        raise InputError(f"{source.shard.url}: kept sample {keys[missing[0]]}{more} is not in it{why}; run it again")
    if changed:
        raise _another(source, keys, changed)


def _another(source: Source, keys: Sequence[str], changed: str) -> InputError:
    return InputError(
        f"{source.shard.url}: {changed} since the run, so kept sample {keys[0]} may be another; run it again"
    )


def check_unchanged(source: Source) -> None:
    """Refuse a shard that is no longer what the run saw; InputError as in `kept_members`."""
    if changed := change_of(source):
        raise _another(source, source.keys(), changed)


def change_of(source: Source) -> str:
    """Return in words how a shard differs from what the run saw, nothing if it does not."""
    shard = source.shard
    try:
        size, version = inventory.size_and_version(shard.url)
    except FileNotFoundError:
        raise InputError(f"{shard.url}: is not there any more, and with it kept sample {source.keys()[0]}") from None
    if size != shard.size:
        return f"its size has changed from {shard.size:,} to {size:,} bytes"
    return "" if version == shard.version else "it was written again"


class _Decoded(Sequence[str]):
    """Names, decoded as they are asked for: copying asks for none."""

    def __init__(self, names: npt.NDArray[np.bytes_]) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, at: Any) -> Any:
        return self._names[at].decode("ascii")


def _by_sample(samples: Positions) -> Iterator[tuple[int, range]]:
    starts = np.flatnonzero(np.diff(samples, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(samples)], strict=True):
        yield int(samples[start]), range(start, end)
