import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filtering.manifests.uid_ranges import FIRST, UID_DIGITS, divided, prefix_counts, range_of, uid_digits

# Uids that share beginnings of many lengths, as numbers of a user's own do, beside hashes.
DIGITS = st.text("0123456789abcdef", min_size=4, max_size=4)
FEW = st.sampled_from(["0000", "0001", "ffff"])
UID = st.lists(st.one_of(FEW, DIGITS), min_size=UID_DIGITS, max_size=UID_DIGITS).map("".join)
UIDS = st.lists(UID, max_size=60)


def starts_of(uids, most):
    """Divide until no prefix is too heavy, as the stage does."""
    digits, starts, prefixes = uid_digits(uids), [], [""]
    while prefixes:
        found = [divided(prefix, prefix_counts(digits, prefix), most) for prefix in prefixes]
        starts += [one for few, _ in found for one in few]
        prefixes = [one for _, heavy in found for one in heavy]
    return [FIRST, *sorted(starts)[1:]]


@given(UIDS, st.integers(1, 20))
def test_ranges_hold_few_whatever_uids_look_like(uids, most):
    uids = np.array(uids, dtype="S32")
    starts = starts_of(uids, most)
    assert starts == sorted(set(starts))
    ranges = range_of(uids, np.array(starts, dtype="S32"))
    for number in range(len(starts)):
        held = uids[ranges == number]
        assert len(held) or len(starts) == 1
        assert len(held) <= most or len(set(held.tolist())) == 1
        end = starts[number + 1] if number + 1 < len(starts) else "g"
        assert all(starts[number] <= uid.decode() < end for uid in held.tolist())


@given(UIDS)
def test_digits_are_those_of_the_text(uids):
    expected = [[int(uid[at : at + 4], 16) for at in range(0, 32, 4)] for uid in uids]
    assert uid_digits(np.array(uids, dtype="S32")).tolist() == expected


def test_hashes_are_divided_by_their_first_digit_into_ranges_that_are_nearly_full():
    uids = np.array([f"{number:04x}" + "0" * 28 for number in range(1000)] * 3, dtype="S32")
    assert len(starts_of(uids, 100)) == 31
