from hypothesis import given
from hypothesis import strategies as st

from filtering.report.samples import EXAMPLES, quarantined_rows, random_rows
from filtering.report.survey import PER_FAULT, PER_OUTCOME

REASONS = ("filter:caption", "selection:d2")
OUTCOMES = st.dictionaries(
    st.sampled_from(("", *REASONS, "duplicate_uid")),
    st.lists(
        st.tuples(st.integers(0, 2**53), st.integers(0, 10**6)).map(list), max_size=6, unique_by=lambda pair: pair[1]
    ),
)


def survey(outcomes=None, faults=()):
    examples = [
        {"shard": "0.tar", "member": str(at), "key": str(at), "reason": fault, "detail": ""}
        for at, fault in enumerate(faults)
    ]
    return {"examples": examples, "outcomes": outcomes or {}, "lowest": [], "filtered": {}}


@given(st.lists(OUTCOMES, max_size=4))
def test_outcomes_take_turns_each_in_the_order_of_its_numbers(shards):
    found = random_rows([survey(outcomes) for outcomes in shards], REASONS)
    wanted = [sorted(tuple(pair) for one in shards for pair in one.get(kind, [])) for kind in ("", *REASONS)]
    turns = [[row for _, row in kind] for kind in wanted]
    assert found == [kind[at] for at in range(30) for kind in turns if at < len(kind)]


def test_examples_are_bounded_and_an_outcome_may_have_all_that_others_leave():
    many = [[at, at] for at in range(3 * EXAMPLES)]
    assert len(random_rows([survey({"": many, "selection:d2": many})], REASONS)) == EXAMPLES
    assert len(random_rows([survey({"": many, "selection:d2": many[:3]})], REASONS)) == PER_OUTCOME + 3


def test_quarantined_rows_of_shards_that_are_read_come_first():
    found = quarantined_rows([survey(faults=["b", "a"]), survey(faults=["a"] * 20)], {1})
    assert [at for at, row in found if row["reason"] == "a"] == [1] * PER_FAULT
    assert [at for at, row in found if row["reason"] == "b"] == [0]
