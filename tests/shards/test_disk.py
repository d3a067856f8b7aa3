"""A tar on a disk of which only what is wanted is read."""

import io
import tarfile

from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tar_members import read_members

from filtering.shards.source import SparseFile


def tar_of(members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@examples(0.3, suppress=HealthCheck.function_scoped_fixture)
@given(sizes=st.lists(st.integers(0, 40_000), max_size=12), wanted=st.sets(st.integers(0, 11)), cut=st.floats(0, 1))
def test_what_is_passed_on_a_disk_changes_nothing(tmp_path, sizes, wanted, cut):
    tar = tar_of([(f"{at}.jpg", bytes([at]) * size) for at, size in enumerate(sizes)])
    tar = tar[: int(len(tar) * cut)] if cut > 0.3 else tar
    (tmp_path / "a.tar").write_bytes(tar)
    names = {f"{at}.jpg" for at in wanted}

    def limit(name: str) -> int | None:
        return 30_000 if name in names else None

    with SparseFile(str(tmp_path / "a.tar")) as stream:
        found = list(read_members(stream, limit))
    expected = list(read_members(io.BytesIO(tar), limit))
    assert found == expected
    for one in found:
        if one.data is not None:
            stop = one.end - -len(one.data) % 512
            assert tar[stop - len(one.data) : stop] == one.data


def test_a_part_of_a_file_is_read_alone(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 1000)
    with SparseFile(str(tmp_path / "a")) as file:
        for whole in (True, False):
            file.move(300, 310, whole)
            assert file.read(4) + file.read() == bytes(range(44, 54))
            assert (file.read(), file.skip(5)) == (b"", 0)
        file.move(255_990, 1 << 40, True)
        assert file.skip(4) == 4
        assert len(file.read()) == 6
