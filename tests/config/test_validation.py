import datetime
import time

import pytest
from small_configs import SMALLEST, given, refusal, refusals

from filtering.config.run import load_config
from filtering.core.errors import InputError


@pytest.mark.parametrize(
    ("data", "key", "nearest"),
    [
        (given(outputs=1), "outputs", "output"),
        (given(graf={"k": 3}), "graf", "graph"),
        (given(graph={"kk": 3}), "graph.kk", "k"),
        (given(graph={"max_replica": 2}), "graph.max_replica", "max_replicas"),
        (given(selection={"gamma_foward": 1.0}), "selection.gamma_foward", "gamma_forward"),
        (given(concepts={"cluster": 3}), "concepts.cluster", "clusters"),
        (given(embedding={"modle": "x"}), "embedding.modle", "model"),
        (given(ray={"adress": "x"}), "ray.adress", "address"),
        (given(input={"shard": "x", "shards": "y"}), "input.shard", "shards"),
        (given(input={"shards": "y", "arrays": {"imag": "x"}}), "input.arrays.imag", "image"),
        (given(filters=[{"captoin": {}}]), "filters.0.captoin", "caption"),
        (given(filters=[{"caption": {}}, {"clip_score": {"kep": 1}}]), "filters.1.clip_score.kep", "keep"),
        (given(filters=[{"caption": {"min_word": 1}}]), "filters.0.caption.min_word", "min_words"),
        (
            given(selection={"score": {"table": "t.parquet", "column": "c", "colum": "q"}}),
            "selection.score.colum",
            "column",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_name(data, key, nearest):
    message = refusal(data)
    assert message.startswith(f"{key}: unknown key")
    assert nearest in message.removeprefix(f"{key}: unknown key")


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ({"selection": {"score": {"right": {"neighbours": "captions"}}}}, '"captions"'),
        ({"selection": {"fit": {"centred_score": "cosine"}}}, '"cosine"'),
        ({"selection": {"score": ["right", "clip_score"]}}, '["right", "clip_score"]'),
        ({"selection": {"keep": "fraction"}}, '"fraction"'),
        ({"selection": {"variant": ["paper"]}}, '["paper"]'),
        ({"graph": {"recall": "number"}}, '"number"'),
    ],
    ids=str,
)
def test_only_what_the_key_takes_is_suggested_not_words_of_its_description(section, value):
    line = refusal(given(**section))
    assert f": {value} is not valid; it must be " in line
    assert "did you mean" not in line


@pytest.mark.parametrize(
    ("section", "end"),
    [
        ({"selection": {"keep": "30%"}}, "; write 0.3 without quotes"),
        ({"selection": {"keep": "0.3"}}, "; write 0.3 without quotes"),
        ({"selection": {"keep": "5000"}}, "; write 5000 without quotes"),
        ({"selection": {"keep": " 12.5 %"}}, "; write 0.125 without quotes"),
        ({"selection": {"method": "d2", "gamma_reverse": "3"}}, "; write 3 without quotes"),
        ({"graph": {"k": "10"}}, "; write 10 without quotes"),
        ({"selection": {"keep": "130%"}}, "or a number of samples"),
        ({"selection": {"keep": "0"}}, "or a number of samples"),
        ({"selection": {"keep": "a third"}}, "or a number of samples"),
        ({"selection": {"keep": "1e400"}}, "or a number of samples"),
        ({"selection": {"keep": "9" * 400}}, "or a number of samples"),
        ({"selection": {"fit": False}}, "; did you mean none?"),
        ({"selection": {"fit": "no"}}, "; did you mean none?"),
        ({"selection": {"fit": "nonee"}}, "; did you mean none?"),
        ({"selection": {"fit": True}}, "none for others"),
    ],
    ids=str,
)
def test_a_value_of_another_form_is_answered_with_the_form_to_write(section, end):
    assert refusal(given(**section)).endswith(end)


def test_a_choice_of_the_key_is_suggested():
    assert refusal(given(selection={"score": {"right": {"neighbours": "image"}}})).endswith("; did you mean images?")


def test_an_unknown_key_without_a_like_lists_the_known():
    assert (
        refusal(given(graph={"zzzz": 3}))
        == "graph.zzzz: unknown key; known: k, max_replicas, mean_replicas, recall, text_k"
    )


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (given(output=5), "output"),
        (given(output=""), "output"),
        (given(output=None), "output"),
        (given(input="pool"), "input"),
        (given(input={"shards": 5}), "input.shards"),
        (given(input={"shards": ["a", 5]}), "input.shards"),
        (given(input={"metadata": {"a": 1}}), "input.metadata"),
        (given(input={"shards": "x", "arrays": "image"}), "input.arrays"),
        (given(embedding=3), "embedding"),
        (given(embedding={"device": "gpu"}), "embedding.device"),
        (given(embedding={"precision": 16}), "embedding.precision"),
        (given(embedding={"batch_size": 0}), "embedding.batch_size"),
        (given(embedding={"batch_size": "8"}), "embedding.batch_size"),
        (given(embedding={"batch_size": 8.5}), "embedding.batch_size"),
        (given(embedding={"batch_size": True}), "embedding.batch_size"),
        (given(filters={"caption": {}}), "filters"),
        (given(filters=["caption"]), "filters.0"),
        (given(filters=[{"caption": 3}]), "filters.0.caption"),
        (given(filters=[{"caption": {"min_words": -1}}]), "filters.0.caption.min_words"),
        (given(filters=[{"caption": {"max_characters": 0}}]), "filters.0.caption.max_characters"),
        (given(filters=[{"clip_score": {"keep": 0.0}}]), "filters.0.clip_score.keep"),
        (given(filters=[{"clip_score": {"keep": 1.5}}]), "filters.0.clip_score.keep"),
        (given(filters=[{"clip_score": {"threshold": 2.0}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": float("nan")}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": True}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": "0.2"}}]), "filters.0.clip_score.threshold"),
        (given(concepts={"clusters": "many"}), "concepts.clusters"),
        (given(concepts={"clusters": 0}), "concepts.clusters"),
        (given(concepts={"seed": -1}), "concepts.seed"),
        (given(concepts={"seed": 2**32}), "concepts.seed"),
        (given(concepts={"partition_rows": 0}), "concepts.partition_rows"),
        (given(graph={"k": 0}), "graph.k"),
        (given(graph={"k": "ten"}), "graph.k"),
        (given(graph={"k": None}), "graph.k"),
        (given(graph={"max_replicas": 1.5}), "graph.max_replicas"),
        (given(ray={"gpus_per_search": 1.5}), "ray.gpus_per_search"),
        (given(selection={"keep": 0}), "selection.keep"),
        (given(selection={"keep": -0.5}), "selection.keep"),
        (given(selection={"keep": 1.5}), "selection.keep"),
        (given(selection={"keep": "most"}), "selection.keep"),
        (given(selection={"keep": True}), "selection.keep"),
        (given(selection={"method": 3}), "selection.method"),
        (given(selection={"score": 3}), "selection.score"),
        (given(selection={"score": {"table": "t.parquet"}}), "selection.score"),
        (given(selection={"gamma_forward": -1.0}), "selection.gamma_forward"),
        (given(selection={"gamma_reverse": float("inf")}), "selection.gamma_reverse"),
        (given(selection={"gamma_reverse": float("nan")}), "selection.gamma_reverse"),
        (given(selection={"gamma_reverse": "1"}), "selection.gamma_reverse"),
        (given(selection={"temperature": 0.0}), "selection.temperature"),
        (given(selection={"temperature": True}), "selection.temperature"),
        (given(selection={"temperature": "0.1"}), "selection.temperature"),
        (given(selection={"minimum": -1}), "selection.minimum"),
        (given(ray={"address": 5}), "ray.address"),
        (given(ray={"num_cpus": "all"}), "ray.num_cpus"),
        (given(ray={"num_cpus": 0}), "ray.num_cpus"),
        (given(ray=[]), "ray"),
    ],
)
def test_wrong_values_are_named_in_one_line(data, key):
    assert refusal(data).startswith(f"{key}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"output": "x"}, "input"),
        ({"input": {"shards": "x"}}, "output"),
        (given(input={}), "give one of input.shards (tars), "),
        (given(input={"shards": "x", "metadata": "y"}), "give one of input.shards (tars), "),
        (given(filters=[{}]), "filters"),
        (given(filters=[{"caption": {}, "clip_score": {"keep": 0.5}}]), "filters"),
        (given(filters=[{"clip_score": {}}]), "keep"),
        (given(filters=[{"clip_score": {"keep": 0.5, "threshold": 0.2}}]), "keep"),
        (given(selection={"score": {"column": "c"}}), "table"),
    ],
)
def test_what_is_missing_or_too_much_is_said(data, words):
    assert words in refusal(data)


def test_a_value_that_is_nearly_right_is_suggested():
    assert "did you mean cuda?" in refusal(given(embedding={"device": "cudaa"}))


def test_odd_keys_are_refused_in_one_line():
    refusal(given(**{"a\nb": 1}))
    refusal({**SMALLEST, 5: 1})
    refusal({**SMALLEST, "graph": {True: 1}})


def test_a_value_that_holds_itself_is_refused():
    itself = {}
    itself["x"] = itself
    refusal(given(output=itself))


def test_every_mistake_is_said_in_a_line_of_its_own():
    broken = {
        "input": {"shards": ["a.tar", 5, 6]},
        "graph": {"kk": 3, "max_replica": 2, "recall": 2.0},
        "filters": [{"caption": {"min_words": -1}}, {}],
        "selection": {"method": "top", "keep": "most", "gamma_forward": 1.0, "epsilon": 0.1},
        "selections": {"a": [{"method": "d3"}, {"budget": "unifrom"}]},
        "notify": {"when": ["never"]},
    }
    lines = refusals(broken)
    assert [line.partition(": ")[0] for line in lines] == [
        "graph.kk",
        "graph.max_replica",
        "selection.gamma_forward",
        "selection.epsilon",
        "input.shards.1",
        "input.shards.2",
        "output",
        "notify.when.0",
        "filters.0.caption.min_words",
        "filters.1",
        "graph.recall",
        "selection.keep",
        "selections.a.0.method",
        "selections.a.1.budget",
    ]
    assert lines[0].startswith("graph.kk: unknown key")
    assert "k" in lines[0].removeprefix("graph.kk: unknown key")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (given(**{"filters[0]": 1}), "filters[0]: unknown key; did you mean filters?"),
        (given(**{"[31m": {"": 1}}), "[31m: unknown key"),
        (given(graph={"int": 3}), "graph.int: unknown key"),
        (given(selections={"a[b]": {"method": "d2", "keap": 1}}), "selections.a[b].keap: unknown key"),
        (given(selections={"str": [{"methud": "d2"}]}), "selections.str.0.methud: unknown key"),
        (given(selection={"[settings]": {}}), "selection: unknown key [settings]"),
        (given(graph={1: 2}), "graph.1: is no key; a key is text"),
        (given(graph={datetime.date(2026, 1, 1): 2}), "graph.datetime.date(2026, 1, 1): is no key; a key is text"),
        (given(graph={"k": {datetime.date(2026, 1, 1): 2}}), "graph.k: this mapping is not valid"),
        (given(graph={"k": {b"k": 2}}), "graph.k: this mapping is not valid"),
        (given(graph={"k": -(10**5000)}), "graph.k: this int is not valid"),
        (given(graph={"k": 10**30}), "graph.k: 1000000000000000000000000000000 is not valid; it must be a positive"),
        (given(embedding={"text_batch_size": 10**15 + 1}), "embedding.text_batch_size: 1000000000000001 is not valid"),
    ],
)
def test_keys_and_values_of_every_kind_are_refused_in_a_line(data, line):
    assert refusal(data).startswith(line)


def test_a_count_beyond_all_bounds_is_told_the_bound():
    assert refusal(given(graph={"k": 10**16})).endswith("a positive whole number, at most 1,000,000,000,000,000")


def test_what_is_long_is_shortened():
    for data in (
        given(x="y" * 10_000),
        given(**{"x" * 3_000_000: 1}),
        given(output=["y" * 3_000_000]),
        given(selection={"method": "x" * 3_000_000}),
    ):
        assert len(refusal(data)) < 2_200


def test_of_countless_mistakes_the_first_are_said_at_once():
    started = time.process_time()
    lines = refusals(given(input={"shards": [1] * 20_000}, graf=1))
    assert time.process_time() - started < 5
    assert lines[0].startswith("graf: unknown key")
    assert lines[-1] == "configuration: holds 19,952 more mistakes"
    assert len(lines) == 50


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("embedding.device=gpu", "it must be auto, cpu or cuda; did you mean cuda?"),
        ("embedding.device=GPU", "it must be auto, cpu or cuda; did you mean cuda?"),
        ("embedding.device=cpi", "it must be auto, cpu or cuda; did you mean cpu?"),
        ("selection.keep=0", "it must be a fraction above 0 and at most 1, or a number of samples"),
    ],
)
def test_a_value_of_another_name_is_told_the_one_here(smallest_file, override, line):
    with pytest.raises(InputError) as refused:
        load_config(smallest_file, [override])
    assert str(refused.value).endswith(line)
