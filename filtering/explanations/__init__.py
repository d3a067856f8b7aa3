"""`filtering explain`: why one sample was kept, dropped or quarantined, from what a finished run left behind."""

from filtering.explanations.answer import explain

__all__ = ["explain"]
