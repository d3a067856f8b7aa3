"""The command line."""

from filtering.runtime.signals import ending_at_once

# Its imports take a moment, in which Ctrl-C would show where they are.
with ending_at_once():
    from filtering.cli.program import command, main

__all__ = ["command", "main"]
