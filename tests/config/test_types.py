from collections import Counter

import annotated_types
import pytest

from filtering.config.run import Config
from filtering.config.types import Section

BOUNDS = (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt)


def sections(of=Section):
    return {section for one in of.__subclasses__() for section in (one, *sections(one))}


@pytest.mark.parametrize("section", sorted(sections(), key=lambda one: one.__name__))
def test_no_bound_of_a_value_takes_the_place_of_another(section):
    # Of two upper bounds pydantic would heed one: that of the type, not that of the field.
    assert Config in sections()
    for name, field in section.model_fields.items():
        kinds = Counter(type(one) for one in field.metadata if isinstance(one, BOUNDS))
        assert set(kinds.values()) <= {1}, name
