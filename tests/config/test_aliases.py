import pytest
import yaml
from small_configs import SMALLEST, refusal

from filtering.config.aliases import KEYS, VALUES, renamed
from filtering.config.run import load_config, parse_config
from filtering.core.errors import InputError

FORMER = [
    ({"graph": {"guests": 2.5}}, {"graph": {"mean_replicas": 2.5}}, "graph.guests is now called graph.mean_replicas"),
    ({"graph": {"reach": 8}}, {"graph": {"max_replicas": 8}}, "graph.reach is now called graph.max_replicas"),
    (
        {"retention": {"nights": 3}},
        {"retention": {"keep_runs": 3}},
        "retention.nights is now called retention.keep_runs",
    ),
    (
        {"selection": {"per": "night"}},
        {"selection": {"per": "increment"}},
        "selection.per: night is now called increment",
    ),
]


@pytest.fixture
def written(tmp_path):
    def write(**keys):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(SMALLEST | keys))
        return str(path)

    return write


def test_every_alias_is_tested():
    values = [names for keys in VALUES.values() for names in keys.values()]
    assert len(FORMER) == sum(map(len, [*KEYS.values(), *values]))


@pytest.mark.parametrize(("former", "current", "line"), FORMER)
def test_a_former_name_is_accepted_with_one_line(former, current, line):
    old, new = parse_config(SMALLEST | former), parse_config(SMALLEST | current)
    assert old.resolved() == new.resolved()
    assert old.digest() == new.digest()
    assert old.warnings == (f"{line}; the former name still works",)
    assert new.warnings == ()


@pytest.mark.parametrize(("former", "current", "line"), FORMER)
def test_a_file_and_an_override_may_use_a_former_name(written, caplog, former, current, line):
    expected = load_config(written(**current)).resolved()
    assert not caplog.messages
    assert load_config(written(**former)).resolved() == expected
    ((section, keys),) = former.items()
    ((key, value),) = keys.items()
    assert load_config(written(), [f"{section}.{key}={value}"]).resolved() == expected
    assert load_config(written(), [f"{section}={{{key}: {value}}}"]).resolved() == expected
    assert caplog.messages == [f"filtering: {line}; the former name still works"] * 3


def test_an_override_replaces_a_key_of_either_name(written, caplog):
    assert load_config(written(graph={"reach": 8}), ["graph.max_replicas=5"]).graph.max_replicas == 5
    assert not caplog.messages
    assert load_config(written(graph={"max_replicas": 8}), ["graph.reach=5"]).graph.max_replicas == 5
    assert len(caplog.messages) == 1


def test_the_line_of_a_former_name_comes_before_a_refusal(written, caplog):
    with pytest.raises(InputError, match=r"graph\.max_replicas: 1\.5 is not valid"):
        load_config(written(graph={"reach": 1.5}))
    assert caplog.messages == ["filtering: graph.reach is now called graph.max_replicas; the former name still works"]


def test_both_names_are_refused():
    both = refusal(SMALLEST | {"graph": {"reach": 8, "max_replicas": 8}})
    assert both == "graph.reach: is the former name of graph.max_replicas, which is given too; leave it out"


def test_steps_and_named_selections_may_use_former_names():
    one, many = {"method": "top", "per": "night"}, [{"method": "random"}, {"method": "top", "per": "night"}]
    given = SMALLEST | {"selection": {"steps": [*many, {"any": ["a", "b"]}]}, "selections": {"a": one, "b": many}}
    config = parse_config(given)
    assert config.selection.steps[1].per == "increment"
    assert config.selections["a"].per == config.selections["b"][1].per == "increment"
    assert [line.partition(": night")[0] for line in config.warnings] == [
        "selection.steps.1.per",
        "selections.a.per",
        "selections.b.1.per",
    ]


def test_the_data_that_are_given_do_not_change():
    given = SMALLEST | {"graph": {"reach": 8}, "selection": {"steps": [{"per": "night"}]}}
    renamed(given)
    assert given == SMALLEST | {"graph": {"reach": 8}, "selection": {"steps": [{"per": "night"}]}}


@pytest.mark.parametrize(
    "odd",
    [{"graph": 3}, {"selection": {"steps": 3}}, {"selections": [1]}, {"selections": {"a": [3]}}, {3: {"reach": 1}}],
)
def test_what_is_no_section_is_left_as_it_is(odd):
    assert renamed(SMALLEST | odd).data == SMALLEST | odd
