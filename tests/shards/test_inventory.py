import os

import pytest
from web_server import WebServer

from filtering.config.input import Input
from filtering.core.errors import InputError
from filtering.shards.inventory import Shard, VectorFile, check_uids, list_shards, read_inventory
from filtering.storage.store import Store, digest, write_object
from filtering.storage.versions import Version


@pytest.fixture
def pool(tmp_path):
    for number in range(3):
        (tmp_path / f"{number:08d}.tar").write_bytes(b"x" * (number + 1))
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_shards_are_listed_in_the_order_of_the_patterns(pool):
    shards = list_shards(Input(shards=(f"{pool}/00000002.tar", f"{pool}/*.tar")))
    assert [(shard.index, shard.name, shard.size) for shard in shards] == [
        (0, "00000002.tar", 3),
        (1, "00000000.tar", 1),
        (2, "00000001.tar", 2),
    ]
    assert all(shard.url == f"{pool}/{shard.name}" for shard in shards)


@pytest.mark.parametrize("pattern", ["", "/*.tar", "/{00000000..00000002}.tar"])
def test_a_folder_a_glob_and_braces_are_the_same(pool, pattern):
    assert list_shards(Input(shards=str(pool) + pattern)) == list_shards(Input(shards=str(pool)))


def test_metadata_are_parquet_files_with_arrays_beside(pool):
    (pool / "a.parquet").write_bytes(b"x")
    (pool / "a.npz").write_bytes(b"x")
    shards = list_shards(Input(metadata=str(pool)))
    assert [shard.name for shard in shards] == ["a.parquet"]
    assert [(file.url, file.version.size) for file in shards[0].vectors] == [(f"{pool}/a.npz", 1)]


def test_a_folder_of_clip_retrieval_is_its_tables_with_two_arrays_each(pool):
    for name in ("metadata/metadata_07.parquet", "img_emb/img_emb_07.npy", "text_emb/text_emb_07.npy"):
        (pool / name).parent.mkdir(exist_ok=True)
        (pool / name).write_bytes(b"x")
    (shard,) = list_shards(Input(clip_retrieval=str(pool)))
    assert shard.url == f"{pool}/metadata/metadata_07.parquet"
    files = [f"{pool}/img_emb/img_emb_07.npy", f"{pool}/text_emb/text_emb_07.npy"]
    assert [file.url for file in shard.vectors] == files
    assert list_shards(Input(clip_retrieval=f"{pool}/metadata/metadata_*.parquet")) == [shard]
    (pool / "img_emb").rename(pool / "images")
    (moved,) = list_shards(Input(clip_retrieval=str(pool), folders={"image": "images"}))
    assert moved.vectors[0].url == f"{pool}/images/img_emb_07.npy"
    assert moved.identity == shard.identity
    os.utime(pool / "images" / "img_emb_07.npy", (1, 1))
    assert list_shards(Input(clip_retrieval=str(pool), folders={"image": "images"}))[0].identity != shard.identity


def test_a_table_that_clip_retrieval_would_not_call_so_is_refused(pool):
    (pool / "part-0.parquet").write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"^input\.clip_retrieval: .*/part-0\.parquet is not called metadata_N\.parquet"
    ):
        list_shards(Input(clip_retrieval=f"{pool}/part-0.parquet"))


def test_an_inventory_of_an_older_version_names_its_npz_by_the_table(tmp_path):
    store, arrays = Store(str(tmp_path)), {"size": 5, "mark": "m"}
    table = {"index": 0, "url": "/a.parquet", "size": 1, "version": "v", "arrays": arrays}
    store.write_record("shards.json", {"shards": [table]})
    (shard,) = read_inventory(store)
    assert shard == Shard(0, "/a.parquet", 1, "v", (VectorFile("/a.npz", Version(5, "m")),))
    # As that version made it, so that a base's rows are found.
    assert shard.identity == digest(["/a.parquet", 1, "v", 5, "m"])


def test_what_cannot_be_an_npz_is_found_in_the_inventory(pool):
    for name in "abcde":
        (pool / f"{name}.parquet").write_bytes(b"x")
    os.mkfifo(pool / "a.npz")
    (pool / "c.npz").symlink_to("c.npz")
    (pool / "d.npz").mkdir()
    # One that is missing costs its rows alone.
    (pool / "e.npz").symlink_to("nowhere")
    (pool / "b.npz").symlink_to("/dev/zero")
    with pytest.raises(InputError) as refused:
        list_shards(Input(metadata=str(pool)))
    line = f"input.metadata: {pool}/a.npz is no regular file but a pipe, a socket or a device (and 3 more)"
    assert str(refused.value) == line
    for name, line in (("b", "is no regular file but a"), ("c", "is a link to nothing"), ("d", "is a folder")):
        with pytest.raises(InputError, match=rf"^input\.metadata: {pool}/{name}\.npz {line}"):
            list_shards(Input(metadata=f"{pool}/{{{name},e}}.parquet"))
    assert len(list_shards(Input(metadata=f"{pool}/e.parquet"))) == 1


def test_a_folder_in_the_place_of_an_npz_elsewhere():
    for name in ("0.parquet", "0.npz/x"):
        write_object(f"memory://arrays/{name}", b"x")
    with pytest.raises(InputError, match=r"arrays/0\.npz is a folder$"):
        list_shards(Input(metadata="memory://arrays"))


@pytest.mark.parametrize("source", ["{}/00000009.tar", "{}/{{00000002..00000004}}.tar", "{}/none/1.tar", "{}/9*.tar"])
def test_what_is_not_there_is_refused(pool, source):
    with pytest.raises(InputError):
        list_shards(Input(shards=source.format(pool)))


def test_the_first_missing_shard_and_their_number_are_named(pool):
    with pytest.raises(InputError, match=r"input\.shards: .*00000003\.tar is not there \(and 1 more\)"):
        list_shards(Input(shards=f"{pool}/{{00000002..00000004}}.tar"))


def test_the_identity_changes_with_the_content(pool):
    before = list_shards(Input(shards=str(pool)))
    assert before == list_shards(Input(shards=str(pool)))
    (pool / "00000000.tar").write_bytes(b"longer")
    os.utime(pool / "00000001.tar", (1, 1))
    after = list_shards(Input(shards=str(pool)))
    same = [one.identity == two.identity for one, two in zip(before, after, strict=True)]
    assert same == [False, False, True]
    assert len({shard.identity for shard in after}) == 3


def test_an_identity_does_not_depend_on_the_place():
    assert Shard(0, "s3://b/x.tar", 3, "v").identity == Shard(7, "s3://b/x.tar", 3, "v").identity


def test_a_shard_is_plain_data():
    shard = Shard(2, "s3://b/x.tar", 3, "v")
    assert shard.plain() == {"index": 2, "url": "s3://b/x.tar", "size": 3, "version": "v"}
    assert Shard(**shard.plain()) == shard


def test_shards_elsewhere():
    for number in range(2):
        write_object(f"memory://inventory/{number}.tar", b"x")
    shards = list_shards(Input(shards="memory://inventory/{0..1}.tar"))
    assert [(shard.name, shard.size) for shard in shards] == [("0.tar", 1), ("1.tar", 1)]
    assert [shard.name for shard in list_shards(Input(shards="memory://inventory"))] == ["0.tar", "1.tar"]


def shards_at(*urls):
    return [Shard(index, url, 1, "1") for index, url in enumerate(urls)]


def test_two_shards_of_one_name_are_told_apart_by_their_urls_alone():
    shards = shards_at("/cc3m/00000.tar", "/cc12m/00000.tar")
    check_uids(Input(shards="/"), shards)
    check_uids(Input(shards="/", root="/"), shards)
    message = r"^input\.uids: /cc3m/00000\.tar and /cc12m/00000\.tar have one name, .*; set it to url$"
    with pytest.raises(InputError, match=message):
        check_uids(Input(shards="/", uids="name"), shards)
    check_uids(Input(shards="/", uids="name"), shards_at("/cc3m/00000.tar", "/cc12m/00001.tar"))


@pytest.mark.parametrize("source", [Input(shards="/"), Input(metadata="/"), Input(clip_retrieval="/")])
def test_two_spellings_of_one_shard_are_refused(source):
    with pytest.raises(InputError, match=rf"^input\.{source.kind}: s3://p/0 and s3a://p/0 differ in nothing"):
        check_uids(source, shards_at("s3://p/0", "s3a://p/0"))
    with pytest.raises(InputError, match=r"\?id=1 and .*\?id=2 .* input\.uids: name$"):
        check_uids(source, shards_at("https://p/get?id=1", "https://p/get?id=2"))


def test_every_shard_is_below_the_root():
    with pytest.raises(InputError, match=r"input\.root: s3://q/0 is not below s3://p"):
        check_uids(Input(shards="/", root="s3a://p/"), shards_at("s3://p/0", "s3://q/0"))


def test_what_an_index_links_to_holds_no_secret(pool):
    with WebServer(pool, query="?X-Amz-Signature=abc") as server, pytest.raises(InputError) as refused:
        list_shards(Input(shards=server.url()))
    assert str(refused.value).startswith(f"input.shards: {server.url()}*** holds credentials (the parameter X-Amz-Sig")
    assert "abc" not in str(refused.value)


def test_what_an_index_links_to_is_no_escape_sequence(pool, caplog):
    with WebServer(pool, habits=("index", "no version"), query="?\x1b[2J") as server:
        assert len(list_shards(Input(shards=server.url()))) == 3
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("will not be noticed (and 2 more)") and line.isprintable()
