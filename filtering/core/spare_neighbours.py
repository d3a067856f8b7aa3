"""How many neighbours beyond k a row keeps, and how many rows then have to search when others go."""

from math import comb

# Spare neighbours of a row for each that it chooses, and at least. Another number is another version of the graph.
SHARE, LEAST = 0.2, 2


def spare_count(k: int) -> int:
    """Return how many spare neighbours a row keeps that chooses k."""
    return max(LEAST, int(k * SHARE))


def listed_count(k: int) -> int:
    """Return how many neighbours a row lists that chooses k: these, and spare ones."""
    return k + spare_count(k)


def share_of_losers(k: int, gone: float) -> float:
    """Return the share of rows that lose more than their spare ones, of k and these, where a share goes at random.

    Of 2 % one row in 600 loses more than 2 of 10 + 2, where one in 5 loses one of 10.
    """
    listed, spare = listed_count(k), spare_count(k)
    enough = sum(comb(listed, lost) * gone**lost * (1 - gone) ** (listed - lost) for lost in range(spare + 1))
    return max(0.0, 1 - enough)
