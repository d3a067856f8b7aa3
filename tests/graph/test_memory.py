import numpy as np
import pyarrow as pa
import pytest

from filtering.core import schemas
from filtering.graph.memory import partition_memory, search_memory_bytes


def concepts_table(partitions, sizes, replicas):
    count = len(partitions)
    columns = {"concept": range(count), "size": sizes, "guests": replicas, "partition": partitions}
    columns |= {"d_intra": [0.0] * count, "d_inter": [0.0] * count}
    return pa.table(
        [pa.array(columns[name], schemas.CONCEPTS.field(name).type) for name in schemas.CONCEPTS.names],
        schema=schemas.CONCEPTS,
    )


def test_each_partition_needs_what_its_rows_and_its_largest_concept_need():
    table = concepts_table([0, 2, 0, 1, 2], [100, 10, 5_000, 7, 20], [1_000, 0, 0, 3, 5])
    expected = [search_memory_bytes(*rows, 64, 10) for rows in ((6_100, 5_000), (10, 10), (35, 25))]
    assert partition_memory(table, 64, 10) == expected


def test_no_concepts_need_nothing():
    assert partition_memory(concepts_table([], [], []), 64, 10) == []


@pytest.mark.parametrize("more", [(2_000, 500, 512, 10), (1_000, 900, 512, 10), (1_000, 500, 768, 10)])
def test_more_rows_need_more(more):
    assert search_memory_bytes(*more) > search_memory_bytes(1_000, 500, 512, 10)


@pytest.mark.parametrize(("rows", "largest", "dimension"), [(20_000, 3_000, 768), (3_000, 3_000, 512)])
def test_the_arrays_of_a_search_have_room(rows, largest, dimension):
    records = 2 * rows * (2 * dimension + 50)
    searched = largest * (4 + 4 + 2) * dimension
    assert search_memory_bytes(rows, largest, dimension, 10) > records + searched


def test_whole_numbers():
    memory = partition_memory(concepts_table([0], [3], [4]), 8, 2)
    assert all(isinstance(value, int) and not isinstance(value, np.integer) for value in memory)
