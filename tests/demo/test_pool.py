import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, UnidentifiedImageError

from filtering.core.errors import InputError
from filtering.demo.openmoji import pictures
from filtering.demo.pool import Kind, build_pool

CAPTIONS = {picture.hexcode: picture.caption for picture in pictures()}


def file_hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(built_pool, row) -> np.ndarray:
    image = Image.open(built_pool.image(row["key"])).convert("RGB").resize((64, 64))
    return np.asarray(image, dtype=np.float32)


def originals(built_pool) -> dict[str, dict[str, object]]:
    return {row["group"]: row for row in built_pool.of_kind("clean") if row["group"]}


def test_rebuilding_gives_identical_bytes_and_another_seed_does_not(tmp_path):
    build_pool(tmp_path / "a", seed=1, shards=2, size=32, limit=100)
    build_pool(tmp_path / "b", seed=1, shards=2, size=32, limit=100)
    first = file_hashes(tmp_path / "a")
    assert first == file_hashes(tmp_path / "b")
    build_pool(tmp_path / "a", seed=2, shards=2, size=32, limit=100)
    second = file_hashes(tmp_path / "a")
    assert first.keys() == second.keys()
    assert not {(name, value) for name, value in first.items() if "stats" not in name} & second.items()


@pytest.mark.slow
def test_every_kind_has_its_share(built_pool):
    counts = Counter(row["kind"] for row in built_pool.truth)
    assert counts.keys() == {str(kind) for kind in Kind}
    assert [counts[kind] for kind in ("swapped", "exact_duplicate", "near_duplicate")] == [24, 12, 18]
    assert [counts[kind] for kind in ("undecodable", "truncated", "no_caption")] == [12, 12, 12]
    assert len(built_pool.truth) == 300 + 12 + 18


def test_truth_and_tars_and_parquets_name_the_same_samples(built_pool):
    keys = {row["key"] for row in built_pool.truth}
    assert keys == built_pool.members.keys()
    assert len({row["uid"] for row in built_pool.truth}) == len(keys)
    listed = set()
    for path in (built_pool.folder / "pool").glob("*.parquet"):
        listed |= {(row["key"], row["uid"]) for row in pq.read_table(path).to_pylist()}
    assert listed == {(row["key"], row["uid"]) for row in built_pool.truth}


def test_keys_and_uids_look_like_img2datasets(built_pool):
    for row in built_pool.truth:
        assert len(row["key"]) == 12
        assert int(row["key"]) // 10_000 == row["shard"]
        assert len(row["uid"]) == 32
        assert int(row["uid"], 16) >= 0


def test_metadata_describes_the_image(built_pool):
    for row in built_pool.of_kind("clean", "swapped", "near_duplicate"):
        metadata = built_pool.metadata(row["key"])
        image = built_pool.members[row["key"]]["jpg"]
        assert metadata["uid"] == row["uid"]
        assert metadata["sha256"] == hashlib.sha256(image).hexdigest()
        assert (metadata["width"], metadata["height"]) == Image.open(built_pool.image(row["key"])).size
        assert metadata["caption"] == built_pool.members[row["key"]]["txt"].decode()


def test_clean_samples_keep_their_own_caption(built_pool):
    for row in built_pool.of_kind("clean", "exact_duplicate", "near_duplicate"):
        assert built_pool.metadata(row["key"])["caption"] == CAPTIONS[row["hexcode"]]


def test_swapped_captions_are_exchanged_between_different_bases(built_pool):
    swapped = built_pool.of_kind("swapped")
    by_caption = {CAPTIONS[row["hexcode"]]: row for row in swapped}
    received = [built_pool.metadata(row["key"])["caption"] for row in swapped]
    assert sorted(received) == sorted(by_caption)
    assert all(by_caption[text]["base"] != row["base"] for text, row in zip(received, swapped, strict=True))


def test_exact_duplicates_share_bytes_and_caption_with_their_original(built_pool):
    for row in built_pool.of_kind("exact_duplicate"):
        original = originals(built_pool)[row["group"]]
        ours, theirs = built_pool.members[row["key"]], built_pool.members[original["key"]]
        assert (ours["jpg"], ours["txt"]) == (theirs["jpg"], theirs["txt"])
        assert row["uid"] != original["uid"]


def test_near_duplicates_differ_in_bytes_but_look_alike(built_pool):
    sizes = Counter()
    for row in built_pool.of_kind("near_duplicate"):
        original = originals(built_pool)[row["group"]]
        assert built_pool.members[row["key"]]["jpg"] != built_pool.members[original["key"]]["jpg"]
        assert np.abs(pixels(built_pool, row) - pixels(built_pool, original)).mean() < 20
        sizes[Image.open(built_pool.image(row["key"])).size] += 1
    assert sizes == {(128, 128): 12, (96, 96): 6}


def test_groups_are_one_original_and_its_duplicate(built_pool):
    groups = defaultdict(list)
    for row in built_pool.truth:
        if row["group"]:
            groups[row["group"]].append(row["kind"])
    assert all(len(kinds) == 2 and kinds.count("clean") == 1 for kinds in groups.values())
    assert len(groups) == 12 + 18


def test_undecodable_images_are_no_images(built_pool):
    for row in built_pool.of_kind("undecodable"):
        with pytest.raises(UnidentifiedImageError):
            Image.open(built_pool.image(row["key"]))


def test_truncated_images_open_but_do_not_load(built_pool):
    for row in built_pool.of_kind("truncated"):
        image = Image.open(built_pool.image(row["key"]))
        with pytest.raises(OSError, match="truncated"):
            image.load()


def test_samples_without_a_caption_have_it_nowhere(built_pool):
    for row in built_pool.of_kind("no_caption"):
        assert built_pool.members[row["key"]].keys() == {"jpg", "json"}
        assert not built_pool.metadata(row["key"])["caption"]


def test_defects_are_spread_over_the_shards(built_pool):
    for kind in ("swapped", "exact_duplicate", "near_duplicate"):
        assert len({row["shard"] for row in built_pool.of_kind(kind)}) >= 3


def test_held_out_is_the_pictures_own(built_pool):
    held_out = {picture.hexcode: picture.held_out for picture in pictures()}
    assert all(row["held_out"] == held_out[row["hexcode"]] for row in built_pool.truth)


def test_progress_counts_every_sample(tmp_path):
    calls = []
    build_pool(tmp_path, shards=1, size=16, limit=100, progress=lambda *call: calls.append(call))
    assert calls == [(done, 110) for done in range(1, 111)]


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="too few to plant every defect"):
        build_pool(tmp_path, limit=20)


def test_a_smaller_rebuild_does_not_mix_with_a_larger_pool(tmp_path):
    build_pool(tmp_path, shards=3, size=16, limit=100)
    with pytest.raises(InputError, match="more than 2 shards"):
        build_pool(tmp_path, shards=2, size=16, limit=100)


def test_zero_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match="raise shards="):
        build_pool(tmp_path, shards=0, limit=100)
