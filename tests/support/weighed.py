"""A run with weights, and how often it says that each sample is seen."""

from collections import Counter
from pathlib import Path

from pools import Silent, tar_config

import filtering
from filtering.config.run import parse_config
from filtering.pipeline import run as pipeline


def write_weighed(pool: Path, folder: Path) -> Path:
    """Run over tars, with samples that are seen once to six times in an epoch, 2.5 times on average."""
    pipeline.run(parse_config(tar_config(pool, folder, weights={"epoch": 2.5, "most": 6})), Silent())
    return folder


def repeats_of(run: Path) -> Counter[str]:
    """How often each kept sample is seen in an epoch, by its key."""
    table = filtering.open_run(str(run)).kept().to_table()
    return Counter(dict(zip(table["key"].to_pylist(), table["repeat"].to_pylist(), strict=True)))
