"""`filtering explain`: why one sample was kept, dropped or quarantined, from what a finished run left behind."""

from filtering.explain.answer import why
from filtering.explain.lines import why_lines

__all__ = ["why", "why_lines"]
