"""Made-up nights: shards that come and go, and the graph of each, in whole or renewed, built without Ray."""

import uuid
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from plain_stage import PlainStage

from filtering.concepts.artifacts import CONCEPTS, EXACT, Assignment, write_assignment
from filtering.concepts.partition import by_partition, global_rows, row_dtype
from filtering.core import schemas
from filtering.filters.artifacts import VectorReader
from filtering.graph.artifacts import CHOSEN_NAME, QUERIES_NAME, read_graph, read_part_object
from filtering.graph.renewal_stage import KnownGraph
from filtering.graph.stage import build_graph
from filtering.graph.tasks import GraphInputs
from filtering.runtime.finished_run import Base, Reusable
from filtering.runtime.shuffle import packed, write_groups
from filtering.shards.changes import changes
from filtering.shards.inventory import Shard

WIDTH, REACH = 3, 4
PART = ("row", "uid", "concept", "indptr", "indices", "distances")


@dataclass
class Rows:
    """A shard's rows: a home each, and the concepts in which they have replicas."""

    vectors: np.ndarray
    uid: np.ndarray
    home: np.ndarray
    replicas: list[set[int]]

    @classmethod
    def drawn(cls, seed, concepts):
        random = np.random.default_rng(seed)
        count = int(random.integers(0, 9))
        # Few different vectors, so that many rows are equally far.
        vectors = random.integers(-2, 3, (count, WIDTH)).astype(np.float16)
        # A shard is at home in few concepts, so that it leaves others as they were.
        home = random.choice(random.integers(0, concepts, 2), count).astype(np.int32)
        visits = np.where(random.random(count) < 0.3, random.integers(1, REACH, count), 0)
        hosts = [
            set(random.integers(0, concepts, many).tolist()) - {own} for own, many in zip(home, visits, strict=True)
        ]
        uid = np.array([uuid.UUID(bytes=random.bytes(16)).hex for _ in range(count)], dtype="S32")
        return cls(vectors, uid, home, hosts)

    def standing(self):
        """(row, concept) of each concept in which a row stands."""
        everyone = enumerate(zip(self.home.tolist(), self.replicas, strict=True))
        return [(row, concept) for row, (home, hosts) in everyone for concept in (home, *sorted(hosts))]


class Night:
    """A run's shards, and what its concepts and partitions stages write for the graph."""

    def __init__(self, root, shapes, names, partitions, k, absent=frozenset()):
        self.root, self.shapes, self.names, self.k = root, shapes, names, k
        # Rows that do not pass the filters, (shard, row).
        self.absent = absent
        self.partition_of = np.array(partitions, dtype=np.int32)
        self.shards = tuple(Shard(at, name, 1, "") for at, name in enumerate(names))

    def passing(self, name):
        count = len(self.shapes[name].home)
        return np.array([row for row in range(count) if (name, row) not in self.absent], dtype=np.int32)

    def rows(self, name):
        return global_rows(self.names.index(name), self.passing(name))

    def group(self, store, name):
        """Send a shard's rows to the partitions, as `concepts.grouping.group` does."""
        shape, passing = self.shapes[name], set(self.passing(name).tolist())
        ids = global_rows(self.names.index(name), np.arange(len(shape.home)))
        standing = [pair for pair in shape.standing() if pair[0] in passing]
        if not standing:
            return
        rows, concepts = (np.array(column, dtype=np.int32) for column in zip(*standing, strict=True))
        at, partitions, lists = by_partition(rows, concepts, self.partition_of, REACH)
        columns = {"row": ids[at], "uid": shape.uid[at], "home": shape.home[at], "new": np.ones(len(at), dtype=bool)}
        records = packed(row_dtype(WIDTH, REACH), **columns, concepts=lists, vector=shape.vectors[at])
        write_groups(store, f"{name}.grouped", partitions, records.dtype, records.__getitem__)

    def assign(self, store, name):
        """Write the concepts of a shard's rows, as `concepts.assignment.assign_concepts` does."""
        shape = self.shapes[name]
        rows = self.passing(name)
        visits = [(at, concept) for at, row in enumerate(rows) for concept in sorted(shape.replicas[row])]
        replica, concept = (np.array([pair[at] for pair in visits], dtype=np.int32) for at in (0, 1))
        write_assignment(store, self.identity(name), Assignment(rows, shape.home[rows], replica, concept))

    def identity(self, name):
        return self.shards[self.names.index(name)].identity

    def build(self, place, before=None):
        """Build the graph, in whole or from that of the night before; return its store and its statistics."""
        store = self.root.child(place)
        for name in self.names:
            self.assign(store.child("concepts"), name)
            if before is None:
                self.group(store.child("grouped"), name)
        everyone = np.concatenate([np.zeros(0, np.int64), *(self.rows(name) for name in self.names)])
        measured = everyone[everyone % 2 == 0]
        lengths = np.full((len(measured), self.k), np.inf, dtype=np.float32)
        store.child("concepts").write_arrays(EXACT, {"row": measured, "distances": lengths})
        write_concepts(store, self.partition_of)
        known = None
        if before is not None:
            base = Base(before[1], {"objects": {"graph": "graph"}}, before[0].shards)
            differing = {name for name, _ in self.absent ^ before[0].absent}
            same = frozenset(shard.identity for shard in self.shards if shard.url not in differing)
            reusable = Reusable(base, changes(base.shards, self.shards), same)
            shards = [FakeShard(shard, self.shapes[shard.url]) for shard in self.shards]
            known = KnownGraph(reusable, before[1].child("concepts"), shards, REACH)
        return store, build_graph(PlainStage(store.child("graph")), inputs_of(store, self.k), known)


class FakeShard:
    """A shard of which all rows pass, in memory."""

    bytes = 1

    def __init__(self, shard, shape):
        self.identity, self.index, self.shape = shard.identity, shard.index, shape

    def uids(self, rows):
        return self.shape.uid[rows]

    def reader(self):
        return VectorReader(np.arange(len(self.shape.home), dtype=np.int32), self.shape.vectors)


def write_concepts(store, partition_of):
    """Write a table of concepts, of whose rows nothing is known but their partitions."""
    columns = dict.fromkeys(schemas.CONCEPTS.names, np.zeros(len(partition_of), dtype=np.int64))
    table = pa.table(columns | {"partition": partition_of}).cast(schemas.CONCEPTS)
    store.child("concepts").write_table(CONCEPTS, table)


def inputs_of(store, k):
    return GraphInputs(store.child("grouped"), store.child("concepts"), WIDTH, k)


@st.composite
def chains(draw):
    """Shards by name, the shards and absent rows of some nights, the partition of each concept, and k.

    Shards are in an order that stays; many have all their rows.
    """
    partitions = draw(st.lists(st.integers(0, 5), min_size=1, max_size=12))
    seed = draw(st.integers(0, 2**32 - 9))
    names = "abcdefgh"
    shapes = {name: Rows.drawn(seed + at, len(partitions)) for at, name in enumerate(names)}
    nights = [draw(st.sets(st.sampled_from(names), min_size=4))]
    for differing in draw(st.lists(st.sets(st.sampled_from(names), max_size=2), min_size=1, max_size=3)):
        nights.append(nights[-1] ^ differing or nights[-1])
    everyone = [(name, row) for name, shape in shapes.items() for row in range(len(shape.home))]
    rows = st.frozensets(st.sampled_from(everyone), max_size=3) if everyone else st.just(frozenset())
    return shapes, [(sorted(night), draw(rows)) for night in nights], partitions, draw(st.integers(1, 4))


def same_graphs(whole, renewed, partitions):
    for number in range(partitions):
        expected, found = (read_graph(store.child("graph"), number) for store in (whole, renewed))
        assert (expected is None) == (found is None)
        if expected is None:
            continue
        for name in PART:
            left, right = getattr(expected, name), getattr(found, name)
            assert left.dtype == right.dtype
            assert np.array_equal(left, right)
        chosen = [read_part_object(store.child("graph"), CHOSEN_NAME, number)["chosen"] for store in (whole, renewed)]
        assert np.array_equal(*chosen)


def same_queries(whole, renewed, partitions):
    """What measures recall, of the rows that do so today: a reused part may know of fewer, and of more."""
    known = {}
    for store in (whole, renewed):
        objects = [read_part_object(store.child("graph"), QUERIES_NAME, number) for number in range(partitions)]
        known[store.url] = {
            row: distances.tolist()
            for one in objects
            if one is not None
            for row, distances in zip(one["row"].tolist(), one["distances"], strict=True)
            if row >= 0
        }
    expected, found = known[whole.url], known[renewed.url]
    assert found == expected
