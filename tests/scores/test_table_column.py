import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filtering.config.scores import ScoreTable
from filtering.core.errors import InputError
from filtering.scores.table_column import check_table, column_scores
from filtering.shards import parquet

UIDS = [f"{number:032x}" for number in range(6)]


@pytest.fixture
def source(tmp_path):
    def write(values, uids=None, name="quality"):
        path = str(tmp_path / "scores.parquet")
        pq.write_table(pa.table({"uid": uids or UIDS[: len(values)], name: values}), path)
        return ScoreTable(table=path, column="quality")

    return write


def asked(*uids):
    return pa.chunked_array([list(uids)], pa.string())


def test_values_are_joined_by_uid(source):
    table = source([0.0, 0.1, 0.2, 0.3])
    found = column_scores(asked(UIDS[3], UIDS[0], UIDS[3]), table)
    assert found.tolist() == [0.3, 0.0, 0.3]
    assert column_scores(asked(), table).tolist() == []


def test_uids_of_a_table_may_be_in_upper_case(source):
    uids = ["AB" * 16, "cd" * 16]
    assert column_scores(asked("cd" * 16, "ab" * 16), source([1.0, 2.0], uids)).tolist() == [2.0, 1.0]


def test_uids_in_chunks(source):
    chunks = pa.chunked_array([[UIDS[1]], [], [UIDS[0], UIDS[2]]], pa.string())
    assert column_scores(chunks, source([1.0, 2.0, 3.0])).tolist() == [2.0, 1.0, 3.0]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3], pa.int64()),
        pa.array([1, 2, 3], pa.uint8()),
        pa.array([1.0, 2.0, 3.0], pa.float16()),
        pa.array([1.0, 2.0, 3.0], pa.float64()),
    ],
)
def test_any_number_is_a_score(source, values):
    table = source(values)
    check_table(table)
    assert column_scores(asked(*UIDS[:3]), table).tolist() == [1.0, 2.0, 3.0]


def test_large_whole_numbers_are_scores(source):
    table = source(pa.array([123_456_789, 2**53], pa.int64()))
    check_table(table)
    assert column_scores(asked(*UIDS[:2]), table).tolist() == [123_456_789, 2**53]


@pytest.mark.parametrize(
    "values",
    [
        # Seconds, nanoseconds of whole seconds, and fractions that a float32 rounds to one another.
        pa.array([1_700_000_000 + step for step in range(6)], pa.int64()),
        pa.array([(1_700_000_000 + step) * 10**9 for step in range(6)], pa.int64()),
        pa.array([-(2**60) + 256 * step for step in range(6)], pa.int64()),
        pa.array([2**63 + 2**11 * step for step in range(6)], pa.uint64()),
        pa.array([0.7 + 1e-12 * step for step in range(6)], pa.float64()),
    ],
)
def test_values_keep_the_order_of_their_column(source, values):
    found = column_scores(asked(*UIDS), source(values))
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
@pytest.mark.parametrize("value", [2**53 + 1, 1_700_000_000_000_000_001, 2**63 - 1])
def test_whole_numbers_whose_order_would_be_lost_are_refused(source, kind, value):
    table = source(pa.array([1, value], kind))
    with pytest.raises(InputError, match=f"column quality of .* of more than 53 bits, such as {value}, whose"):
        column_scores(asked(*UIDS[:2]), table)
    # Of what is asked for alone.
    assert column_scores(asked(UIDS[0]), table).tolist() == [1.0]


def test_values_that_the_manifest_cannot_show_are_refused(source):
    with pytest.raises(InputError, match=r"holds values above 3\.4e38"):
        column_scores(asked(UIDS[0]), source([1e39]))


@pytest.mark.parametrize("kind", [pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_uids_of_any_type_of_text_in_any_case(source, kind):
    upper = pa.array([f"{row + 0xABC:032X}" for row in range(2)])
    table = source(pa.array([1.0, 2.0]), uids=upper.cast(kind))
    assert column_scores(asked(f"{0xABD:032x}"), table).tolist() == [2.0]


def test_uids_that_are_no_text_are_not_those_of_a_sample(source):
    table = source(pa.array([1.0, 2.0]), uids=pa.array([b"\xff" * 32, UIDS[1].encode()]))
    assert column_scores(asked(UIDS[1]), table).tolist() == [2.0]
    with pytest.raises(InputError, match=r"column uid of .* holds list<element: string>, not text"):
        check_table(source(pa.array([1.0]), uids=[["a"]]))


def test_a_table_that_unpacks_to_more_than_it_may_is_not_read(source, monkeypatch):
    monkeypatch.setattr(parquet, "BYTES_ALWAYS", 1 << 10)
    table = source(pa.array([1.0] * 10_000), uids=[f"{row:032x}" for row in range(10_000)])
    monkeypatch.setattr(parquet, "BYTES_A_BYTE", 0)
    with pytest.raises(InputError, match=r"^table: .*says that column uid unpacks to"):
        check_table(table)


def test_large_string_uids(source):
    table = source(pa.array([1.0, 2.0]), uids=pa.array(UIDS[:2], pa.large_string()))
    assert column_scores(asked(UIDS[1]), table).tolist() == [2.0]


def test_a_uid_without_a_row_is_refused(source):
    with pytest.raises(InputError, match=f"2 samples have no row.*{UIDS[4]}"):
        column_scores(asked(UIDS[0], UIDS[4], UIDS[5]), source([1.0, 2.0]))


def test_a_table_without_rows_is_refused(source):
    with pytest.raises(InputError, match="no row"):
        column_scores(asked(UIDS[0]), source(pa.array([], pa.float64()), uids=pa.array([], pa.string())))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_values_that_are_not_finite_are_refused(source, bad):
    table = source(pa.array([1.0, bad], pa.float64()))
    with pytest.raises(InputError, match="quality"):
        column_scores(asked(*UIDS[:2]), table)
    assert column_scores(asked(UIDS[0]), table).tolist() == [1.0]


def test_a_missing_column_is_refused_with_the_nearest_name(source):
    with pytest.raises(InputError, match="no column quality; did you mean qualty"):
        check_table(source([1.0], name="qualty"))


def test_a_table_without_uids_is_refused(tmp_path):
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"uids": ["a"], "quality": [1.0]}), path)
    with pytest.raises(InputError, match="no column uid; did you mean uids"):
        check_table(ScoreTable(table=path, column="quality"))


def test_a_column_that_holds_no_numbers_is_refused(source):
    table = source(["high", "low"])
    with pytest.raises(InputError, match="quality"):
        check_table(table)
        column_scores(asked(*UIDS[:2]), table)


def test_a_table_that_is_not_there_or_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    for name in ("x.parquet", "none.parquet"):
        with pytest.raises(InputError, match=r"^table: "):
            check_table(ScoreTable(table=str(tmp_path / name), column="quality"))


def test_lower_values_may_be_the_ones_worth_keeping(source):
    table = source([1.0, 3.0, 2.0])
    lower = ScoreTable(table=table.table, column="quality", keep="lower")
    assert column_scores(asked(*UIDS[:3]), lower).tolist() == [-1.0, -3.0, -2.0]


def test_two_values_of_a_uid_are_refused_and_one_that_is_repeated_is_a_value(source):
    one, two, other = "a" * 32, "b" * 32, "c" * 32
    repeated = source([1, 2, 1, 3, 4], [one, two, one.upper(), None, None])
    assert column_scores(asked(one, two), repeated).tolist() == [1, 2]
    table = source([1, 2, 3, 4, 4], [one, two, one, other, other])
    with pytest.raises(InputError, match=f"{table.table} has different values of quality for uid {one}"):
        column_scores(asked(one, two), table)
    # Those of samples that are not in the pool decide nothing.
    assert column_scores(asked(two, other), table).tolist() == [2, 4]
