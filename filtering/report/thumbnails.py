"""Small images of samples, read from where they stand in a shard."""

import contextlib
import io
from collections.abc import Collection, Iterator, Sequence

from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.images import decode_image
from filtering.shards.faults import Fault
from filtering.shards.grouping import Group
from filtering.shards.inventory import check_shard
from filtering.shards.members import MissingSamplesError, groups_at, groups_by_key, limits_of_keys
from filtering.shards.samples import Sample, chosen_members, member_limits, sample_of

# The longer side: twice a card of the page, so that an enlarged image is still clear.
PIXELS, QUALITY = 192, 75


def sample_images(embedded: EmbeddedShard, keys: Collection[str]) -> dict[str, bytes]:
    """Return small images of samples by key; for a repeated key, of the first sample."""
    images = {}
    for group in _groups(embedded, keys):
        entry = sample_of(group, embedded.shard.url)
        if isinstance(entry, Sample) and (image := _small(entry.image)):
            images[entry.key] = image
    return images


def quarantined_images(embedded: EmbeddedShard, keys: Collection[str]) -> dict[str, tuple[str, bytes]]:
    """Return by key the captions of quarantined samples, empty where there is none, and their small images.

    Samples whose image cannot be decoded are left out.
    """
    found = {}
    for group in _groups(embedded, keys):
        image, caption, _ = chosen_members(group)
        if image is not None and image.data and (small := _small(image.data)):
            text = caption.data.decode("utf-8", "replace") if caption and caption.data else ""
            found[group.key] = text, small
    return found


def _groups(embedded: EmbeddedShard, keys: Collection[str]) -> Iterator[Group]:
    """Yield the members of samples: from where they stood in the shard, or by their keys if that is not known."""
    # Samples that are not there any more are shown without their images.
    with contextlib.suppress(MissingSamplesError):
        yield from _located(embedded, sorted(keys))


def _located(embedded: EmbeddedShard, keys: Sequence[str]) -> Iterator[Group]:
    shard, limit_of = embedded.shard, member_limits()
    # Other samples than those that were selected may stand under their keys by now.
    check_shard(shard)
    offsets = embedded.offsets()
    wanted = offsets.wanted(keys) if offsets else None
    if wanted is None:
        return groups_by_key(shard.url, keys, limits_of_keys(set(keys), limit_of))
    return groups_at(shard, wanted, limit_of)


def _small(data: bytes) -> bytes | None:
    decoded = decode_image(data, draft_side=PIXELS)
    if isinstance(decoded, Fault):
        return None
    image = decoded.image.convert("RGB")
    image.thumbnail((PIXELS, PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
