"""What `ray job submit` runs: `python jobs/run.py --config URL [--set KEY=VALUE]`, the same as `filtering run`."""

import sys

from filtering.cli import command

if __name__ == "__main__":
    command(["run", *sys.argv[1:]])
