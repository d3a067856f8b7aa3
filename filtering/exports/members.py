"""The members of a shard's kept samples: their byte ranges for copies, and themselves for what their JSON says."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError, RunError
from filtering.exports.copying import Piece, merged
from filtering.manifests.finished import Source
from filtering.shards.faults import Damaged
from filtering.shards.grouping import Group
from filtering.shards.inventory import Shard, change_of
from filtering.shards.members import Limits, MissingSamplesError, groups_at, groups_by_key
from filtering.shards.offsets import COMPRESSED, MIXED, Offsets, Span, Table, offsets_of, wanted_samples
from filtering.shards.regions import joined, region_sources
from filtering.shards.samples import member_limits
from filtering.storage.streams import offers_ranges
from filtering.storage.versions import DELETED

Positions = npt.NDArray[np.int64]
# Bytes of an excerpt that are in memory at once.
COPIED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Ranges:
    """The byte ranges of n samples, int64 (r,): members with their headers and padding, those of a sample in order.

    `rows`, int64 (n,), are the samples' rows in the kept table; `sample`, int64 (r,), ascending, is the place in `rows`
    to which each range belongs.
    """

    rows: Positions
    sample: Positions
    start: Positions
    end: Positions

    def of(self, here: slice) -> "Ranges":
        """Return the ranges of some consecutive samples."""
        some = slice(*np.searchsorted(self.sample, [here.start, here.stop]).tolist())
        return Ranges(self.rows[here], self.sample[some] - here.start, self.start[some], self.end[some])

    def sizes(self) -> Positions:
        """Return how many bytes each sample has, int64 (n,)."""
        sizes = np.zeros(len(self.rows), dtype=np.int64)
        np.add.at(sizes, self.sample, self.end - self.start)
        return sizes

    def pieces(self, holder: Shard) -> Iterator[Piece]:
        """Yield the ranges as pieces of the file that holds them."""
        for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True):
            yield Piece(holder.url, start, end, holder.version)

    def arrays(self) -> dict[str, Positions]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in ("rows", "sample", "start", "end")}


@contextlib.contextmanager
def kept_ranges(source: Source, max_image_bytes: int, folder: Path | None = None) -> Iterator[tuple[Shard, Ranges]]:
    """Give the byte ranges of the kept samples of a shard, and what holds them, for as long as the context lasts.

    A tar stays where it is; of one that is compressed, or cannot be read in parts, the kept samples are put into a
    temporary file, or into `folder`, where they are left. Samples are in the order of their first bytes.
    Memory: about 500 bytes for each kept sample.

    InputError, which names shard and key, if the shard is gone, is no longer what the run saw, or lacks a kept sample.
    """
    keys = source.keys()
    table = _located(source, keys, max_image_bytes)
    if not (table["layout"] & COMPRESSED).any() and offers_ranges(source.shard.url):
        yield source.shard, _ranges(source.shard, keys, table)
        return
    with tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True) as own:
        path = (folder or Path(own)) / "excerpt"
        moved = _excerpt(source.shard, table, path)
        excerpt = excerpt_of(source.shard, str(path))
        yield excerpt, _ranges(excerpt, keys, moved)


def excerpt_of(shard: Shard, url: str) -> Shard:
    """Return the excerpt of a shard as something that holds samples: an object of this export, of one version."""
    return replace(shard, url=url, version="")


def kept_members(
    source: Source, keys: Sequence[str], max_image_bytes: int, limit_of: Limits
) -> Iterator[tuple[int, Group]]:
    """Yield the members of kept samples, each with the place of its key; for readers of a few members of each.

    Errors are those of `kept_ranges`.
    """
    rows = {key: row for row, key in enumerate(keys)}
    wanted = wanted_samples(keys, _located(source, keys, max_image_bytes))
    for group in groups_at(source.shard, wanted, limit_of, whole=False):
        yield rows[group.key], group


def check_unchanged(source: Source) -> None:
    """Refuse a shard that is no longer what the run saw; InputError as in `kept_ranges`."""
    if changed := change_of(source.shard)[1]:
        raise _another(source, source.keys(), changed)


def _located(source: Source, keys: Sequence[str], max_image_bytes: int) -> Table:
    """Return the offsets of the kept samples, (k,): those noted while the shard was embedded, or found in it now."""
    changed = change_of(source.shard)[1]
    if changed == DELETED:
        raise _another(source, keys, changed)
    offsets = None if changed else source.offsets()
    places = offsets.places(keys) if offsets else None
    if offsets is None or places is None or (places < 0).any():
        offsets = _found(source, keys, max_image_bytes)
        places = offsets.places(keys)
    missing = np.flatnonzero(places < 0)
    if len(missing):
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        why = f": {changed} since the run" if changed else ""
        raise InputError(f"{source.shard.url}: kept sample {keys[missing[0]]}{more} is not in it{why}; run it again")
    if changed:
        raise _another(source, keys, changed)
    return offsets.table[places]


def _found(source: Source, keys: Sequence[str], max_image_bytes: int) -> Offsets:
    """Look for kept samples as the embedding reads a tar: for runs of versions that did not note their offsets."""
    found = list[tuple[str, Span]]()
    with contextlib.suppress(MissingSamplesError):
        for group in groups_by_key(source.shard.url, keys, member_limits(max_image_bytes), hold=False):
            found.append((group.key, group.span))
    return offsets_of(found)


def _another(source: Source, keys: Sequence[str], changed: str) -> InputError:
    return InputError(
        f"{source.shard.url}: {changed} since the run, so kept sample {keys[0]} may be another, or gone; run it again"
    )


def _ranges(holder: Shard, keys: Sequence[str], table: Table) -> Ranges:
    mixed = (table["layout"] & MIXED) != 0
    alone, odd = np.flatnonzero(~mixed), np.flatnonzero(mixed).tolist()
    parts = [np.stack([alone, table["start"][alone], table["end"][alone]], axis=1)]
    rows = {keys[row]: row for row in odd}
    wanted = wanted_samples([keys[row] for row in odd], table[odd])
    for group in groups_at(holder, wanted, member_limits(), hold=False, whole=False):
        own = [(rows[group.key], piece.start, piece.end) for piece in merged(_pieces(holder, group))]
        parts.append(np.array(own, dtype=np.int64))
    found = np.concatenate(parts)
    found = found[np.argsort(found[:, 1], kind="stable")]
    kept, first, sample = np.unique(found[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(first)
    sample = np.argsort(order)[sample]
    # Stable: the ranges of a sample stay in the tar's order.
    by_sample = np.argsort(sample, kind="stable")
    return Ranges(kept[order], sample[by_sample], found[by_sample, 1], found[by_sample, 2])


def _pieces(holder: Shard, group: Group) -> Iterator[Piece]:
    """Yield the ranges of a sample's own members: no links, and no global headers, which say something of others."""
    for member in group.members.values():
        at = member.start
        for start, end in (*member.foreign, (member.end, member.end)) if member.regular else ():
            if start > at:
                yield Piece(holder.url, at, start)
            at = end


def _excerpt(shard: Shard, table: Table, path: Path) -> Table:
    """Write the spans of a compressed tar to a file, and return the offsets of the samples in it."""
    regions = joined(sorted(zip(table["start"].tolist(), table["end"].tolist(), strict=True)), 0)
    try:
        with path.open("wb") as file:
            for region, source in zip(regions, region_sources(shard, regions, compressed=True), strict=True):
                for at in range(region.start, region.end, COPIED_BYTES):
                    file.write(source.take(min(COPIED_BYTES, region.end - at)))
    except Damaged as damage:
        raise RunError(f"{shard.url}: {damage.fault.detail}") from None
    starts, sizes = (np.array(part, np.int64) for part in zip(*((a, b - a) for a, b in regions), strict=True))
    shift = (np.cumsum(sizes) - sizes - starts)[np.searchsorted(starts, table["start"], side="right") - 1]
    moved = table.copy()
    moved["start"] += shift
    moved["end"] += shift
    moved["layout"] &= ~np.uint8(COMPRESSED)
    return moved
