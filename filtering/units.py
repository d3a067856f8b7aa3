"""Quantities as a person would say them."""


def duration(seconds: float) -> str:
    """Return seconds as text: 0.4 s, 42 s, 3 min 12 s, 2 h 13 min."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest:02d} min" if rest else f"{hours:,} h"
