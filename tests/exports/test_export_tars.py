"""What is exported as tars is what was kept, byte for byte."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from examples import examples
from finished_runs import write_finished
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from in_process import export
from PIL import Image
from pools import member, members, picture, tar_bytes, tar_config, write_tar

from filtering.core.errors import InputError
from filtering.exports.options import Options
from filtering.shards.names import CAPTION, IMAGE, METADATA, place
from filtering.storage.store import Store

Part = tuple[str, bytes]
FORMATS = (tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT)
EXTENSIONS = ("jpg", "png", "webp", "json", "txt", "cls", "seg.png", "a.b.npy", "JPG", "json.gz", "é", "x" * 110)


def read(folder: Path) -> dict[str, list[Part]]:
    """The members of every tar of an export."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found[path.name] = [(info.name, tar.extractfile(info).read()) for info in tar]
    return found


def flat(found: dict[str, list[Part]]) -> list[Part]:
    return [part for parts in found.values() for part in parts]


def exported(run: Store, out: Path, **options) -> dict[str, list[Part]]:
    shutil.rmtree(out, ignore_errors=True)
    found = export(run, "tar", str(out), Options(**options))
    tars = read(out)
    sizes = json.loads((out / "sizes.json").read_text())
    assert list(sizes) == list(tars) == [f"{number:08d}.tar" for number in range(len(tars))]
    assert sum(sizes.values()) == found["kept"]
    for name, size in sizes.items():
        assert len({place(part).key for part, _ in tars[name]}) == size
        assert json.loads((out / f"{name[:-4]}_stats.json").read_text())["successes"] == size
    index = json.loads((out / "wids.json").read_text())
    assert index["shardlist"] == [
        {"url": name, "nsamples": size, "filesize": (out / name).stat().st_size} for name, size in sizes.items()
    ]
    assert not (out / "_export").exists()
    return tars


def expected(parts: list[Part], kept: set[str]) -> list[Part]:
    """The members that the rules of the reader give to the kept samples, in the order of the tar."""
    groups: dict[str, dict[str, int]] = {}
    kinds: dict[str, set] = {}
    closed, current = set(), None
    for at, (name, _) in enumerate(parts):
        here = place(name)
        if here is None:
            continue
        if current not in (None, here.key) and kinds[current] == {IMAGE, CAPTION, METADATA}:
            closed.add(current)
        current = here.key
        kinds.setdefault(here.key, set())
        if here.key not in closed and here.extension not in groups.setdefault(here.key, {}):
            groups[here.key][here.extension] = at
            kinds[here.key] |= {here.kind} - {None}
    chosen = sorted((sorted(places.values()) for key, places in groups.items() if key in kept))
    return [parts[at] for places in chosen for at in places]


@st.composite
def shards(draw) -> list[tuple[list[Part], bytes]]:
    """Tars of samples with all kinds of members, some of them apart or twice."""
    found = []
    for shard in range(draw(st.integers(1, 3))):
        parts = [("README", b"no key"), ("folder/.hidden.txt", b"none either")][: draw(st.integers(0, 2))]
        for at in range(draw(st.integers(1, 5))):
            key = draw(st.sampled_from(["", "deep/er/"])) + f"{shard}-{at:04d}"
            uid = f"{shard:016x}{at:016x}"
            parts += [(f"{key}.json", json.dumps({"uid": uid}).encode()), (f"{key}.txt", b"a caption")]
            further = draw(st.lists(st.tuples(st.sampled_from(EXTENSIONS), st.binary(max_size=1500)), max_size=5))
            parts += [(f"{key}.{extension}", data) for extension, data in [("jpg", b"picture"), *further]]
        if draw(st.booleans()):
            parts = draw(st.permutations(parts))
        data = packed(parts, draw(st.sampled_from(FORMATS)), draw(st.sampled_from([0, 1.5])))
        found.append((list(parts), gzip.compress(data) if draw(st.integers(0, 3)) == 0 else data))
    return found


def packed(parts: list[Part], form: int, mtime: float) -> bytes:
    if max(len(name) for name, _ in parts) > 100:
        form = tarfile.PAX_FORMAT
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@examples(0.3, suppress=HealthCheck.function_scoped_fixture)
@given(pool=shards(), each=st.integers(1, 6), seed=st.integers(0, 3), noted=st.booleans())
def test_every_member_of_a_kept_sample_is_there_byte_for_byte(tmp_path, pool, each, seed, noted):
    for folder in ("pool", "run"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    (tmp_path / "pool").mkdir()
    for number, (_, data) in enumerate(pool):
        (tmp_path / "pool" / f"{number:08d}.tar").write_bytes(data)
    run = write_finished(tmp_path / "run", tmp_path / "pool", lambda uid: int(uid, 16) % 4 != seed, noted)
    wanted: list[Part] = []
    for index, (parts, _) in enumerate(pool):
        table = run.read_table(f"manifest/kept/{index:08d}.parquet")
        wanted += expected(parts, set(table["key"].to_pylist()))
    assert flat(exported(run, tmp_path / "out", samples=each)) == wanted
    assert flat(exported(run, tmp_path / "out", bytes=40_000)) == wanted
    assert sorted(flat(exported(run, tmp_path / "out", samples=each, shuffle=True, seed=seed))) == sorted(wanted)


@pytest.fixture
def pool(tmp_path) -> Path:
    """Four shards of 12 samples."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for shard in range(4):
        write_tar(folder / f"{shard:08d}.tar", members(shard, 12))
    return folder


@pytest.fixture
def finished(pool, tmp_path) -> Store:
    return write_finished(tmp_path / "run", pool, lambda uid: int(uid, 16) % 3 > 0)


def test_shards_have_the_wanted_size(finished, tmp_path):
    exported(finished, tmp_path / "out", samples=7)
    *full, _ = json.loads((tmp_path / "out/sizes.json").read_text()).values()
    assert set(full) == {7}
    exported(finished, tmp_path / "bytes", bytes=30_000)
    *full, _ = (path.stat().st_size for path in sorted((tmp_path / "bytes").glob("*.tar")))
    assert all(20_000 < size < 45_000 for size in full)


def test_a_shuffle_goes_over_the_whole_pool_and_follows_the_seed(finished, tmp_path):
    plain = flat(exported(finished, tmp_path / "plain", samples=10))
    orders = [flat(exported(finished, tmp_path / f"s{seed}", samples=10, shuffle=True, seed=seed)) for seed in (1, 2)]
    again = flat(exported(finished, tmp_path / "again", samples=7, shuffle=True, seed=1))
    assert orders[0] != orders[1] != plain
    assert again == orders[0]
    assert sorted(orders[0]) == sorted(plain)
    first = {name[:5] for name, _ in orders[0][:30]}
    assert len(first) > 2, "the first ten samples come from several shards"


def test_samples_that_lie_apart_and_links_come_out_together_and_without_links(tmp_path):
    a, b = member("a"), member("b")
    link = tarfile.TarInfo("a.lnk")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "pool").mkdir()
    with tarfile.open(tmp_path / "pool/00000000.tar", "w") as tar:
        tar.addfile(link)
        for name, data in (a[0], b[0], a[1], b[1], b[2], a[2]):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    run = write_finished(tmp_path / "run", tmp_path / "pool")
    assert flat(exported(run, tmp_path / "out")) == [*a, *b]


def test_a_global_header_is_not_carried_along(tmp_path):
    held = tarfile.TarInfo.create_pax_global_header({"path": "wrong"})
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/00000000.tar").write_bytes(held + tar_bytes(member("a") + member("b")))
    run = write_finished(tmp_path / "run", tmp_path / "pool")
    assert flat(exported(run, tmp_path / "out")) == member("a") + member("b")


def test_a_shard_that_lacks_a_kept_sample_is_named_with_its_key(finished, pool, tmp_path):
    shard = pool / "00000001.tar"
    parts = members(1, 12)
    kept = finished.read_table("manifest/kept/00000001.parquet")["key"].to_pylist()
    write_tar(shard, [part for part in parts if not part[0].startswith(kept[2])])
    with pytest.raises(InputError, match=rf"00000001.tar: kept sample {kept[2]} is not in it: it"):
        exported(finished, tmp_path / "out")


def test_a_shard_that_was_written_again_is_refused(finished, pool, tmp_path):
    data = (pool / "00000002.tar").read_bytes()
    (pool / "00000002.tar").write_bytes(data)
    for options in ({}, {"bytes": 50_000}, {"shuffle": True}):
        with pytest.raises(InputError, match=r"00000002.tar: it was written again since the run"):
            exported(finished, tmp_path / "out", **options)
    (pool / "00000002.tar").unlink()
    with pytest.raises(InputError, match=r"00000002.tar: it was deleted since the run"):
        exported(finished, tmp_path / "gone")


def test_one_key_in_two_shards_that_meet_in_a_tar_is_refused(tmp_path):
    (tmp_path / "pool").mkdir()
    for shard in range(2):
        part, (_, caption), text = member("same", shard)
        fields = json.dumps({**json.loads(caption), "uid": f"{shard:032x}"}).encode()
        write_tar(tmp_path / f"pool/{shard:08d}.tar", [part, ("same.json", fields), text])
    run = write_finished(tmp_path / "run", tmp_path / "pool")
    for options in ({}, {"bytes": 50_000}, {"shuffle": True}):
        with pytest.raises(InputError, match="would hold two samples of key same"):
            exported(run, tmp_path / "out", **options)
        shutil.rmtree(tmp_path / "out")
    assert len(exported(run, tmp_path / "out", samples=1)) == 2


def test_a_sample_that_is_larger_than_a_tar_may_be_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match=r"--bytes: 1000 is less than a kept sample of .*tar has; give at least"):
        exported(finished, tmp_path / "out", bytes=1000)


def test_nothing_kept_is_no_tar(pool, tmp_path):
    run = write_finished(tmp_path / "run", pool, lambda uid: False)
    for options in ({}, {"bytes": 50_000}, {"shuffle": True}):
        assert exported(run, tmp_path / "out", **options) == {}


def picture_of(form: str, seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed))).save(buffer, form)
    return buffer.getvalue()


def test_a_real_run_over_all_kinds_of_members_comes_out_byte_for_byte(run, tmp_path):
    (tmp_path / "pool").mkdir()
    parts = []
    for shard in range(2):
        mine = []
        for at in range(9):
            key, form = f"{shard}{at:05d}", ("png", "jpeg", "webp")[at % 3]
            fields = json.dumps({"uid": f"{shard:016x}{at:016x}", "url": "http://example.org"}).encode()
            mine += [(f"{key}.{'jpg' if form == 'jpeg' else form}", picture_of(form, 10 * shard + at))]
            mine += [(f"{key}.json", fields), (f"{key}.txt", f"a picture called {at}".encode())]
            mine += [(f"{key}.cls", b"7"), (f"{key}.v1.2.npy", bytes(700 + at)), (f"{key}.cls", b"twice")]
        write_tar(tmp_path / f"pool/{shard:08d}.tar", mine)
        parts += mine
    run(tar_config(tmp_path / "pool", tmp_path / "run", selection={"variant": "paper", "keep": 0.5}))
    finished = Store(str(tmp_path / "run"))
    tables = [finished.read_table(f"manifest/kept/{index:08d}.parquet")["key"].to_pylist() for index in range(2)]
    found = flat(exported(finished, tmp_path / "out", samples=4))
    assert found == expected(parts, {key for table in tables for key in table})
    assert len(found) == 9 * 5
