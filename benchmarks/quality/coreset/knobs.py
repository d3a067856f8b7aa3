"""What a method can be tuned by, and what tuning found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Knobs:
    """Settings of one method at one rate; a method ignores those of others.

    Attributes
    ----------
    drop : share of all samples, the hardest by AUM, that is never kept.
    k, gamma : neighbours of D2's graph, its gamma_reverse.
    graph : "stratum": neighbours are looked for in the stratum; "pool": among all, and only edges inside remain.
    difficulty : "score": strata are of AUM hardness; "message": of what D2's forward messages make of it; "dual": of
        DUAL scores; "mean": of the true label's mean improbability.
    strata : how many strata.
    split : FlexRand's share of easy samples.
    looks, window : the first looks of the scoring run that DUAL and TDDS use (their T), and the length of the window
        that slides over them (their J).
    exponent : DUAL's c_D: how early the Beta distribution moves to the easy as more is pruned.
    alpha : InfoMax's weight of the similarities.
    """

    drop: float = 0.0
    k: int = 10
    gamma: float = 1.0
    graph: str = "stratum"
    difficulty: str = "score"
    strata: int = 50
    split: float = 0.5
    looks: int = 20
    window: int = 5
    exponent: float = 5.5
    alpha: float = 0.3
