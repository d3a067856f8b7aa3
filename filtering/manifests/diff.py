"""What two runs decide differently: which samples became kept and which became dropped, by concept, and why."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.artifacts import ConceptsResult
from filtering.config.run import UNDECISIVE
from filtering.core.uid_rule import UidRule
from filtering.manifests.artifacts import ShardLine, table_name
from filtering.manifests.written import WrittenManifest
from filtering.runtime.finished_run import read_base
from filtering.storage.store import Store

# Shards that are compared at once; most of the time goes by in requests.
AT_ONCE = 8
NEW_SHARD, REMOVED_SHARD, NEW_SAMPLE, GONE_SAMPLE = "new shard", "removed shard", "new sample", "sample is gone"


class ChangedCounts(TypedDict):
    """Kept samples, and by reason those that became kept and those that became dropped, in one concept or in all."""

    kept_before: int
    kept_after: int
    kept_in_both: int
    became_kept: dict[str, int]
    became_dropped: dict[str, int]


class ChangedConcept(ChangedCounts):
    """The counts of a concept in which something changed."""

    concept: int
    run: NotRequired[str]  # whose concept it is, before or after, where the runs' concepts differ


class ChangedKey(TypedDict):
    """A key of the configuration that two runs have other values of; None where a run has no such key."""

    key: str
    before: object
    after: object


class ChangedSample(TypedDict):
    """A sample that one of two runs keeps, and why the other does not."""

    uid: str
    key: str
    shard: str
    concept: int  # in the run that keeps it
    change: str  # became kept, or became dropped
    reason: str


class RunDiff(ChangedCounts):
    """The counts of all samples, and what else differs between two runs."""

    before: str
    after: str
    configuration: list[ChangedKey]  # keys that change the result, in the order of the sections
    samples: list[ChangedSample]  # the first ones, in the order of shards
    shards: dict[str, int]  # how many are new, removed and in both
    same_concepts: bool  # whether concepts have the same centroids, and so the same numbers
    concepts: list[ChangedConcept]  # most changes first


@dataclass(slots=True)
class Counts:
    """What changed, in one concept or in all."""

    before: int = 0  # before, after: samples kept in either run
    after: int = 0
    both: int = 0  # kept in both
    # became_kept, became_dropped: by why: the reason of the run that does not keep them, or that it lacks them
    became_kept: Counter[str] = field(default_factory=Counter)
    became_dropped: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Add what changed elsewhere."""
        self.before += other.before
        self.after += other.after
        self.both += other.both
        self.became_kept.update(other.became_kept)
        self.became_dropped.update(other.became_dropped)

    @property
    def moved(self) -> int:
        """Samples that are kept by one run alone."""
        return self.became_kept.total() + self.became_dropped.total()

    def plain(self) -> ChangedCounts:
        """Return it as plain data."""
        gained, lost = (dict(counts.most_common()) for counts in (self.became_kept, self.became_dropped))
        return {
            "kept_before": self.before,
            "kept_after": self.after,
            "kept_in_both": self.both,
            "became_kept": gained,
            "became_dropped": lost,
        }


# By run (0 before, 1 after) and concept.
ByConcept = dict[tuple[int, int], Counts]


@dataclass(frozen=True, slots=True)
class _Listed:
    """Which changed samples are listed: so many, and only those of some uids, where these are given."""

    most: int
    among: pa.Array | None

    def samples(self, rows: pa.Table, why: Sequence[str], change: str) -> list[ChangedSample]:
        """Return the samples of a shard that are listed, at most all that are."""
        rows = rows.append_column("reason", pa.array(why, pa.string()))
        if self.among is not None:
            rows = rows.filter(pc.is_in(rows["uid"], value_set=self.among))
        return [cast(ChangedSample, {**row, "change": change}) for row in rows.slice(0, self.most).to_pylist()]


@dataclass(frozen=True, slots=True)
class _ShardDiff:
    """What differs in a shard: the counts, and the first changed samples."""

    counts: ByConcept
    samples: list[ChangedSample]


def diff(before: str, after: str, samples: int = 0, among: Collection[str] | None = None) -> RunDiff:
    """Compare two finished runs, shard by shard; memory holds the tables of a few shards.

    Parameters
    ----------
    before, after : str
        The runs' directories.
    samples : int
        The number of changed samples to list.
    among : collection of str, optional
        The uids of those that may be listed; all without it.

    Returns
    -------
    RunDiff
        A dictionary: the counts for all, and of each concept in which something changed.

    Raises
    ------
    InputError
        If one of them is no finished run.
    """
    bases = read_base(Store(before), "diff"), read_base(Store(after), "diff")
    same = len({base.result("concepts", ConceptsResult).identity for base in bases}) == 1
    runs = WrittenManifest(bases[0].run, bases[0].record), WrittenManifest(bases[1].run, bases[1].record)
    pairs = list(_pairs(*(run.shard_lines() for run in runs)))
    # By another rule, a sample has another uid; in its shard its key tells it from others too.
    name = "uid" if len({UidRule.recorded(base.record) for base in bases}) == 1 else "key"
    with ThreadPoolExecutor(AT_ONCE) as threads:
        listed = _Listed(samples, None if among is None else pa.array(sorted(among), pa.string()))
        found = threads.map(lambda pair: _compared(runs, name, listed, *pair), pairs)
        total, concepts = Counts(), defaultdict[tuple[int, int], Counts](Counts)
        changed = list[ChangedSample]()
        for shard in found:
            changed += shard.samples[: samples - len(changed)]
            for (run, concept), one in shard.counts.items():
                total.add(one)
                concepts[0 if same else run, concept].add(one)
    places = [sum(1 for pair in pairs if pair[at] is None) for at in (0, 1)]
    return {
        "before": before,
        "after": after,
        "configuration": list(_changed_keys(*(base.record["config"] for base in bases))),
        "samples": changed,
        **total.plain(),
        "shards": {"new": places[0], "removed": places[1], "both": len(pairs) - sum(places)},
        "same_concepts": same,
        "concepts": list(_lines(concepts, same)),
    }


def _changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[ChangedKey]:
    """Yield the keys of two configurations that have other values, of those that change the result."""
    flat = [dict(_flat(config, "")) for config in (before, after)]
    for key in dict.fromkeys([*flat[1], *flat[0]]):
        one, other = (found.get(key) for found in flat)
        if one != other and key.partition(".")[0] not in UNDECISIVE:
            yield ChangedKey(key=key, before=one, after=other)


def _flat(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, _given(value)


def _given(value: object) -> object:
    """Return a value without the keys that are not given, such as those of all other kinds of a filter."""
    if isinstance(value, Mapping):
        return {name: _given(inner) for name, inner in value.items() if inner is not None}
    return [_given(one) for one in value] if isinstance(value, list) else value


def _lines(concepts: ByConcept, same: bool) -> Iterator[ChangedConcept]:
    changed = {key: counts for key, counts in concepts.items() if counts.moved}
    for (run, concept), counts in sorted(changed.items(), key=lambda item: (-item[1].moved, item[0])):
        whose = {} if same else {"run": ("before", "after")[run]}
        yield cast(ChangedConcept, {"concept": concept, **whose, **counts.plain()})


def _pairs(before: Sequence[ShardLine], after: Sequence[ShardLine]) -> Iterator[tuple[int | None, int | None]]:
    """Yield where each shard stands in both runs, None where it does not."""
    known = {line["url"]: at for at, line in enumerate(before)}
    for at, line in enumerate(after):
        yield known.pop(line["url"], None), at
    yield from ((at, None) for at in known.values())


def _compared(
    runs: tuple[WrittenManifest, WrittenManifest], name: str, listed: _Listed, before: int | None, after: int | None
) -> _ShardDiff:
    """Compare a shard, whose samples are the same where they have the same `name`, uid or key."""
    found: ByConcept = defaultdict(Counts)
    old, new = (_kept(run, at) for run, at in zip(runs, (before, after), strict=True))
    for run, table in enumerate((old, new)):
        concepts, counts = np.unique(table["concept"].to_numpy(), return_counts=True)
        for concept, count in zip(concepts.tolist(), counts.tolist(), strict=True):
            found[run, concept].add(Counts(before=count) if run == 0 else Counts(after=count))
    sums = {
        run.checksum(table_name("kept", at)) for run, at in zip(runs, (before, after), strict=True) if at is not None
    }
    unchanged = before is not None and after is not None and len(sums) == 1
    gained = new.slice(0, 0) if unchanged else _without(new, old, name)
    lost = old.slice(0, 0) if unchanged else _without(old, new, name)
    changed = list[ChangedSample]()
    for kept, lacks, at, rows, new_name, missing, change in (
        (1, 0, before, gained, NEW_SHARD, NEW_SAMPLE, "became_kept"),
        (0, 1, after, lost, REMOVED_SHARD, GONE_SAMPLE, "became_dropped"),
    ):
        why = [new_name] * len(rows) if at is None else _why(runs[lacks], at, rows, name, missing)
        _count(found, kept, rows, why, change)
        changed += listed.samples(rows, why, change.replace("_", " "))
    for concept, count in Counter(_without(new, gained, name)["concept"].to_pylist()).items():
        found[1, concept].both += count
    return _ShardDiff(found, changed)


def _count(found: ByConcept, run: int, rows: pa.Table, why: Sequence[str], name: str) -> None:
    for concept, reason in zip(rows["concept"].to_pylist(), why, strict=True):
        getattr(found[run, concept], name)[reason] += 1


def _kept(run: WrittenManifest, at: int | None) -> pa.Table:
    if at is None:
        empty = {name: pa.array([], pa.string()) for name in ("uid", "key", "shard")}
        return pa.table({**empty, "concept": pa.array([], pa.int32())})
    return run.table("kept", at, ["uid", "key", "shard", "concept"])


def _without(rows: pa.Table, others: pa.Table, name: str) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows[name], value_set=others[name].combine_chunks())))


def _why(run: WrittenManifest, at: int, rows: pa.Table, name: str, missing: str) -> list[str]:
    """Return why a run does not keep some samples of a shard."""
    if len(rows) == 0:
        return []
    dropped = run.table("dropped", at, [name, "reason"])
    quarantined = run.table("quarantined", at, ["key", "reason"])
    by_name = dict(zip(dropped[name].to_pylist(), dropped["reason"].to_pylist(), strict=True))
    by_key = dict(zip(quarantined["key"].to_pylist(), quarantined["reason"].to_pylist(), strict=True))
    pairs = zip(rows[name].to_pylist(), rows["key"].to_pylist(), strict=True)
    return [by_name.get(one) or (f"quarantined:{by_key[key]}" if key in by_key else missing) for one, key in pairs]
