"""What a run is called by does not change where nothing of what is new is asked for."""

from small_configs import given

from filtering.config.run import parse_config


def test_lists_that_hold_nothing_are_no_part_of_a_runs_identity():
    plain = parse_config(given()).digest()
    source = {"shards": "pool/*.tar"}
    assert parse_config(given(embedding={"signals": []}, input={**source, "fields": []})).digest() == plain
    nothing = given(embedding={"encoders": {}}, concepts={"embedding": None}, reuse_embeddings=False)
    assert parse_config(nothing).digest() == plain
    assert parse_config(given(embedding={"signals": ["blur"]})).digest() != plain
    assert parse_config(given(embedding={"encoders": {"same": {"model": "demo"}}})).digest() != plain
    assert parse_config(given(input={**source, "fields": ["punsafe"]})).digest() != plain


def test_the_order_of_signals_and_fields_says_nothing():
    one = given(embedding={"signals": ["phash", "blur", "blur"]}, input={"shards": "a", "fields": ["b", "a"]})
    other = given(embedding={"signals": ["blur", "phash"]}, input={"shards": "a", "fields": ["a", "b"]})
    assert parse_config(one).digest() == parse_config(other).digest()
