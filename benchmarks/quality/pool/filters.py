"""The filters that are compared, as `filters.yaml` has them: configurations and nothing else."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILTERS = Path(__file__).with_name("filters.yaml")
KEEP, SEED, SHARE = "$KEEP", "$SEED", "$SHARE"
# $ENOUGH(0.55): that share, or more where later steps need more to choose from; SemDeDup drops up to a third.
ENOUGH, MORE_THAN_KEPT = re.compile(r"\$ENOUGH\((.*)\)"), 1.5


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter by name, with the part of a configuration that makes it."""

    name: str
    settings: Mapping[str, Any]

    @property
    def draws(self) -> bool:
        """Whether every training gets a selection of its own."""
        return SEED in repr(self.settings)

    def configuration(self, keep: int, share: float, seed: int) -> dict[str, Any]:
        """Return the settings with the number and the share to keep and the seed put in."""
        filled: dict[str, Any] = _filled(self.settings, {KEEP: keep, SHARE: share, SEED: seed})
        return filled


def all_filters(path: Path = FILTERS) -> list[Filter]:
    """Return every filter, in the order in which they are tried."""
    return [Filter(name, settings) for name, settings in yaml.safe_load(path.read_text()).items()]


def named_filters(path: Path, names: Sequence[str] | None) -> list[Filter]:
    """Return the filters of these names, or all; exits with one line if the list has no such name."""
    filters = all_filters(path)
    if unknown := set(names or ()) - {chosen.name for chosen in filters}:
        sys.exit(f"{path} has no {', '.join(sorted(unknown))}")
    return [chosen for chosen in filters if names is None or chosen.name in names]


def _filled(value: Any, names: Mapping[str, float]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, names) for inner in value]
    if isinstance(value, str) and (least := ENOUGH.fullmatch(value)):
        return max(float(least[1]), min(1.0, round(MORE_THAN_KEPT * names[SHARE], 4)))
    return names.get(value, value) if isinstance(value, str) else value
