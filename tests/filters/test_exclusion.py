import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, metadata_config, tar_config, write_metadata

from filtering import open_run
from filtering.config.filters import ExcludeFilter
from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.core.uids import SUBSET_DTYPE
from filtering.filters.exclusion import check_exclusion, exclusion_identity, exclusion_passes, stored_exclusion
from filtering.pipeline.run import check, run
from filtering.storage.store import Store

UIDS = [f"{row:032x}" for row in range(5)]
URLS = [f"http://example.org/{row}.jpg" for row in range(5)]
HASHES = [hashlib.sha256(bytes([row])).hexdigest() for row in range(5)]
ROWS = pa.table({"uid": UIDS, "url": URLS, "sha256": HASHES})
COLUMNS = {"uids": UIDS, "urls": URLS, "hashes": HASHES}


@pytest.fixture
def passing(tmp_path):
    """Apply an exclusion to rows."""

    def passing(rows=ROWS, images=None, **given):
        rule = ExcludeFilter(**given)
        exclusion = stored_exclusion(rule, 0, exclusion_identity(rule), Store(str(tmp_path / "store")))

        def blocks():
            yield slice(0, len(rows)), images

        return exclusion_passes(rows, exclusion, blocks).tolist()

    return passing


@pytest.mark.parametrize("what", COLUMNS)
def test_what_a_text_names_is_excluded(passing, tmp_path, what):
    names = COLUMNS[what]
    (tmp_path / "list.txt").write_text(f"{names[3]}\n\n  {names[1]}\r\n")
    assert passing(**{what: str(tmp_path / "list.txt")}) == [True, False, True, False, True]


@pytest.mark.parametrize("what", COLUMNS)
def test_what_a_column_of_parquet_names_is_excluded(passing, tmp_path, what):
    names = [COLUMNS[what][0], None, COLUMNS[what][4]]
    own = {"uids": "uid", "urls": "url", "hashes": "sha256"}[what]
    pq.write_table(pa.table({own: names, "other": names[::-1]}), tmp_path / "list.parquet")
    for source in ("list.parquet", "list.parquet#other"):
        (tmp_path / "store").exists() and [path.unlink() for path in (tmp_path / "store").iterdir()]
        assert passing(**{what: f"{tmp_path}/{source}"}) == [False, True, True, True, False]


def test_what_a_subset_file_of_datacomp_names_is_excluded(passing, tmp_path):
    subset = np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in UIDS[1:3]], dtype=SUBSET_DTYPE)
    np.save(tmp_path / "subset.npy", subset)
    assert passing(uids=str(tmp_path / "subset.npy")) == [True, False, False, True, True]


def test_uids_and_hashes_are_compared_in_lower_case(passing, tmp_path):
    (tmp_path / "list.txt").write_text(HASHES[2].upper())
    assert passing(hashes=str(tmp_path / "list.txt")) == [True, True, False, True, True]


def test_an_empty_list_excludes_nothing(passing, tmp_path):
    (tmp_path / "list.txt").write_text("\n")
    assert passing(uids=str(tmp_path / "list.txt")) == [True] * 5


def test_a_row_that_has_no_url_is_not_excluded(passing, tmp_path):
    (tmp_path / "list.txt").write_text(URLS[0])
    rows = ROWS.set_column(1, "url", pa.array([None, URLS[0], None, None, ""]))
    assert passing(rows, urls=str(tmp_path / "list.txt")) == [True, False, True, True, True]


def test_rows_of_an_older_version_are_refused(passing, tmp_path):
    (tmp_path / "list.txt").write_text(URLS[0])
    with pytest.raises(
        InputError, match=r"^filters\.exclude\.urls: an older version .* noted no url; run it without base"
    ):
        passing(ROWS.drop_columns(["url"]), urls=str(tmp_path / "list.txt"))


def test_images_near_a_vector_are_excluded(passing, tmp_path):
    listed = np.array([[3.0, 0.0], [0.0, -2.0]])
    np.save(tmp_path / "eval.npy", listed)
    images = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, -1], [-1, 0]], dtype=np.float16)
    given = {"vectors": str(tmp_path / "eval.npy")}
    assert passing(images=images, threshold=0.9, **given) == [False, True, True, False, True]
    with pytest.raises(InputError, match=r"^filters\.exclude\.vectors: they have 2 dimensions, those of the pool 3"):
        passing(images=np.ones((5, 3), np.float16), threshold=0.9, **given)


WRONG = {
    "uids": ("12", r"entry 1, 12, is no uid: 32 hexadecimal digits"),
    "hashes": (UIDS[0], r"entry 1, 0{32}, is no sha256: 64 hexadecimal digits"),
}


@pytest.mark.parametrize(("what", "text", "message"), [(what, *of) for what, of in WRONG.items()])
def test_an_entry_that_names_nothing_is_refused(tmp_path, what, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=rf"^filters\.exclude\.{what}: .*{message}"):
        check_exclusion(ExcludeFilter(**{what: str(tmp_path / "list.txt")}))


def test_lists_that_cannot_be_read_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    pq.write_table(pa.table({"uid": [1, 2]}), tmp_path / "x.parquet")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe")
    for given, message in (
        ({"uids": "none.txt"}, r"none\.txt is not there"),
        ({"uids": f"{tmp_path}/x.npy"}, r"is no subset file of DataComp"),
        ({"uids": f"{tmp_path}/x.parquet"}, r"column uid of .* holds int64, not text"),
        ({"urls": f"{tmp_path}/x.parquet"}, r"has no column url; known: uid"),
        ({"urls": f"{tmp_path}/x.txt"}, r"x\.txt cannot be read"),
        ({"vectors": f"{tmp_path}/none.npy", "threshold": 0.9}, r"none\.npy is not there"),
        ({"vectors": f"{tmp_path}/x.npy", "threshold": 0.9}, r"x\.npy has shape \(3,\)"),
    ):
        with pytest.raises(InputError, match=rf"^filters\.exclude\.{next(iter(given))}: .*{message}"):
            check_exclusion(ExcludeFilter(**given))


def test_a_list_that_changes_between_naming_and_reading_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(UIDS[0])
    rule = ExcludeFilter(uids=str(path))
    identity = exclusion_identity(rule)
    path.write_text(UIDS[1])
    with pytest.raises(RunError, match=r"list\.txt: it was written again while the run read it"):
        stored_exclusion(rule, 0, identity, Store(str(tmp_path / "store")))


def test_the_order_of_a_list_is_no_part_of_its_identity(tmp_path):
    identities = set()
    for names in (UIDS, UIDS[::-1], UIDS + UIDS):
        (tmp_path / "list.txt").write_text("\n".join(names))
        identities.add(exclusion_identity(ExcludeFilter(uids=str(tmp_path / "list.txt"))))
    assert len(identities) == 1


def dropped(output, reason="filter:exclude"):
    table = open_run(str(output)).dropped().to_table()
    return set(table.filter(pa.compute.equal(table["reason"], reason))["uid"].to_pylist())


@pytest.mark.parametrize("what", ["urls", "hashes", "vectors"])
def test_a_run_over_tars_leaves_out_what_is_listed_and_says_so(tar_pool, tmp_path, what):
    base = tmp_path / "base"
    run(parse_config(tar_config(tar_pool, base)), Silent())
    (embedding,) = (path for path in (base / "stages").glob("embedding-*") if path.is_dir())
    rows = pa.concat_tables(pq.read_table(path) for path in sorted(embedding.glob("*.rows.parquet")))
    assert rows["sha256"].null_count == 0
    some = rows.slice(2, 3)
    given = {"threshold": 0.9999} if what == "vectors" else {}
    if what == "vectors":
        (name, *_) = sorted(embedding.glob("*.image.npy"))
        np.save(tmp_path / "list.npy", np.load(name)[:1])
        given["vectors"] = str(tmp_path / "list.npy")
    else:
        column = {"urls": "url", "hashes": "sha256"}[what]
        pq.write_table(some.select([column]), tmp_path / "list.parquet")
        given[what] = str(tmp_path / "list.parquet")
    record = run(parse_config(tar_config(tar_pool, tmp_path / "run", filters=[{"exclude": given}])), Silent())
    gone = dropped(tmp_path / "run")
    if what == "hashes":
        assert gone == set(some["uid"].to_pylist())
    assert record["reasons"]["dropped"].get("filter:exclude", 0) == len(gone)
    lacks = f"filters.exclude: {len(rows):,} of {len(rows):,} samples have no url, by which a list excludes"
    assert (lacks in record["warnings"]) == (what == "urls" and rows["url"].null_count == len(rows))


def test_an_incremental_run_honours_a_list_that_has_grown(tmp_path):
    pool = write_metadata(tmp_path / "pool", [200, 150])
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    path = tmp_path / "takedown.txt"
    config = {"filters": [{"exclude": {"uids": str(path)}}]}
    for night, count in enumerate((2, 5)):
        path.write_text("\n".join(uids[:count]))
        base = {} if night == 0 else {"base": str(tmp_path / "0")}
        parsed = parse_config({**metadata_config(pool, tmp_path / str(night)), **config, **base})
        from filtering.pipeline.incremental import run as run_incremental

        run_incremental(parsed, Silent())
        assert dropped(tmp_path / str(night)) == set(uids[:count])


def test_lists_that_are_not_there_are_refused_before_anything_is_written(metadata_pool, tmp_path):
    config = parse_config(
        metadata_config(metadata_pool, tmp_path / "run", filters=[{"exclude": {"uids": f"{tmp_path}/none.txt"}}])
    )
    with pytest.raises(InputError, match=r"^filters\.exclude\.uids: .*none\.txt is not there$"):
        check(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given", [{}, {"uids": "a", "urls": "b"}, {"vectors": "x.npy"}, {"uids": "a", "threshold": 0.5}]
)
def test_a_filter_has_one_list(given):
    with pytest.raises(
        ValueError, match=r"give one of uids, urls, hashes and vectors|vectors and threshold go together"
    ):
        ExcludeFilter(**given)
