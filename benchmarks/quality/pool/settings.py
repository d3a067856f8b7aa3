"""The pools that are built: how large, which pictures, and how many pairs have which defect."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

PictureSource = Literal["clothes and emoji", "digits and clip art"]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """All that decides a pool.

    Attributes
    ----------
    name : also its folder's, in the family of pools.
    pictures : the source of the classes and that of the many other concepts.
    swapped, boilerplate, noise : share of pairs with another pair's caption, with a caption that says nothing, with a
        picture that shows nothing.
    duplicates, duplicates_elsewhere : share of near-duplicates among the other pairs, in a few large concepts and in
        the others.
    wrong_groups : share of the groups of near-duplicates that have one wrong caption in common.
    reworded_groups : share of the groups with a wrong caption where each copy words it in its own way.
    """

    name: str
    pictures: PictureSource = "clothes and emoji"
    swapped: float = 0.28
    boilerplate: float = 0.05
    noise: float = 0.05
    duplicates: float = 0.6
    duplicates_elsewhere: float = 0.05
    wrong_groups: float = 0.0
    reworded_groups: float = 0.5

    def shares(self) -> dict[str, float]:
        """Return the share of each kind of pair that is drawn by itself; the others are right."""
        return {"swapped": self.swapped, "boilerplate": self.boilerplate, "noise": self.noise}

    def plain(self) -> dict[str, Any]:
        """Return every setting, as plain data."""
        return asdict(self)


BASE = PoolSettings("base")
POOLS = {
    pool.name: pool
    for pool in (
        BASE,
        PoolSettings("swapped 5 %", swapped=0.05),
        PoolSettings("swapped 50 %", swapped=0.5),
        PoolSettings("no duplicates", duplicates=0.0, duplicates_elsewhere=0.0),
        PoolSettings("shared wrong captions", swapped=0.15, wrong_groups=0.5),
        PoolSettings("other pictures", pictures="digits and clip art"),
    )
}
