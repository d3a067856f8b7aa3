"""What tells one content of an object from another, also through links."""

import os

import pytest

from filtering.core.errors import RunError
from filtering.storage.store import write_object
from filtering.storage.versions import ABSENT, change_of, check_unchanged, difference, mark_of, version_of, versions_of


def test_a_file_that_is_written_again_is_another(file):
    before = version_of(str(file))
    assert version_of(str(file)) == before
    os.utime(file, (2, 2))
    assert difference(before, version_of(str(file))) == "it was written again"
    file.write_bytes(b"longer than first")
    assert difference(before, version_of(str(file))) == "its size has changed from 5 to 17 bytes"
    assert difference(before, ABSENT) == "it was deleted"
    assert difference(ABSENT, before) == "it was added"


@pytest.mark.parametrize("folder", [False, True])
def test_a_link_has_the_version_of_what_it_leads_to(file, tmp_path, folder):
    (tmp_path / "link").symlink_to(tmp_path if folder else file)
    url = str(tmp_path / "link/blob" if folder else tmp_path / "link")
    before = version_of(url)
    assert before.size == 5
    os.utime(file, (2, 2))
    assert version_of(url) != before


def test_a_link_that_leads_elsewhere_is_another_although_size_and_time_are_equal(file, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    os.utime(tmp_path / "other", (1, 1))
    link = tmp_path / "link"
    link.symlink_to(file)
    before = version_of(str(link))
    link.unlink()
    link.symlink_to(tmp_path / "other")
    assert version_of(str(link)) != before


def test_what_was_listed_and_is_gone_is_named(file):
    listed = [str(file), f"{file}-2"]
    with pytest.raises(RunError, match=r"blob-2: it was deleted since the run listed it; give the same command again"):
        versions_of(listed)


def test_what_changed_meanwhile_is_named(file):
    before = versions_of([str(file)])
    check_unchanged(before)
    os.utime(file, (2, 2))
    with pytest.raises(RunError, match=r"blob: it was written again while the run read it; give the same"):
        check_unchanged(before)
    file.unlink()
    with pytest.raises(RunError, match="blob: it was deleted while"):
        check_unchanged(before)
    with pytest.raises(RunError, match="blob: it was deleted since the run listed it; give the same command again"):
        versions_of([str(file)])


@pytest.mark.parametrize(
    ("entry", "mark"),
    [
        ({"ETag": '"a"', "LastModified": 1}, '"a"'),
        ({"etag": "b", "updated": 2}, "b"),
        ({"blob_id": "c", "last_commit": None}, "c"),
        ({"ETag": None, "last_modified": "d"}, "d"),
        ({"LastModified": None}, ""),
    ],
)
def test_what_filesystems_call_a_version_is_known(entry, mark):
    assert mark_of(entry) == mark


def test_an_object_of_any_filesystem_that_is_written_again_is_another():
    url = "memory://versions/object"
    write_object(url, b"first")
    before = version_of(url)
    write_object(url, b"other")
    assert change_of(url, before) == "it was written again"
