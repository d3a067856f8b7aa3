"""Whether a caption says anything: what tars and tables hold is judged by the same rule."""

import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Separators (Z), and of the others (C) control characters, format characters (the byte order mark, zero-width spaces)
# and halves of surrogate pairs; private and unassigned characters may have a picture in some font.
BLANK_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"})
# Letters, marks and symbols that show nothing by themselves (Unicode's Default_Ignorable_Code_Point), and the Braille
# pattern without a dot.
BLANK_RANGES = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
BLANKS = frozenset(chr(code) for first, last in BLANK_RANGES for code in range(first, last + 1))
# One of these is text; most captions hold one, and need no look at each character.
CLEARLY_TEXT = r"[!-~\p{Lu}\p{Ll}\p{Han}\p{Hiragana}\p{Katakana}\x{AC00}-\x{D7A3}]"


def holds_text(caption: str) -> bool:
    """Say whether a caption has a character that can be seen: not only white space, control or zero-width ones."""
    return any(
        character not in BLANKS and unicodedata.category(character) not in BLANK_CATEGORIES for character in caption
    )


def blank_captions(captions: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Return which captions hold no text (`holds_text`), null ones among them; bool (n,)."""
    clear = pc.fill_null(pc.match_substring_regex(captions, CLEARLY_TEXT), False)
    blank = ~np.asarray(clear.to_numpy(zero_copy_only=False), dtype=bool)
    for row in np.flatnonzero(blank).tolist():
        blank[row] = not holds_text(captions[row].as_py() or "")
    return blank
