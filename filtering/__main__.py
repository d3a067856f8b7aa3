"""`python -m filtering VERB`, the same as `filtering VERB`."""

from filtering.cli import command

if __name__ == "__main__":
    command()
