"""`filtering explain`: why one sample was kept, dropped or quarantined, from what a finished run left behind."""

from filtering.explanations.answer import why
from filtering.explanations.lines import why_lines

__all__ = ["why", "why_lines"]
