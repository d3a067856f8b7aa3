import os
import zipfile
from pathlib import Path

import pytest
from web_server import WebServer

from filtering.config.input import Input
from filtering.core.errors import InputError
from filtering.shards.inventory import list_shards
from filtering.shards.patterns import expand
from filtering.shards.presence import check_presence
from filtering.storage.store import write_object


@pytest.fixture
def pool(tmp_path):
    return fill(tmp_path / "pool")


def fill(folder, names=("0.tar", "1.tar")):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def found(pattern, folder):
    return [str(Path(url).relative_to(folder)) for url in expand(pattern, ".tar")]


def test_lists_joined_by_two_colons_are_read_whole_and_in_order(tmp_path):
    for name in "ab":
        fill(tmp_path / name)
    joined = f"{tmp_path}/b/{{0..1}}.tar::{tmp_path}/a/{{0..1}}.tar"
    assert found(joined, tmp_path) == ["b/0.tar", "b/1.tar", "a/0.tar", "a/1.tar"]
    assert found(f"{tmp_path}/b::{tmp_path}/a/*.tar::{tmp_path}/b/1.tar", tmp_path) == found(joined, tmp_path)


def test_a_joined_list_of_urls():
    for name in ("a/0.tar", "b/0.tar"):
        write_object(f"memory://joined/{name}", b"x")
    assert expand("memory://joined/b/{0..0}.tar::memory://joined/a", ".tar") == [
        "memory://joined/b/0.tar",
        "memory:///joined/a/0.tar",
    ]


def test_a_chain_of_filesystems_is_one_entry(tmp_path):
    write_object("memory://chained/0.tar", b"x")
    with zipfile.ZipFile(tmp_path / "pool.zip", "w") as archive:
        archive.writestr("a/0.tar", b"xyz")
    chain = "simplecache::memory://chained/0.tar"
    assert expand(chain, ".tar") == [chain]
    assert expand("simplecache::memory://chained/*.tar", ".tar") == ["simplecache::memory:///chained/0.tar"]
    archived = f"zip://a/0.tar::{tmp_path}/pool.zip"
    for pattern in (archived, archived.replace("a/0", "a/{0..0}"), archived.replace("a/0", "a/*")):
        assert expand(pattern, ".tar") == [archived]
    shards = list_shards(Input(shards=f"{archived}::{chain}"))
    assert [(shard.url, shard.size) for shard in shards] == [(archived, 3), (chain, 1)]


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("a.tar::", "an entry between :: is empty"),
        ("a.tar::::b.tar", "an entry between :: is empty"),
        ("simplecache::zip://x", "nothing follows zip://x, which reads another URL"),
        ("pipe:aws s3 cp s3://b/x.tar -", "pipe: runs a command, which is not done here"),
        ("{a", "its braces do not match"),
        ("pool/**.tar", "is no pattern ("),
        ("gopher://host/x.tar", "cannot be opened (Protocol not known: gopher)"),
        ("gs://bucket/x.tar", "gs:// needs a package that is not here; install it on every node: pip install gcsfs"),
        ("abfs://c@a.dfs.core.windows.net/x/*.tar", "pip install adlfs"),
        ("simplecache::gs://bucket/x.tar", "pip install gcsfs"),
    ],
)
def test_what_names_no_object_is_refused_in_one_line(pattern, line):
    with pytest.raises(InputError) as refused:
        expand(pattern, ".tar")
    assert str(refused.value).startswith(f"{pattern}: ") and line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_is_no_archive_is_refused_in_one_line(tmp_path, kind):
    (tmp_path / "x").write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match=rf"^{kind}://a\.tar::{tmp_path}/x: cannot be opened \([^\n]*$"):
        expand(f"{kind}://a.tar::{tmp_path}/x", ".tar")


@pytest.mark.parametrize(
    "name", ["run[1]", "v?2", "all*", "a{1,2}", "a{1..3}", "one{", "back\\slash", "a::b", "[a-b]{x}*"]
)
@pytest.mark.parametrize("rest", ["", "/", "/*.tar", "/{0..1}.tar", "/?.tar", "/0.tar::{}/1.tar"])
def test_names_that_are_there_stand_for_themselves(tmp_path, name, rest):
    folder = fill(tmp_path / name)
    for other in ("run1", "vx2", "all", "a1", "a2", "back", "aa"):
        fill(tmp_path / other)
    if "::" in name and rest.strip("/"):
        pytest.skip("what follows :: is the next entry")
    assert found(f"{folder}{rest}".replace("{}", str(folder)), tmp_path) == [f"{name}/0.tar", f"{name}/1.tar"]


@pytest.mark.parametrize("name", ["0[1].tar", "a?.tar", "{1,2}.tar", "x*.tar", "a b.tar", "#1.tar", "%20.tar"])
def test_an_object_with_an_odd_name_is_itself(tmp_path, name):
    fill(tmp_path / "pool", [name, "01.tar", "ab.tar", "1.tar", "2.tar", "xy.tar"])
    assert found(f"{tmp_path}/pool/{name}", tmp_path / "pool") == [name]
    assert len(list_shards(Input(shards=f"{tmp_path}/pool"))) == 6


def test_braces_of_names_with_brackets(tmp_path):
    fill(tmp_path / "pool", ["a[1].tar", "b[1].tar", "a1.tar"])
    assert found(f"{tmp_path}/pool/{{a,b}}[1].tar", tmp_path / "pool") == ["a[1].tar", "b[1].tar"]


def test_odd_names_elsewhere():
    for name in ("run[1]/0.tar", "run1/0.tar", "//0.tar"):
        write_object(f"memory://odd/{name}", b"x")
    for rest in ("/0.tar", "/*.tar", ""):
        (url,) = expand(f"memory://odd/run[1]{rest}", ".tar")
        assert url.endswith("odd/run[1]/0.tar")


def test_a_name_is_one_name_however_often_its_slashes_are_repeated(pool, monkeypatch):
    monkeypatch.chdir(pool)
    monkeypatch.setenv("HOME", str(pool.parent))
    spellings = [f"{pool}//0.tar", f"{pool.parent}//pool/./0.tar", "./0.tar", ".//0.tar", "0.tar", "~/pool/0.tar"]
    spellings += [f"file://{pool}/0.tar", f"file:{pool}/0.tar", f"{pool}/", f"{pool}//*.tar"]
    urls = [expand(spelling, ".tar")[0] for spelling in spellings]
    assert urls == [f"{pool}/0.tar"] * len(urls)
    shards = list_shards(Input(shards=spellings))
    assert [shard.name for shard in shards] == ["0.tar", "1.tar"]
    # What looks before anything is listed agrees.
    check_presence({"input": Input(shards=spellings)})
    with pytest.raises(InputError, match="~/none is not there"):
        check_presence({"input": Input(shards="~/none")})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("none.tar", "is not there"),
        ("{pool}/0.tar {pool}/1.tar", "is not there; write several as a YAML list, [a.tar, b.tar]"),
        ("{pool}/0.tar,{pool}/1.tar", "is not there; write several as a YAML list, [a.tar, b.tar]"),
        ("s3:/bucket/x.tar", "is not there; a URL begins with s3://"),
        ("gs:bucket/x.tar", "is not there; a URL begins with gs://"),
    ],
)
def test_a_missing_shard_with_what_was_probably_meant(pool, name, line):
    with pytest.raises(InputError) as refused:
        list_shards(Input(shards=name.format(pool=pool)))
    assert str(refused.value).endswith(f" {line}")


def dangling(path):
    path.symlink_to("nowhere")


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is no regular file but a pipe, a socket or a device"),
        (dangling, "is a link to nothing"),
        (loop, "is a link to nothing"),
        (lambda path: path.symlink_to(path.parent), "is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file but a pipe, a socket or a device"),
    ],
)
@pytest.mark.parametrize("pattern", ["", "/*.tar", "/{0..3}.tar"])
def test_what_cannot_be_read_is_found_in_the_inventory(pool, make, line, pattern):
    make(pool / "2.tar")
    make(pool / "3.tar")
    with pytest.raises(InputError) as refused:
        list_shards(Input(shards=f"{pool}{pattern}"))
    assert str(refused.value) == f"input.shards: {pool}/2.tar {line} (and 1 more)"


def test_a_link_to_a_shard_is_one(pool):
    (pool / "2.tar").symlink_to("0.tar")
    assert len(list_shards(Input(shards=str(pool)))) == 3


def test_a_file_that_may_not_be_read_is_found_in_the_inventory(pool, monkeypatch):
    # The super-user may read all, so the answer is made.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("1.tar"))
    with pytest.raises(InputError, match=r"^input\.shards: .*/1\.tar may not be read \(permission denied\)$"):
        list_shards(Input(shards=str(pool)))


def test_a_folder_named_like_a_shard_elsewhere():
    write_object("memory://folders/0.tar/x", b"x")
    with pytest.raises(InputError, match="is a folder"):
        list_shards(Input(shards="memory://folders/0.tar"))


@pytest.mark.parametrize("pattern", ["", "*.tar", "{0..1}.tar", "{0..1}.tar?download=true", "0.tar::{}1.tar"])
def test_shards_of_the_web(pool, pattern):
    with WebServer(pool) as server:
        shards = list_shards(Input(shards=server.url(pattern.replace("{}", server.url()))))
    assert [(shard.name, shard.size) for shard in shards] == [("0.tar", 1), ("1.tar", 1)]
    assert all(shard.version for shard in shards)


@pytest.mark.slow
def test_shards_of_the_web_without_an_index(pool):
    with WebServer(pool, habits=()) as server:
        assert len(list_shards(Input(shards=server.url("{0..1}.tar")))) == 2
        with pytest.raises(InputError, match=r"access is denied \(HTTP 403\)$"):
            list_shards(Input(shards=server.url()))
        with pytest.raises(InputError, match=r"^input\.shards: http://\S*/2\.tar is not there \(and 3 more\)$"):
            list_shards(Input(shards=server.url("{0..5}.tar")))
    with WebServer(pool / "0.tar") as server, pytest.raises(InputError, match="is not there"):
        list_shards(Input(shards=server.url("0.tar")))


@pytest.mark.parametrize("pattern", ["*.tar", "", "{name}"])
def test_a_name_that_is_not_utf8_is_refused(pool, pattern):
    """Python holds such a byte as half a surrogate pair, which no table can hold."""
    name = os.fsdecode(b"\xff.tar")
    (pool / name).touch()
    with pytest.raises(InputError, match=r"^input\.shards: .*/\\udcff\.tar has a name that is not UTF-8"):
        list_shards(Input(shards=f"{pool}/{pattern.format(name=name)}"))


@pytest.mark.parametrize(("name", "remedy"), [("", "; name them by a glob, */*"), ("*.tarr", "")])
def test_a_folder_without_shards_is_named_with_its_key(pool, name, remedy):
    with pytest.raises(InputError) as refused:
        list_shards(Input(metadata=f"{pool}/{name}"))
    url = f"{pool}/{name}"
    assert (
        str(refused.value) == f"input.metadata: {url}: no .parquet file is there; subfolders are not searched{remedy}"
    )


def test_the_home_folder_is_found_wherever_it_is_named(pool, monkeypatch):
    monkeypatch.setenv("HOME", str(pool.parent))
    for pattern in ("~/pool/*.tar", "~/pool", "~/pool/{0..1}.tar"):
        source = Input(shards=pattern)
        check_presence({"input": source})
        assert [shard.url for shard in list_shards(source)] == [f"{pool}/0.tar", f"{pool}/1.tar"]
    with pytest.raises(InputError, match=r"^input\.shards: ~/none is not there$"):
        check_presence({"input": Input(shards="~/none")})
