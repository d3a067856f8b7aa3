"""Coresets of Fashion-MNIST: choose, train from scratch for a fixed number of iterations, measure on the test.

    python -m benchmarks.quality.coreset --cache DIR [--tune] [--methods NAME ...] [--rates RATE ...]

One scoring run on all training data gives training dynamics and features; then every method, pruning rate and seed is a
training of its own, on a line of DIR/trainings.jsonl, so that a killed run can be resumed. `--tune` measures on 6,000
held-out training images (with a scoring run of their own), and writes the chosen values to DIR/tuned.json; without that
file the values in tuned.py are used.
"""

from collections.abc import Sequence

from benchmarks.quality.coreset import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, or measure on the test and print."""
    return command.main(__doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
