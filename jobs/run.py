"""What `ray job submit` runs: `python jobs/run.py --config URL [--set KEY=VALUE]`, the same as `filtering run`."""

import sys

from filtering.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["run", *sys.argv[1:]]))
