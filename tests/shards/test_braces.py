import time

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.shards.braces import MAX_NAMES, check_braces
from filtering.shards.patterns import expand

PARTS = st.recursive(
    st.sampled_from(["", "a", r"\{", r"\,", "{1..3}", "{03..01}", "{a..e..2}", "{b,c,}", "{x}", "{-2..2}", "{1..a}"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from(["".join(parts), "{" + ",".join(parts) + "}"])
    ),
    max_leaves=6,
)


@given(PARTS)
def test_the_names_that_are_counted_are_those_that_braces_stand_for(pattern):
    names, limit = len(list(braceexpand(pattern))), MAX_NAMES
    # So many times a pattern of one name, beside which there is room for those of the pattern, and no more.
    check_braces([pattern, f"{{1..{limit - names}}}"])
    with pytest.raises(InputError):
        check_braces([pattern, f"{{1..{limit - names + 1}}}"])


@pytest.mark.parametrize(
    "pattern",
    [
        "{0..999999999999}.tar",
        "{0..9999999}.tar",
        "{0..999999}/{0..999999}.tar",
        "{{0..999999}{0..999999},x}.tar",
        "{a..z}" * 8 + ".tar",
        "{a,b}" * 40 + ".tar",
        "{0.." + "9" * 5000 + "}.tar",
        "{0" + "0" * 3000 + "..1000000}.tar",
        "{" * 3000 + "a,b" + "}" * 3000 + ".tar",
    ],
)
def test_braces_of_countless_names_are_refused_before_they_are_expanded(pattern):
    started = time.process_time()
    with pytest.raises(InputError) as refused:
        expand(pattern, ".tar")
    assert time.process_time() - started < 1
    assert "its braces" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_patterns_of_a_list_are_counted_together():
    with pytest.raises(InputError, match="its braces stand for 3,000,000 names; name at most 2,000,000 shards"):
        check_braces(["a{1..1500000}.tar", "b{1..1500000}.tar"])


def test_the_range_of_a_large_pool_is_not_refused():
    check_braces(["s3://pool/{00000000..01279999}.tar"])
