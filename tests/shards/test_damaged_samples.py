"""Tars that are cut, damaged or no tars: whole samples stay, and one entry stands for the rest."""

import gzip

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sample_tars import FORMATS, expected_samples, many, pair, read, sample, tar_of


@pytest.mark.parametrize("order", [("jpg", "json", "txt"), ("json", "txt", "jpg"), ("jpg", "txt", "json")])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_tar_cut_anywhere_gives_whole_samples_and_one_entry(kind, order):
    whole = many(5, order, kind)
    for cut in sorted({*range(512, len(whole), 512), *range(1, len(whole), 307)}):
        samples, quarantined = read(whole[:cut])
        assert samples == expected_samples(5)[: len(samples)], cut
        if len(samples) < 5:
            assert len(quarantined) == 1, cut
        assert {entry.fault.reason for entry in quarantined} <= {"truncated_tar"}
        assert all(entry.key in (None, f"{len(samples):06d}") for entry in quarantined)


def test_a_cut_sample_is_named():
    whole = tar_of(*sample(0), *sample(1))
    samples, quarantined = read(whole[: whole.index(b"000001.json")])
    assert [one.key for one in samples] == ["000000"]
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("000001", "truncated_tar")]


def test_a_cut_inside_a_repeated_member_is_reported():
    whole = tar_of(*pair("a"), ("a.jpg", b"x" * 4000))
    samples, quarantined = read(whole[: whole.index(b"x" * 4000) + 1000])
    assert [one.key for one in samples] == ["a"]
    assert "truncated_tar" in {entry.fault.reason for entry in quarantined}


def test_a_cut_inside_a_late_member_is_reported():
    whole = tar_of(("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600), ("a.txt", b"x" * 4000))
    _, quarantined = read(whole[: whole.index(b"x" * 4000) + 1000], window_bytes=700)
    assert "truncated_tar" in {entry.fault.reason for entry in quarantined}


def test_no_bytes_at_all():
    samples, quarantined = read(b"")
    assert samples == []
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [(None, "empty_shard")]


def test_garbage_is_one_entry():
    samples, quarantined = read(b"<html>404</html>" * 100)
    assert samples == []
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [(None, "corrupt_tar")]


def test_garbage_in_the_middle_loses_only_what_follows():
    whole = many(4)
    at = whole.index(b"000002.json")
    samples, quarantined = read(whole[:at] + b"garbage!" * 64 + whole[at + 512 :])
    assert samples == expected_samples(2)
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("000002", "corrupt_tar")]


def test_a_hole_of_zeros_is_no_silent_end():
    whole = many(4)
    at = whole.index(b"000002.jpg")
    samples, quarantined = read(whole[:at] + bytes(512) + whole[at + 512 :])
    assert samples[:2] == expected_samples(2)
    assert quarantined


def test_gzip_and_cut_gzip():
    whole = gzip.compress(many(6), compresslevel=0)
    assert read(whole) == (expected_samples(6), [])
    for cut in range(20, len(whole), 401):
        samples, quarantined = read(whole[:cut])
        assert samples == expected_samples(6)[: len(samples)]
        assert len(quarantined) <= 1
        assert len(samples) == 6 or quarantined


@given(st.binary(max_size=2000))
def test_random_bytes_never_raise(data):
    samples, quarantined = read(data)
    assert len(samples) + len(quarantined) <= 4


WHOLE = {kind: many(4, kind=kind) for kind in FORMATS}


@examples(2)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.sampled_from([0, 1 << 20]),
)
def test_a_damaged_tar_never_raises(kind, noise, hits, window):
    damaged = bytearray(WHOLE[kind])
    for _ in range(hits):
        place = noise.randrange(len(damaged))
        damaged[place : place + noise.choice([0, 1, 8, 512])] = noise.randbytes(noise.choice([0, 1, 8, 512]))
    samples, quarantined = read(bytes(damaged), window_bytes=window)
    for one in samples:
        assert len(one.uid) == 32
        (one.key + one.caption + one.image_member).encode("utf-8")
    for entry in quarantined:
        ((entry.key or "") + entry.member + entry.fault.detail).encode("utf-8")
    assert len({(one.key) for one in samples}) == len(samples)
