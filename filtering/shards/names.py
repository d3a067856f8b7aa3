"""Member names of a shard: which sample a member belongs to, and as what."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

# webdataset's rule: the key is everything before the first dot of the base name (the folder stays part of it).
NAME = re.compile(r"^((?:.*/)?[^./]+)\.([^/]*)$", re.DOTALL)
# What unpacking with a tool that does not know extended headers, or packing on a Mac, leaves beside the files.
LEFTOVER = re.compile(r"(?:^|/)(?:PaxHeaders?(?:\.\d+)?|GNUSparseFile\.\d+|__MACOSX)/")
IMAGE, CAPTION, METADATA = "image", "caption", "metadata"
IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
# Images that are not decoded, by extension; they are named where a sample has no other.
UNDECODED = {
    **dict.fromkeys(("heic", "heif", "hif"), "HEIC"),
    **dict.fromkeys(("jp2", "j2k", "jpx"), "JPEG 2000"),
    **dict.fromkeys(("ico", "cur"), "an icon"),
    **{"jxl": "JPEG XL", "svg": "SVG", "psd": "Photoshop's PSD", "eps": "PostScript", "pdf": "PDF", "ppm": "PPM"},
}
# What a table's column of captions is called; LAION writes it in capitals. The first that is there counts.
CAPTIONS = ("text", "caption")
KINDS = {**dict.fromkeys(IMAGES, IMAGE), "txt": CAPTION, "json": METADATA}

MAX_NAME_CHARACTERS = 4096
SHORT_CHARACTERS = 100


class Place(NamedTuple):
    """Where a member belongs: to a key, as an extension (what follows the key's dot, in lower case), as a kind or none.

    `stem` is the extension without its last part; members of one pair share it. Keys of names that are too long, with
    more than `MAX_NAME_CHARACTERS`, and long extensions are shortened.
    """

    key: str
    extension: str
    kind: str | None
    stem: str
    too_long: bool = False


# A name is looked up twice, when its member is read and when it is placed.
@lru_cache(maxsize=4)
def place(name: str) -> Place | None:
    """Return where the member of a name belongs, None if its name has no key."""
    match = NAME.match(name)
    if match is None or ("/" in name and LEFTOVER.search(name)):
        return None
    key, extension = match[1], match[2].lower()
    stem, _, last = extension.rpartition(".")
    if len(name) <= SHORT_CHARACTERS:
        return Place(key, extension, KINDS.get(last), stem)
    if len(extension) > SHORT_CHARACTERS:
        stem, last = shortened(stem), shortened(last)
        extension = f"{stem}.{last}"
    too_long = len(name) > MAX_NAME_CHARACTERS
    return Place(shortened(key) if too_long else key, extension, KINDS.get(last), stem, too_long)


def column(present: Iterable[str], names: Iterable[str]) -> str | None:
    """Return which of the columns that are present has the first of some names, if need be in capitals, else None."""
    there = list(present)
    capitals = {one.lower(): one for one in reversed(there)}
    exact = next((name for name in names if name in there), None)
    return exact or next((capitals[name] for name in names if name in capitals), None)


def shortened(text: str) -> str:
    """Return a text of more than `SHORT_CHARACTERS` as its beginning and a hash of the whole."""
    if len(text) <= SHORT_CHARACTERS:
        return text
    mark = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: SHORT_CHARACTERS - len(mark) - 3]}...{mark}"
