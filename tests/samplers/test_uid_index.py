import numpy as np
import pytest
import torch
from kept_runs import uid, uids

from filtering.core.errors import InputError
from filtering.samplers.index import UidIndex


def test_uids_are_found_where_a_plain_search_finds_them():
    known = uids(50)
    index = UidIndex(known)
    ordered = sorted(name.decode() for name in known)
    asked = [uid(number) for number in range(40, 60)]
    expected = [ordered.index(name) if name in ordered else -1 for name in asked]
    assert index.find(asked).tolist() == expected
    assert index.find(np.array(asked)).tolist() == expected
    assert index.find(np.array(asked, dtype="S32")).tolist() == expected


@pytest.mark.parametrize("other", ["", "a", uid(0) + "0", uid(0)[:31], uid(0).upper(), "ü" * 32, "f" * 32, "0" * 32])
def test_what_is_no_uid_of_the_pool_is_absent(other):
    assert UidIndex(uids(3)).find([uid(1), other])[1] == -1


def test_nothing_is_found_in_an_empty_pool_and_nothing_asked_finds_nothing():
    assert UidIndex(uids(0)).find([uid(0)]).tolist() == [-1]
    assert UidIndex(uids(3)).find([]).tolist() == []
    assert UidIndex(uids(3)).positions(np.array([], dtype="U32")).tolist() == []


def test_samples_are_named_by_uids_or_positions():
    index = UidIndex(uids(5))
    assert index.positions(torch.tensor([4, 0])).tolist() == [4, 0]
    assert index.positions(index.uids[[4, 0]]).tolist() == [4, 0]
    assert index.positions([name.decode() for name in index.uids[[4, 0]]]).tolist() == [4, 0]


@pytest.mark.parametrize("names", [[uid(0), uid(99)], [0, 5], [-1], np.array([0.5]), [uid(0) + "0"]])
def test_others_are_refused_in_one_line(names):
    with pytest.raises(InputError) as refused:
        UidIndex(uids(5)).positions(names)
    assert "\n" not in str(refused.value)


def test_a_repeated_uid_is_refused():
    with pytest.raises(InputError, match=f"uid {uid(1)} is there more than once"):
        UidIndex(np.concatenate([uids(3), uids(2)[1:]]))


def test_a_numbered_pools_uids_are_its_positions():
    index = UidIndex.numbered(300)
    assert index.find([f"{number:032x}" for number in range(300)]).tolist() == list(range(300))
    with pytest.raises(InputError):
        UidIndex.numbered(-1)


def test_the_fingerprint_tells_pools_apart_and_not_their_order():
    assert UidIndex(uids(9)).fingerprint == UidIndex(uids(9)[::-1]).fingerprint != UidIndex(uids(8)).fingerprint
    assert 0 <= UidIndex(uids(0)).fingerprint < 2**63
