"""What is read of a listed object are the bytes of the version that was listed."""

import pytest

from filtering.core.errors import RunError
from filtering.storage.listed import open_listed, read_listed
from filtering.storage.store import write_object
from filtering.storage.versions import version_of

NAMED = r"blob: it was written again since the run listed it; give the same command again"


def test_an_object_as_it_was_listed_is_read(file):
    assert read_listed(str(file), version_of(str(file))) == b"first"
    assert read_listed(str(file), version_of(str(file)), 2) == b"fi"


def test_an_object_that_was_written_again_or_deleted_is_named(file):
    before = version_of(str(file))
    file.write_bytes(b"other")
    with pytest.raises(RunError, match=NAMED):
        read_listed(str(file), before)
    file.unlink()
    with pytest.raises(RunError, match="blob: it was deleted since the run listed it; give the same command again"):
        read_listed(str(file), before)


def test_bytes_that_are_written_over_while_they_are_read_are_named_although_reading_failed(file):
    with pytest.raises(RunError, match=NAMED), open_listed(str(file), version_of(str(file))):
        file.write_bytes(b"other")
        raise ValueError("half of each")


def test_the_file_that_is_open_is_read_whatever_its_name_stands_for_by_now(file, tmp_path):
    with open_listed(str(file), version_of(str(file))) as stream:
        (tmp_path / "later").write_bytes(b"other")
        (tmp_path / "later").rename(file)
        assert stream.read() == b"first"


def test_an_object_of_any_filesystem_that_is_written_again_while_it_is_read_is_named():
    url = "memory://listed/blob"
    write_object(url, b"first")
    with pytest.raises(RunError, match=NAMED), open_listed(url, version_of(url)) as stream:
        stream.read()
        write_object(url, b"other")
