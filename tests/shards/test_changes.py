from hypothesis import given
from hypothesis import strategies as st

from filtering.shards.changes import GONE, changes
from filtering.shards.inventory import Shard


def inventory(*entries):
    """The shards of some (name, version), in that order."""
    return [Shard(at, f"/pool/{name}.tar", 10 + version, str(version)) for at, (name, version) in enumerate(entries)]


inventories = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.integers(0, 2)), unique_by=lambda entry: entry[0], max_size=7
).map(lambda entries: inventory(*entries))


def test_an_inventory_is_compared_with_an_earlier_one():
    found = changes(inventory(("a", 0), ("b", 0), ("c", 0)), inventory(("new", 0), ("a", 0), ("c", 1)))
    assert found.new == ("/pool/new.tar",)
    assert found.changed == ("/pool/c.tar",)
    assert found.removed == ("/pool/b.tar",)
    assert found.places.tolist() == [1, GONE, GONE]
    assert found.counts() == {"new": 1, "changed": 1, "removed": 1, "same": 1}
    assert found.in_order


def test_a_shard_is_another_when_its_size_or_version_is():
    before = [Shard(0, "/pool/a.tar", 10, "x")]
    for now in (Shard(0, "/pool/a.tar", 11, "x"), Shard(0, "/pool/a.tar", 10, "y")):
        found = changes(before, [now])
        assert (found.changed, found.places.tolist()) == (("/pool/a.tar",), [GONE])
    assert changes(before, [Shard(5, "/pool/a.tar", 10, "x")]).changed == ()


def test_shards_that_changed_places_are_not_in_order():
    before = inventory(("a", 0), ("b", 0), ("c", 0))
    swapped = changes(before, inventory(("b", 0), ("a", 0), ("c", 0)))
    assert swapped.places.tolist() == [1, 0, 2]
    assert not swapped.in_order
    # The one that would be out of order is gone.
    assert changes(before, inventory(("b", 0), ("a", 1), ("c", 0))).in_order


def test_nothing_is_in_order():
    for before, now in (([], []), ([], inventory(("a", 0))), (inventory(("a", 0)), [])):
        found = changes(before, now)
        assert found.in_order
        assert len(found.places) == len(before)


@given(inventories, inventories)
def test_every_shard_is_in_one_class(before, now):
    found = changes(before, now)
    earlier, later = ({shard.url: shard.identity for shard in shards} for shards in (before, now))
    assert set(found.new) == set(later) - set(earlier)
    assert set(found.removed) == set(earlier) - set(later)
    assert set(found.changed) == {url for url in later if url in earlier and earlier[url] != later[url]}
    same = {url for url in later if earlier.get(url) == later[url]}
    counts = found.counts()
    assert counts["same"] == len(same)
    assert counts["same"] + counts["changed"] + counts["new"] == len(now)
    assert counts["same"] + counts["changed"] + counts["removed"] == len(before)
    for shard, place in zip(before, found.places.tolist(), strict=True):
        assert (place != GONE) == (shard.url in same)
        assert place == GONE or now[place].identity == shard.identity
    assert found.in_order == (
        [shard.url for shard in before if shard.url in same] == [shard.url for shard in now if shard.url in same]
    )


@given(inventories)
def test_a_pool_is_the_same_as_itself(shards):
    found = changes(shards, shards)
    assert found.counts() == {"new": 0, "changed": 0, "removed": 0, "same": len(shards)}
    assert found.places.tolist() == list(range(len(shards)))
    assert found.in_order
