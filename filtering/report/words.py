"""Names for concepts: the words that distinguish a concept's captions from those of others (class-based tf-idf)."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

WORD = re.compile(r"[^\W\d_]{3,}")
WORDS_PER_CONCEPT = 4


def distinctive_words(captions: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """Return the most distinctive words of each concept's captions, best first.

    A word's weight is its frequency in the concept times log(1 + average words a concept / its frequency in all).
    """
    counts = {
        concept: Counter(word for caption in texts for word in set(WORD.findall(caption.lower())))
        for concept, texts in captions.items()
    }
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    average = sum(total.values()) / max(len(counts), 1)
    return {concept: _best(count, total, average) for concept, count in counts.items()}


def _best(count: Counter[str], total: Counter[str], average: float) -> tuple[str, ...]:
    weights = {word: n * math.log(1 + average / total[word]) for word, n in count.items()}
    ordered = sorted(weights, key=lambda word: (-weights[word], word))
    return tuple(ordered[:WORDS_PER_CONCEPT])
