import math

from hypothesis import given
from hypothesis import strategies as st

from filtering.report.assembly import distinctive_words


def test_shared_words_give_way_to_distinctive_ones():
    words = distinctive_words(
        {
            0: ["photo of a tabby cat", "a sleeping cat photo", "photo of a cat"],
            1: ["photo of a red car", "a fast car photo", "photo of the car"],
        }
    )
    assert words[0][0] == "cat"
    assert words[1][0] == "car"


def test_at_most_four_words():
    assert len(distinctive_words({0: ["one two three four five six"]})[0]) == 4


def test_short_words_digits_and_repeats_do_not_count():
    assert distinctive_words({0: ["a an 12 x_y of", "IMG_2024"]}) == {0: ("img",)}
    once = distinctive_words({0: ["cat cat cat dog", "dog"]})
    assert once[0][0] == "dog"


def test_ties_are_alphabetical_and_case_does_not_matter():
    assert distinctive_words({0: ["Zebra ZEBRA apple Müsli 猫猫猫"]})[0] == ("apple", "müsli", "zebra", "猫猫猫")


def test_concepts_without_words():
    assert distinctive_words({}) == {}
    assert distinctive_words({3: [], 4: ["1 2"]}) == {3: (), 4: ()}


WORDS = st.lists(st.sampled_from(["cat", "dog", "tree", "house", "river"]), max_size=6).map(" ".join)


@given(st.dictionaries(st.integers(0, 4), st.lists(WORDS, max_size=5), max_size=4))
def test_the_order_follows_the_weights(captions):
    counts = {}
    for concept, texts in captions.items():
        counts[concept] = {}
        for text in texts:
            for word in set(text.split()):
                counts[concept][word] = counts[concept].get(word, 0) + 1
    everything = sum(sum(count.values()) for count in counts.values())
    found = distinctive_words(captions)
    for concept, count in counts.items():
        weights = {
            word: n * math.log(1 + everything / len(counts) / sum(other.get(word, 0) for other in counts.values()))
            for word, n in count.items()
        }
        assert len(found[concept]) == min(4, len(weights))
        assert list(found[concept]) == sorted(weights, key=lambda word: (-weights[word], word))[:4]
