"""`filtering explain`: why one sample was kept, dropped or quarantined, from what a finished run left behind."""

from filtering.explanations.answer import explain
from filtering.explanations.lines import explanation_lines

__all__ = ["explain", "explanation_lines"]
