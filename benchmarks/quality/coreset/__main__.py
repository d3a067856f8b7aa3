"""Coresets of Fashion-MNIST: choose, train from scratch for a fixed number of iterations, measure on the test.

    python -m benchmarks.quality.coreset --cache DIR [--tune] [--methods NAME ...] [--rates RATE ...]

One scoring run on all training data gives training dynamics and features; then every method, pruning rate and seed is a
training of its own, on a line of DIR/trainings.jsonl, so that a killed run goes on. `--tune` measures on 6,000 training
images that are held out (with a scoring run of their own), and leaves what it chose in DIR/tuned.json; without that
file the values in tuned.py are used.
"""

from benchmarks.quality.coreset.command import main

if __name__ == "__main__":
    raise SystemExit(main(__doc__))
