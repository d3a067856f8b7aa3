"""The command line."""

from filtering.cli.program import command, main

__all__ = ["command", "main"]
