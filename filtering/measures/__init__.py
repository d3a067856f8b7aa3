"""Measures of a selection: how well what is kept stands for the pool, beside a random choice of equal size."""
