"""Filters: steps before selection that drop samples for a reason of their own."""
