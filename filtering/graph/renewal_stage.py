"""The graph of a run with a base: rows that are new or have lost a neighbour search, parts that differ are renewed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filtering.concepts.artifacts import read_concepts
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import Origins, read_adjacent, read_origins, write_origins
from filtering.graph.change_tasks import (
    ASKED_NAME,
    ASKING_NAME,
    GONE_NAME,
    KNOWN_NAME,
    LOST_ASKED_NAME,
    LOST_ASKING_NAME,
    NEW_NAME,
    Asked,
    ChangedRows,
    KnownRows,
    Renewing,
    ask_for_lost,
    find_changed,
    find_gone,
    tell_known,
)
from filtering.graph.renewal_tasks import ChosenAgain, choose_again, renew
from filtering.graph.shard_search import ROWS_TOGETHER, SHARD_FOUND_NAME, AskingNames, Searched, search_shards
from filtering.graph.sharded import PartStatistics
from filtering.graph.tasks import EDGES_SUFFIX, FOUND_SUFFIX, GraphInputs, adjacent_partitions
from filtering.runtime.finished_run import Reusable
from filtering.runtime.shard_groups import group_identity, group_names, of_shard
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.shards.changes import GONE
from filtering.storage.reading import read_mapping_as
from filtering.storage.store import Store

# The statistics of each partition's part, and whether it is a base's.
PARTS = "parts.json"
# What renewing leaves for nobody: grouped records, by the end of their names.
CONSUMED = (
    *(name.removeprefix("{}") for name in (GONE_NAME, NEW_NAME, ASKING_NAME, ASKED_NAME)),
    *(name.removeprefix("{}") for name in (LOST_ASKING_NAME, LOST_ASKED_NAME)),
    *(".known", FOUND_SUFFIX, EDGES_SUFFIX),
)

# Rows that search which are in memory at once.
BATCH_ROWS = 40_000
# A search is so many tasks, unless these would have fewer rows each, or more than a task may hold.
TASKS, LEAST_ROWS = 64, 1 << 16

Parts = dict[str, PartStatistics]
Adjacent = dict[int, list[int]]


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewed graph: its parts, the partitions that share edges, distances computed, and concepts searched."""

    parts: Parts
    adjacent: Adjacent
    distances: int
    concepts: int


@dataclass(frozen=True, slots=True)
class KnownGraph:
    """What a base knows of a graph, and the pool today.

    `concepts` is the base's concepts stage, which is compared with that of the run; `most` are the concepts of a row,
    at most.
    """

    reusable: Reusable
    concepts: Store
    shards: Sequence[PassingShard]
    most: int


def renew_graph(stage: StageRun, inputs: GraphInputs, known: KnownGraph, memory: Sequence[int]) -> Renewed:
    """Write the parts of a graph that differ from a base's, and where the others are."""
    base = known.reusable.base.store(stage.key.name)
    write_origins(stage.store, _origins(base, known.reusable))
    concepts = read_concepts(inputs.concepts)
    work = Renewing(inputs, known.concepts, concepts["partition"].to_pylist(), known.most)
    rows = int(concepts["size"].to_numpy().sum())
    return _Renewal(stage, work, known.shards, rows, known.reusable, memory, read_adjacent(base), base).run()


@dataclass(frozen=True, slots=True)
class _Changes:
    """The shards and partitions that changes touch.

    `gone` and `new` are the names of the objects with rows that are gone, and new, those by partition; `asking` of
    those with rows that search, and `rows` how many are at home in a partition; `asked` of those with the concepts of
    a partition in which rows search; `touched` are the partitions of rows that are gone or new, and those that share
    edges with rows that are gone.
    """

    gone: list[str]
    new: dict[int, list[str]]
    asking: list[str]
    rows: dict[int, int]
    asked: dict[int, list[str]]
    touched: set[int]

    def note(self, found: Asked, asking: str, asked: str) -> None:
        """Note the objects of a shard's rows that search, and how many are at home where."""
        if found["asked"]:
            _add(self.asking, asking)
        for number, count in zip(found["homes"], found["rows"], strict=True):
            self.rows[number] += count
        for number in found["asked"]:
            _add(self.asked[number], asked)


@dataclass(frozen=True, slots=True)
class _Renewal:
    stage: StageRun
    work: Renewing
    shards: Sequence[PassingShard]
    rows: int
    reusable: Reusable
    memory: Sequence[int]
    before: Adjacent
    base: Store

    def run(self) -> Renewed:
        """Take all steps."""
        changes = self._changes()
        known = self._known(changes)
        self._ask_for_lost(changes, known)
        searched = self._search(changes, known)
        chosen = self._choose(changes, searched, known)
        renewed, adjacent = self._renew(chosen)
        for suffix in CONSUMED:
            consume(self.stage.store, suffix)
        parts: Parts = {number: part | {"carried": True} for number, part in read_parts(self.base).items()}
        parts |= {f"{number}": part for number, part in renewed.items()}
        distances = sum(one["distances"] for one in searched.values())
        return Renewed(parts, adjacent, distances, sum(one["concepts"] for one in chosen.values()))

    def _changes(self) -> _Changes:
        """Find new rows and rows that are gone."""
        store, known = self.stage.store, self.reusable.identities()
        shards = {shard.identity for shard in self.shards}
        left = [shard.identity for shard in self.reusable.base.shards if shard.identity not in shards & known]
        tasks = [task(f"gone-{identity}", find_gone, identity, self.work) for identity in left]
        touched = {number for numbers in self.stage.map(tasks, "shards gone") for number in numbers}
        differing = [shard for shard in self.shards if shard.identity not in self.reusable.same & known]
        finding = [
            of_shard(task(f"differing-{one.identity}", find_changed, one, one.identity in known, self.work, store), one)
            for one in differing
        ]
        found: list[ChangedRows] = self.stage.map(finding, "shards compared")
        changes = _Changes([], defaultdict(list), [], defaultdict(int), defaultdict(list), touched)
        for name, rows in zip(group_names(differing), found, strict=True):
            if rows["gone"]:
                _add(changes.gone, GONE_NAME.format(name))
            for number in rows["new"]:
                _add(changes.new[number], NEW_NAME.format(name))
            changes.note(rows, ASKING_NAME.format(name), ASKED_NAME.format(name))
            touched |= {*rows["gone"], *rows["new"]}
            if rows["gone"]:
                touched |= {other for number in rows["gone"] for other in self.before.get(number, [])}
        touched |= {other for number in list(touched) for other in self.before.get(number, [])} if left else set()
        return changes

    def _known(self, changes: _Changes) -> dict[int, KnownRows]:
        """Let partitions tell what the base knows of their rows, where rows search, are new, or are gone."""
        store, names = self.stage.store, read_parts(self.base)
        numbers = sorted(number for number in changes.touched | changes.asked.keys() if f"{number}" in names)
        tasks = [
            task(f"known-{n:08d}", tell_known, n, sorted({n, *self.before.get(n, [])}), changes.gone, self.work, store)
            for n in numbers
        ]
        return dict(zip(numbers, self.stage.map(tasks, "partitions told"), strict=True))

    def _ask_for_lost(self, changes: _Changes, known: dict[int, KnownRows]) -> None:
        tellers, store = defaultdict[int, list[str]](list), self.stage.store
        for number, rows in known.items():
            for at in rows["searching"]:
                tellers[at].append(KNOWN_NAME.format(number))
        losers = [shard for shard in self.shards if shard.index in tellers]
        tasks = [
            of_shard(task(f"losing-{one.identity}", ask_for_lost, one, tellers[one.index], self.work, store), one)
            for one in losers
        ]
        found = self.stage.map(tasks, "shards with lost neighbours")
        for group, asked in zip(group_names(losers), found, strict=True):
            changes.note(asked, *(name.format(group) for name in (LOST_ASKING_NAME, LOST_ASKED_NAME)))

    def _search(self, changes: _Changes, known: dict[int, KnownRows]) -> dict[str, Searched]:
        """Search all query rows among the rows of every shard; return what each task found, by the task's name."""
        names = AskingNames(
            sorted(changes.asking), [KNOWN_NAME.format(number) for number in known], sorted(changes.asked)
        )
        common = (_batches(changes.rows), names, self.work, self.stage.store)
        together = _together(self.shards, self.rows) if names.asking else []
        searching = {f"meet-{group_identity([shard.identity for shard in some])}": some for some in together}
        tasks = [task(name, search_shards, name, some, *common) for name, some in searching.items()]
        return dict(zip(searching, self.stage.map(tasks, "shards searched"), strict=True))

    def _choose(
        self, changes: _Changes, searched: dict[str, Searched], known: dict[int, KnownRows]
    ) -> dict[int, ChosenAgain]:
        senders = defaultdict[int, list[str]](list)
        for name, one in searched.items():
            for number in one["to"]:
                senders[number].append(SHARD_FOUND_NAME.format(name))
        lost = {number for number, rows in known.items() if rows["gone"]}
        numbers = sorted(senders.keys() | changes.new.keys() | changes.asked.keys() | lost)
        tasks = [
            task(
                f"choose-{n:08d}",
                choose_again,
                n,
                senders[n],
                changes.new[n],
                changes.asked[n],
                self.work,
                self.stage.store,
            ).reserving(self.memory[n])
            for n in numbers
        ]
        return dict(zip(numbers, self.stage.map(tasks, "partitions chosen"), strict=True))

    def _renew(self, chosen: dict[int, ChosenAgain]) -> tuple[dict[int, PartStatistics], Adjacent]:
        """Renew the parts of partitions whose rows chose otherwise, and of those that share edges with them."""
        store, differing = self.stage.store, [number for number, one in chosen.items() if one["differs"]]
        senders = defaultdict[int, list[int]](list)
        for number in differing:
            for target in chosen[number]["to"]:
                senders[target].append(number)
        affected = {*differing, *senders, *(other for one in differing for other in self.before.get(one, []))}
        affected |= {number for number, one in chosen.items() if one["other_spares"]}
        changed = set(differing)
        tasks = [
            task(
                f"renew-{n:08d}", renew, n, senders[n], sorted({n, *self.before.get(n, [])} & changed), self.work, store
            ).reserving(self.memory[n])
            for n in sorted(affected)
        ]
        parts = dict(zip(sorted(affected), self.stage.map(tasks, "partitions renewed"), strict=True))
        return parts, adjacent_partitions(self.before, chosen)


def _add(names: list[str], name: str) -> None:
    """Add the name of an object, which shards that follow one another may share."""
    if names[-1:] != [name]:
        names.append(name)


def _together(shards: Sequence[PassingShard], rows: int) -> list[Sequence[PassingShard]]:
    """Return which shards of the pool, which has `rows` rows, are searched by one task."""
    wanted = min(max(rows // TASKS, LEAST_ROWS), ROWS_TOGETHER)
    step = max(1, -(-wanted * len(shards) // max(rows, 1)))
    return [shards[start : start + step] for start in range(0, len(shards), step)]


def _batches(rows: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return ranges of partitions, [first, end), where some 40,000 rows that search are at home, or one."""
    batches, held = list[tuple[int, int]](), 0
    for number, count in sorted(rows.items()):
        if batches and held + count <= BATCH_ROWS:
            batches[-1], held = (batches[-1][0], number + 1), held + count
        else:
            batches.append((number, number + 1))
            held = count
    return batches


def read_parts(store: Store) -> Parts:
    """Return the statistics of the parts of a graph, by partition."""
    return read_mapping_as(store, PARTS, Parts)


def _origins(base: Store, reusable: Reusable) -> Origins:
    """Return the origins of a base's parts, with the places of those runs' shards now: its own, and those it reused."""
    before, places = read_origins(base), reusable.changes.places
    own = read_parts(base)
    run_of = np.full(max(map(int, own), default=-1) + 1, -1, dtype=np.int32)
    for number, part in own.items():
        run_of[int(number)] = before.run_of[int(number)] + 1 if part["carried"] else 0
    moved = [np.where(one >= 0, places[one], GONE) for one in before.places]
    return Origins((base, *before.stores), run_of, (places, *moved))
