"""What workers do to bring rows together by partition: a shard's rows in one object, sorted by where they go."""

from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import GROUPED_NAME, VISITS_NAME, read_concepts, read_touched
from filtering.concepts.partition import by_partition, global_rows, row_dtype
from filtering.concepts.reuse import again_rows
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import Records, packed, write_groups
from filtering.storage.store import Store


def group(shard: PassingShard, reach: int, concepts_url: str, store_url: str) -> dict[str, int]:
    """Write a shard's rows, each once for every partition that has a concept in which it stands.

    Where a base's graph is carried over, only concepts that are searched again count.
    """
    concepts_store = Store(concepts_url)
    visits, touched = concepts_store.read_arrays(VISITS_NAME.format(shard.identity)), read_touched(concepts_store)
    rows, guests = visits["row"], visits["guest"]
    everyone = np.arange(len(rows), dtype=np.int32)
    standing, concept = np.concatenate([everyone, guests]), np.concatenate([visits["concept"], visits["guest_concept"]])
    again = np.ones(len(rows), dtype=bool)
    if touched is not None:
        again, here = again_rows(visits, touched.changed), touched.searched[concept]
        standing, concept = standing[here], concept[here]
    if len(standing) == 0:
        return {"rows": 0, "guests": 0, "copies": 0}
    read = shard.reader().in_memory()
    partition_of = read_concepts(concepts_store)["partition"].to_numpy()
    travelling, partitions, concepts = by_partition(standing, concept, partition_of, reach)
    ids, uids, homes = global_rows(shard.index, rows), shard.uids(rows), visits["concept"]
    dtype = row_dtype(read.images.shape[1], reach)

    def records(places: npt.NDArray[Any]) -> Records:
        at = travelling[places]
        columns = {"row": ids[at], "uid": uids[at], "home": homes[at], "again": again[at]}
        return packed(dtype, **columns, concepts=concepts[places], vector=read(rows[at]))

    write_groups(Store(store_url), GROUPED_NAME.format(shard.identity), partitions, dtype, records)
    sent = np.zeros(len(rows), dtype=bool)
    sent[standing] = True
    return {"rows": int(sent.sum()), "guests": len(guests), "copies": len(travelling)}
