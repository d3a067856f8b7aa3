"""Read a tar as image-caption samples; what is no whole sample becomes a quarantine entry."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from filtering.config.limits import MAX_IMAGE_BYTES
from filtering.core.captions import holds_text
from filtering.core.uids import derived_uid, is_uid
from filtering.shards.faults import Fault
from filtering.shards.fields import fields_of
from filtering.shards.grouping import Group, Grouping, Quarantined
from filtering.shards.names import CAPTION, IMAGE, METADATA, UNDECODED, column, place, shortened
from filtering.shards.offsets import Span
from filtering.shards.source import ByteSource
from filtering.shards.tar import MAX_MEMBERS, Member, TarReader

__all__ = ["Quarantined", "Sample", "read_samples"]

MAX_CAPTION_BYTES = 64 << 10
MAX_JSON_BYTES = 1 << 20
# Captions, keys and the entries of what is quarantined, all of one shard.
MAX_TEXT_BYTES = 256 << 20
# Samples whose members are not adjacent wait for them while no more than this many bytes wait in all.
WINDOW_BYTES = 64 << 20

TOO_LARGE = {CAPTION: "caption_too_long", METADATA: "json_too_large"}


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its caption, whole but not yet decoded, and where all members of its key stand in the tar.

    `url` is what the JSON says that the image was loaded from, `fields` is what else of it is asked for.
    """

    uid: str
    key: str
    caption: str
    image: bytes
    image_member: str
    url: str | None = None
    span: Span = field(default=Span(0, 0, 0), compare=False)
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_samples(
    stream: BinaryIO,
    shard: str,
    window_bytes: int = WINDOW_BYTES,
    max_image_bytes: int = MAX_IMAGE_BYTES,
    max_text_bytes: int = MAX_TEXT_BYTES,
    max_members: int = MAX_MEMBERS,
    fields: Sequence[str] = (),
) -> Iterator[Sample | Quarantined]:
    """Yield every sample of a tar once, whole or quarantined, in an order that depends on the tar alone.

    Whatever the tar holds, memory is bounded: `window_bytes`, two images of `max_image_bytes` and about 1 kB for each
    of `max_members`. What is yielded holds at most `max_text_bytes` of text in all, and 500 bytes for each entry after.
    Samples interleaved more widely than `window_bytes` are closed unfinished, larger images are not read, and samples
    after that much text are quarantined. From `shard`, its place (`UidRule.place`), uids are derived where the JSON has
    none; `fields` are read of it.
    """
    source = ByteSource(stream)
    members = TarReader(source).members(member_limits(max_image_bytes), max_members)
    groups = _grouped(members, Grouping(window_bytes, source.compressed))
    found = (one if isinstance(one, Quarantined) else sample_of(one, shard, fields) for one in groups)
    return _within(max_text_bytes, found)


def member_limits(max_image_bytes: int = MAX_IMAGE_BYTES) -> Callable[[str], int | None]:
    """Return the limits that `filtering.shards.tar.TarReader.members` takes, for images, captions and JSON."""
    limits = {IMAGE: max_image_bytes, CAPTION: MAX_CAPTION_BYTES, METADATA: MAX_JSON_BYTES}

    def limit_of(name: str) -> int | None:
        at = place(name)
        return limits[at.kind] if at and at.kind and not at.too_long else None

    return limit_of


def _grouped(members: Iterable[Member], grouping: Grouping) -> Iterator[Group | Quarantined]:
    for member in members:
        yield from grouping.add(member)
        yield from grouping.entries()
    yield from grouping.close()
    yield from grouping.entries()


def _within(limit: int, found: Iterable[Sample | Quarantined]) -> Iterator[Sample | Quarantined]:
    """Yield what is found until its text is too large; from then on quarantine samples and shorten entries."""
    spent = 0
    for one in found:
        text = one.caption + (one.url or "") if isinstance(one, Sample) else one.member + one.fault.detail
        spent += len(text.encode()) + len(one.key or "")
        yield one if spent <= limit else _briefly(one, limit)


def _briefly(one: Sample | Quarantined, limit: int) -> Quarantined:
    key = None if one.key is None else shortened(one.key)
    if isinstance(one, Sample):
        fault = Fault("shard_text_too_large", f"the captions and names of its shard exceed {limit} bytes")
        return Quarantined(shortened(one.image_member), key, fault)
    return Quarantined(shortened(one.member), key, Fault(one.fault.reason, shortened(one.fault.detail)))


def sample_of(group: Group, shard: str, fields: Sequence[str] = ()) -> Sample | Quarantined:
    """Return the sample that the members of a key make, all of them, or why they make none; see `read_samples`."""
    if group.lost and group.lost.fault:
        return Quarantined(group.lost.name, group.key, group.lost.fault)
    image, caption, metadata = chosen_members(group)
    if image is None:
        return _without_image(group)
    if caption is None:
        return Quarantined(group.key, group.key, Fault("missing_caption", "no .txt member"))
    for kind, part in ((IMAGE, image), (CAPTION, caption), (METADATA, metadata)):
        if part and part.fault:
            return Quarantined(part.name, group.key, _fault(kind, part.fault))
    return _checked(group, image, caption, metadata, shard, fields)


def _without_image(group: Group) -> Quarantined:
    """Return the entry of a key without an image that can be decoded, with the one that cannot be if there is one."""
    for at in group.places:
        if kind := UNDECODED.get(at.extension.rpartition(".")[2]):
            member = group.members[at.extension].name
            return Quarantined(
                member, group.key, Fault("image_undecodable", f"{member} is {kind}, which is not decoded")
            )
    return Quarantined(group.key, group.key, Fault("missing_image", "no image member"))


class Chosen(NamedTuple):
    """The members of a key that make its sample."""

    image: Member | None
    caption: Member | None
    metadata: Member | None


def chosen_members(group: Group) -> Chosen:
    """Return the image of a key, and the caption and JSON that go with it, as far as there are such members."""
    image, stem = group.chosen(IMAGE)
    return Chosen(image, group.chosen(CAPTION, stem)[0], group.chosen(METADATA, stem)[0])


def _fault(kind: str, fault: Fault) -> Fault:
    return Fault(TOO_LARGE.get(kind, fault.reason), fault.detail) if fault.reason == "member_too_large" else fault


def _checked(
    group: Group, image: Member, caption: Member, metadata: Member | None, shard: str, asked: Sequence[str]
) -> Sample | Quarantined:
    key, text = group.key, _text(caption.data or b"")
    if isinstance(text, Fault):
        return Quarantined(caption.name, key, text)
    named, fields = metadata.name if metadata else key, _fields(metadata)
    if isinstance(fields, Fault):
        return Quarantined(named, key, fields)
    uid = _uid(fields)
    if isinstance(uid, Fault):
        return Quarantined(named, key, uid)
    uid = uid or derived_uid(shard, key)
    return Sample(uid, key, text, image.data or b"", image.name, _url(fields), group.span, fields_of(fields, asked))


def _text(data: bytes) -> str | Fault:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("caption_not_utf8", f"byte {error.start} is not UTF-8")
    return text if holds_text(text) else Fault("caption_empty", "holds no text")


def _fields(metadata: Member | None) -> dict[str, Any] | Fault:
    """Return what a sample's JSON holds, nothing where there is none."""
    if metadata is None:
        return {}
    try:
        fields = json.loads(metadata.data or b"")
    except (ValueError, RecursionError):
        return Fault("json_broken", "is not JSON")
    return fields if isinstance(fields, dict) else Fault("json_broken", "is not a JSON object")


def _uid(fields: Mapping[str, Any]) -> str | Fault | None:
    """Return the uid of a sample's JSON, None where it has none."""
    uid = fields.get("uid")
    if uid is None:
        return None
    uid = uid.lower() if isinstance(uid, str) else uid
    return uid if is_uid(uid) else Fault("uid_malformed", "uid must be 32 hexadecimal digits")


def _url(fields: Mapping[str, Any]) -> str | None:
    """Return the URL of a sample's JSON if it is a text that a table can hold."""
    url = fields.get(column(fields, ("url",)) or "url")
    # JSON may hold half a surrogate pair, which UTF-8 cannot.
    return url.encode("utf-8", "replace").decode() if isinstance(url, str) and url else None
