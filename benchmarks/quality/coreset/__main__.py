"""Coresets of Fashion-MNIST: choose, train from scratch for a fixed number of iterations, measure on the test.

    python benchmarks/coreset --cache DIR [--tune] [--methods NAME ...] [--rates RATE ...] [--seeds N] [--workers N]

One scoring run on all training data gives training dynamics and features; then every method, pruning rate and seed is a
training of its own, on a line of DIR/trainings.jsonl, so that a killed run goes on. `--tune` measures on 6,000 training
images that are held out (with a scoring run of their own), and leaves what it chose in DIR/tuned.json; without that
file the values in tuned.py are used.
"""

import sys
from pathlib import Path

# In place of this folder: its modules are coreset.*, and the benchmarks' tables.py stands beside it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from coreset.command import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main(__doc__))
