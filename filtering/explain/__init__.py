"""`filtering explain`: why one sample was kept, dropped or quarantined, from what a finished run left behind."""

from filtering.why.answer import why
from filtering.why.lines import why_lines

__all__ = ["why", "why_lines"]
