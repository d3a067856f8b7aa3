"""Measures of a selection: how well the kept samples cover the pool, compared with a random choice of equal size."""
