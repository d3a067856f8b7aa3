"""Scorers: columns in, one score column out; higher means more worth keeping."""
