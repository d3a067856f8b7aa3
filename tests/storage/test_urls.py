"""URLs and paths: which are on this machine's disk."""

import pytest

import filtering
from filtering.core.errors import InputError
from filtering.storage.store import read_object
from filtering.storage.urls import absolute, is_http, is_local


def test_local_and_remote():
    assert is_local("/data/x")
    assert is_local("file:///data/x")
    assert not is_local("memory://x")
    assert absolute("memory://x/y") == "memory://x/y"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuchscheme://x", "cannot be opened"),
        # Each wants more than a URL, an archive that is there, or a package.
        ("reference://", "cannot be opened"),
        ("zip://a.json::/nowhere/pool.zip", r"cannot be opened \(FileNotFoundError"),
        ("dvc://data/x", "needs a package that is not here; install it on every node: pip install dvc"),
    ],
)
def test_a_url_that_no_filesystem_takes_is_refused_by_its_name(url, said):
    with pytest.raises(InputError, match=said) as refused:
        is_local(url)
    assert str(refused.value).startswith(f"{url}: ")


def test_two_colons_in_a_path_are_no_chain_of_filesystems():
    assert is_local("/data/a::b/x")
    assert absolute("/data//a::b/./x") == "/data/a::b/x"


@pytest.mark.parametrize("cache", ["blockcache", "cached", "filecache", "simplecache"])
def test_an_object_that_was_written_again_is_not_read_from_a_cache(cache, tmp_path):
    url = f"{cache}::file://{tmp_path}/x"
    for content in (b"first", b"other"):
        (tmp_path / "x").write_bytes(content)
        assert read_object(url) == content
    assert absolute(url) == str(tmp_path / "x")
    assert is_http(f"{cache}::https://host/x")


PUBLIC = (filtering.open_run, filtering.load_config, filtering.kept_pipeline, lambda url: filtering.explain(url, "a"))


@pytest.mark.parametrize(
    ("url", "said"), [("a\0b", "holds a zero byte"), (None, "None is no path or URL"), (b"x", "is no path or URL")]
)
@pytest.mark.parametrize("read", PUBLIC)
def test_what_names_no_place_is_refused_by_its_name(read, url, said):
    with pytest.raises(InputError, match=said):
        read(url)


def test_a_url_that_holds_its_data_is_no_run():
    with pytest.raises(InputError, match="data:,x: is no place of files"):
        filtering.open_run("data:,x")


@pytest.mark.parametrize("read", PUBLIC)
def test_a_path_may_be_a_path_object(read, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path / "nothing")
