"""Group the members of a tar into image-caption samples; what is no whole sample becomes a quarantine entry."""

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from filtering.shards.tar import Fault, Member, read_members
from filtering.uids import derived_uid, is_uid

# webdataset's rule: the key is everything before the first dot of the base name (the folder stays part of it).
NAME = re.compile(r"^((?:.*/)?[^./]+)\.([^/]*)$", re.DOTALL)
IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
CAPTION, METADATA = "txt", "json"
KINDS = {**dict.fromkeys(IMAGES, "image"), CAPTION: "caption", METADATA: "metadata"}
MAX_TEXT_BYTES = 1 << 20

# Samples whose members are not adjacent wait for them while no more than this many bytes wait in all.
WINDOW_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its caption, whole but not yet decoded."""

    uid: str
    key: str
    caption: str
    image: bytes
    image_member: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A sample, or the rest of a shard (`key` None), that cannot be used, and why."""

    member: str
    key: str | None
    fault: Fault


@dataclass(slots=True)
class _Group:
    """The members seen of one key, by extension."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)

    def bytes(self) -> int:
        return sum(len(member.data or b"") for member in self.members.values())

    def of_kind(self, kind: str) -> list[str]:
        return [extension for extension in self.members if _kind(extension) == kind]

    def further_samples(self) -> list[str]:
        """Return the image members of further pairs such as `0001.b.jpg` and `0001.b.txt` beside `0001.a.*`."""
        stems = {extension.rpartition(".")[0] for extension in self.of_kind("caption")}
        images = {extension.rpartition(".")[0]: extension for extension in reversed(self.of_kind("image"))}
        paired = [extension for stem, extension in images.items() if stem in stems]
        return [self.members[extension].name for extension in reversed(paired)][1:]

    def complete(self) -> bool:
        return all(self.of_kind(kind) for kind in ("image", "caption", "metadata"))


def read_samples(stream: BinaryIO, shard_name: str, window_bytes: int = WINDOW_BYTES) -> Iterator[Sample | Quarantined]:
    """Yield every sample of a tar once, whole or quarantined, in an order that depends on the tar alone.

    Parameters
    ----------
    stream : binary file
        The tar.
    shard_name : str
        Base name of the shard, from which uids are derived where a sample's JSON has none.
    window_bytes : int
        Bytes that may wait for members which come later; samples interleaved more widely are closed unfinished.
    """
    grouping = _Grouping(window_bytes)
    for member in read_members(stream, _is_wanted):
        for group in grouping.add(member):
            yield _sample(group, shard_name)
    for group in grouping.close():
        yield _sample(group, shard_name)
    yield from grouping.quarantined


class _Grouping:
    """Collects members by key; a key's second member of one extension belongs to a duplicate of the sample."""

    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes
        self.open: OrderedDict[str, _Group] = OrderedDict()
        self.waiting = 0
        self.closed: set[str] = set()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.emptied: dict[str, _Group] = {}
        self.late: set[str] = set()
        self.has_metadata = False
        self.repeats: set[tuple[str, int]] = set()
        self.quarantined: list[Quarantined] = []
        self.current = ""

    def add(self, member: Member) -> Iterator[_Group]:
        """Take a member and yield the groups that it closes."""
        match = NAME.match(member.name)
        key, extension = (match[1], match[2].lower()) if match else ("", "")
        if member.ends:
            self._end(key, extension, member)
        elif match:
            if key != self.current and self.current in self.open and self.open[self.current].complete():
                yield self._pop(self.current)
            self.current = key
            self._place(key, extension, member)
            yield from self._closed_by_lack_of_room()

    def close(self) -> Iterator[_Group]:
        """Yield the groups that are still open, oldest first, then those that waited in vain."""
        while self.open:
            yield self._pop(next(iter(self.open)))
        for key, group in self.emptied.items():
            if key in self.late:
                fault = Fault("members_too_far_apart", "its members lie too far apart in the shard")
                self.quarantined.append(Quarantined(key, key, fault))
            else:
                yield group

    def _closed_by_lack_of_room(self) -> Iterator[_Group]:
        while self.waiting > self.window_bytes and len(self.open) > 1:
            group = self._pop(next(iter(self.open)))
            if group.of_kind("image") and group.of_kind("caption"):
                yield group
            else:
                bare = {name: Member(part.name, None, part.fault) for name, part in group.members.items()}
                self.emptied[group.key] = _Group(group.key, bare)

    def _place(self, key: str, extension: str, member: Member) -> None:
        repeat = self.seen[key, extension]
        self.seen[key, extension] += 1
        self.has_metadata = self.has_metadata or _kind(extension) == "metadata"
        if repeat:
            self._repeat(key, repeat, member.name)
        elif key in self.closed:
            self._late(key, extension, member)
        else:
            self.open.setdefault(key, _Group(key)).members[extension] = member
            self.waiting += len(member.data or b"")

    def _late(self, key: str, extension: str, member: Member) -> None:
        if _kind(extension) and key not in self.late:
            self.late.add(key)
            if key not in self.emptied:
                fault = Fault("late_member", "came after its sample had to be closed; its members lie too far apart")
                self.quarantined.append(Quarantined(member.name, key, fault))

    def _repeat(self, key: str, repeat: int, name: str) -> None:
        if (key, repeat) not in self.repeats:
            self.repeats.add((key, repeat))
            fault = Fault("duplicate_key", f"the key was already used in this shard; again at {name}")
            self.quarantined.append(Quarantined(name, key, fault))

    def _end(self, key: str, extension: str, member: Member) -> None:
        """Record that the rest of the shard is lost: by its unfinished last sample, or an entry of its own."""
        fault = member.fault or Fault("corrupt_tar", "")
        new = bool(key) and key not in self.closed and not self.seen[key, extension]
        last = self.open.get(self.current)
        if new:
            self.open.setdefault(key, _Group(key)).members[extension] = member
        elif last and not key and self._unfinished(last):
            last.members["\0"] = Member(last.key, None, fault, ends=True)
        else:
            self.quarantined.append(Quarantined(member.name, None, fault))

    def _unfinished(self, group: _Group) -> bool:
        """Say whether members of the group may have been lost; a JSON, too, unless others do without one."""
        others = (other for other in self.open.values() if other is not group)
        bare = any(other.of_kind("image") and not other.of_kind("metadata") for other in others)
        wanted = ("image", "caption") if bare and not self.has_metadata else ("image", "caption", "metadata")
        return not all(group.of_kind(kind) for kind in wanted)

    def _pop(self, key: str) -> _Group:
        group = self.open.pop(key)
        self.waiting -= group.bytes()
        self.closed.add(key)
        for name in group.further_samples():
            fault = Fault("duplicate_key", f"{name} has the same key: what precedes the first dot")
            self.quarantined.append(Quarantined(name, key, fault))
        return group


def _kind(extension: str) -> str | None:
    return KINDS.get(extension.rpartition(".")[2])


def _is_wanted(name: str) -> bool:
    match = NAME.match(name)
    return bool(match and _kind(match[2].lower()))


def _sample(group: _Group, shard_name: str) -> Sample | Quarantined:
    for member in group.members.values():
        if member.ends and member.fault:
            return Quarantined(member.name, group.key, member.fault)
    image = _chosen(group, "image", None)
    if image is None:
        return Quarantined(group.key, group.key, Fault("missing_image", "no image member"))
    stem = _stem(image, group)
    caption, metadata = _chosen(group, "caption", stem), _chosen(group, "metadata", stem)
    if caption is None:
        return Quarantined(group.key, group.key, Fault("missing_caption", "no .txt member"))
    for part in (image, caption, metadata):
        if part and part.fault:
            return Quarantined(part.name, group.key, part.fault)
    return _checked(group.key, image, caption, metadata, shard_name)


def _chosen(group: _Group, kind: str, stem: str | None) -> Member | None:
    """Return the member of a kind: without further dots first, then with the image's, then the first seen."""
    found = group.of_kind(kind)
    plain = [extension for extension in found if "." not in extension]
    alike = [extension for extension in found if stem is not None and extension.rpartition(".")[0] == stem]
    chosen = [*plain, *alike, *found]
    return group.members[chosen[0]] if chosen else None


def _stem(image: Member, group: _Group) -> str:
    extension = next(extension for extension, member in group.members.items() if member is image)
    return extension.rpartition(".")[0]


def _checked(
    key: str, image: Member, caption: Member, metadata: Member | None, shard_name: str
) -> Sample | Quarantined:
    text = _text(caption)
    if isinstance(text, Fault):
        return Quarantined(caption.name, key, text)
    uid = _uid(metadata, derived_uid(shard_name, key))
    if isinstance(uid, Fault):
        return Quarantined(metadata.name if metadata else key, key, uid)
    return Sample(uid, key, text, image.data or b"", image.name)


def _text(caption: Member) -> str | Fault:
    data = caption.data or b""
    if len(data) > MAX_TEXT_BYTES:
        return Fault("caption_too_long", f"{len(data)} bytes, at most {MAX_TEXT_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("caption_not_utf8", f"byte {error.start} is not UTF-8")
    return text if text.strip() else Fault("caption_empty", "holds no text")


def _uid(metadata: Member | None, default: str) -> str | Fault:
    if metadata is None:
        return default
    try:
        fields = json.loads(metadata.data or b"")
    except (ValueError, RecursionError):
        return Fault("json_broken", "is not JSON")
    if not isinstance(fields, dict):
        return Fault("json_broken", "is not a JSON object")
    uid = fields.get("uid")
    if uid is None:
        return default
    uid = uid.lower() if isinstance(uid, str) else uid
    return uid if is_uid(uid) else Fault("uid_malformed", "uid must be 32 hexadecimal digits")
