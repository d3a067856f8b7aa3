"""Quantities as a person would say them."""

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


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


def size(count: float) -> str:
    """Return bytes as text of three digits, in powers of a thousand: 0 B, 345 MB, 1.38 GB."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    # A part of a byte says nothing.
    digits = 0 if unit == 0 or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:,.{digits}f} {UNITS[unit]}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things: 1 shard, 0 shards, 1,204 shards; `plural` is the noun's where it is not noun + s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def shortened(text: str, most: int) -> str:
    """Return text of at most about `most` characters: of what is longer the beginning and the end."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}... ({len(text):,} characters) ...{text[-most // 3 :]}"
