"""`python -m filtering COMMAND`, the same as `filtering COMMAND`."""

from filtering.cli import command

if __name__ == "__main__":
    command()
