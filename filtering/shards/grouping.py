"""Put the members of a tar back together as samples, however far apart they lie, within bounded memory."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from filtering.shards.faults import Fault
from filtering.shards.names import CAPTION, IMAGE, MAX_NAME_CHARACTERS, METADATA, Place, place, shortened
from filtering.shards.offsets import COMPRESSED, MIXED, Span
from filtering.shards.tar import Member

# What a waiting member costs beside its data and name, about.
MEMBER_OVERHEAD_BYTES = 512
# So many samples whose partners were not there when they had to make room are remembered, in case these still come.
MAX_UNFINISHED = 20_000

ALL_KINDS = {IMAGE, CAPTION, METADATA}


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A sample, or the rest of a shard (`key` None), that cannot be used, and why."""

    member: str
    key: str | None
    fault: Fault


@dataclass(slots=True)
class Group:
    """The members seen of one key, by extension."""

    key: str
    compressed: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    # The first of each kind whose extension has no further dot, by kind.
    plain: dict[str, Member] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    # Whether any extension has further dots.
    dotted: bool = False
    # The member that the shard ended in, if it did.
    lost: Member | None = None
    # Bytes they hold in memory, about.
    size: int = 0
    # Offsets of the first header of the first one, and of what follows the last one.
    start: int = -1
    end: int = -1
    # Whether the bytes in between are its members and nothing else.
    alone: bool = True

    def add(self, at: Place, member: Member) -> int:
        """Take a member and return its size."""
        self._reach(member)
        self.members[at.extension] = member
        self.places.append(at)
        self.dotted = self.dotted or bool(at.stem)
        if at.kind is not None:
            self.kinds.add(at.kind)
            if not at.stem:
                self.plain.setdefault(at.kind, member)
        if member.ends:
            self.lost = member
        size = member.size + len(member.name) + MEMBER_OVERHEAD_BYTES
        self.size += size
        return size

    def _reach(self, member: Member) -> None:
        if self.members:
            self.alone = self.alone and member.start == self.end
        else:
            self.start = member.start
        self.alone = self.alone and member.regular and not member.foreign
        self.end = member.end

    @property
    def span(self) -> Span:
        """Where its members stand in the tar."""
        return Span(self.start, self.end, (0 if self.alone else MIXED) | (COMPRESSED if self.compressed else 0))

    def chosen(self, kind: str, stem: str | None = None) -> tuple[Member | None, str]:
        """Return the member of a kind, and its stem: a plain one first, then one of that stem, then the first."""
        if kind in self.plain:
            return self.plain[kind], ""
        found = [at for at in self.places if at.kind == kind]
        best = next((at for at in found if at.stem == stem), found[0] if found else None)
        return (self.members[best.extension], best.stem) if best else (None, "")

    def further_samples(self) -> list[str]:
        """Return the image members of further pairs such as `0001.b.jpg` and `0001.b.txt` beside `0001.a.*`."""
        if not self.dotted:
            return []
        stems = {at.stem for at in self.places if at.kind == CAPTION}
        images = {at.stem: at.extension for at in reversed(self.places) if at.kind == IMAGE}
        paired = [extension for stem, extension in images.items() if stem in stems]
        return [self.members[extension].name for extension in reversed(paired)][1:]


class Grouping:
    """Collects members by key; a key's second member of one extension belongs to a duplicate of the sample.

    `window_bytes` may wait for members which come later; beyond, the oldest samples are closed unfinished.
    """

    def __init__(self, window_bytes: int, compressed: bool = False) -> None:
        self._window_bytes, self._compressed = window_bytes, compressed
        self._open: OrderedDict[str, Group] = OrderedDict()
        self._waiting = 0
        self._current: Group | None = None
        # Of every key that was closed, the extensions seen: equal ones share one set.
        self._closed: dict[str, frozenset[str]] = {}
        self._shapes: dict[frozenset[str], frozenset[str]] = {}
        self._seen_late: set[tuple[str, str]] = set()
        self._repeats: Counter[tuple[str, str]] = Counter()
        self._reported: set[tuple[str, int]] = set()
        self._unfinished: dict[str, Group] = {}
        self._late: set[str] = set()
        self._has_metadata = False
        self._entries: list[Quarantined] = []

    def add(self, member: Member) -> list[Group]:
        """Take a member and return the groups that it closes."""
        at = place(member.name)
        member = shortly_named(member)
        if member.ends:
            self._end(at, member)
            return []
        # A link or device that could be no image, caption or JSON begins no sample.
        return self._add(at, member) if at and (at.kind or member.regular) else []

    def entries(self) -> list[Quarantined]:
        """Return, once, what was found unusable beside the groups."""
        found, self._entries = self._entries, []
        return found

    def close(self) -> Iterator[Group]:
        """Yield the groups that are still open, oldest first, then those that waited in vain."""
        while self._open:
            yield self._pop(next(iter(self._open)))
        for token, group in self._unfinished.items():
            if token in self._late:
                self._report(
                    group.key, group.key, "members_too_far_apart", "its members lie too far apart in the shard"
                )
            else:
                yield group

    def _add(self, at: Place, member: Member) -> list[Group]:
        closed: list[Group] = []
        current = self._current
        if current is not None and at.key != current.key:
            if current.kinds == ALL_KINDS:
                closed.append(self._pop(current.key))
            self._current = None
        self._place(at, member)
        if self._waiting > self._window_bytes:
            closed += self._closed_by_lack_of_room()
        return closed

    def _place(self, at: Place, member: Member) -> None:
        self._has_metadata = self._has_metadata or at.kind == METADATA
        group = self._open.get(at.key)
        if group is not None and at.extension in group.members:
            self._repeat(at, member.name)
        elif group is None and (seen := self._closed.get(shortened(at.key))) is not None:
            if at.extension in seen or (shortened(at.key), at.extension) in self._seen_late:
                self._repeat(at, member.name)
            else:
                self._come_late(at, member)
        elif group is None:
            group = self._open[at.key] = Group(at.key, self._compressed)
            self._waiting += group.add(at, member)
        else:
            self._waiting += group.add(at, self._with_room(at, member, group))
        self._current = group

    def _with_room(self, at: Place, member: Member, group: Group) -> Member:
        """Return a member, without its data if its key already has one of its kind and there is no room for more."""
        unheld = member.data is None and not member.size
        if self._waiting <= self._window_bytes or at.kind not in group.kinds or unheld:
            return member
        fault = Fault("member_too_large", f"the members of its key exceed {self._window_bytes} bytes")
        return member._replace(data=None, fault=fault, size=0)

    def _come_late(self, at: Place, member: Member) -> None:
        token = shortened(at.key)
        self._seen_late.add((token, at.extension))
        if at.kind and token not in self._late:
            self._late.add(token)
            if token not in self._unfinished:
                detail = "came after its sample had to be closed; its members lie too far apart"
                self._report(member.name, at.key, "late_member", detail)

    def _repeat(self, at: Place, name: str) -> None:
        token = shortened(at.key)
        self._repeats[token, at.extension] += 1
        times = self._repeats[token, at.extension]
        if (token, times) not in self._reported:
            self._reported.add((token, times))
            self._report(name, at.key, "duplicate_key", f"the key was already used in this shard; again at {name}")

    def _end(self, at: Place | None, member: Member) -> None:
        """Record that the rest of the shard is lost: by its unfinished last sample, or an entry of its own."""
        last = self._current
        group = self._open.get(at.key) if at else None
        if at and shortened(at.key) not in self._closed and not (group and at.extension in group.members):
            self._place(at, member)
        elif last and not at and self._may_have_lost_members(last):
            last.lost = Member(last.key, None, member.fault, ends=True)
        else:
            self._entries.append(Quarantined(member.name, None, member.fault or Fault("corrupt_tar", "")))

    def _may_have_lost_members(self, group: Group) -> bool:
        """Say whether members of the group may have been lost; a JSON, too, unless others do without one."""
        others = (other for other in self._open.values() if other is not group)
        bare = any(IMAGE in other.kinds and METADATA not in other.kinds for other in others)
        wanted = {IMAGE, CAPTION} if bare and not self._has_metadata else ALL_KINDS
        return not wanted <= group.kinds

    def _closed_by_lack_of_room(self) -> Iterator[Group]:
        while self._waiting > self._window_bytes and len(self._open) > 1:
            group = self._pop(next(iter(self._open)))
            if {IMAGE, CAPTION} <= group.kinds or len(self._unfinished) >= MAX_UNFINISHED:
                yield group
            else:
                self._unfinished[shortened(group.key)] = _without_data(group)

    def _pop(self, key: str) -> Group:
        group = self._open.pop(key)
        self._waiting -= group.size
        extensions = frozenset(group.members)
        self._closed[shortened(key)] = self._shapes.setdefault(extensions, extensions)
        for name in group.further_samples():
            self._report(name, key, "duplicate_key", f"{name} has the same key: what precedes the first dot")
        return group

    def _report(self, member: str, key: str, reason: str, detail: str) -> None:
        self._entries.append(Quarantined(member, key, Fault(reason, detail)))


def shortly_named(member: Member) -> Member:
    """Return a member; one whose name is too long with a short one, a fault, and no data."""
    if len(member.name) <= MAX_NAME_CHARACTERS:
        return member
    name = shortened(member.name)
    fault = Fault("name_too_long", f"{len(member.name)} characters, at most {MAX_NAME_CHARACTERS}: {name}")
    return member._replace(name=name, data=None, fault=member.fault or fault, size=0)


def _without_data(group: Group) -> Group:
    bare = Group(group.key, group.compressed, places=group.places, dotted=group.dotted)
    bare.start, bare.end, bare.alone = group.start, group.end, group.alone
    for extension, member in group.members.items():
        bare.members[extension] = member._replace(data=None, ends=False, size=0)
    bare.plain = {kind: member._replace(data=None, ends=False, size=0) for kind, member in group.plain.items()}
    return bare
