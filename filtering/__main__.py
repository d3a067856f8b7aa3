"""`python -m filtering VERB` is the same as `filtering VERB`."""

from filtering.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
