"""Text as a terminal may be given it: what it would obey, or what reorders the text beside it, is written out."""

import re

# Control characters (C0, DEL, C1; ESC among them, without which no sequence is obeyed), marks that reorder text,
# separators of lines and paragraphs, and halves of surrogate pairs, which no encoding can write.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return text on one line that a terminal shows as it is: an escape stands for each character it would obey.

    Everything that is printed passes here: captions, keys, names and messages are the web's. The escapes are those of
    Python, such as ``\x1b``; what has them already stays as it is.
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """Return text as `visible` does, with its line breaks as they are: those of a traceback."""
    return "\n".join(map(visible, text.split("\n")))


def is_utf8(text: str) -> bool:
    """Say whether text is UTF-8: Python holds other bytes, as of names on a disk, as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
