"""Clip art of the Open Clip Art Library (public domain) as Debian's package openclipart-svg installs it."""

import hashlib
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

FOLDER = Path("/usr/share/openclipart/svg")
# Stars, patterns, playing cards and buttons, which no word of their name tells apart.
UNNAMED = ("shapes/", "special/", "recreation/games/cards/", "logos/", "buttons/")
MOST_BYTES, MOST_WITH_TITLE, SHORTEST, LONGEST, HELD_OUT_SHARE = 150_000, 6, 3, 40, 0.12
LOOKED_AT_SIDE, BLANK_DEVIATION = 32, 8.0
TITLE = re.compile(r"<dc:title>\s*(.*?)\s*</dc:title>", re.DOTALL)
# Titles of a whole collection.
GENERIC = re.compile(r"part of|clip ?art|icons?\b|theme|svg|collection|symbol_signs|maps$|general|&", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Art:
    """A picture: the path of its file, its name, and whether nothing is trained on it."""

    key: str
    name: str
    held_out: bool


def pictures(folder: Path) -> list[Art]:
    """Return a picture a name, sorted by name: the first that can be drawn, is not blank and was not drawn before.

    Exits with one line if there is none.
    """
    seen: set[bytes] = set()
    chosen: dict[str, str] = {}
    for name, path in _named(folder):
        if name not in chosen and _is_new(path, seen):
            chosen[name] = path
    if not chosen:
        sys.exit(f"skipped: {folder} has no clip art (apt-get install openclipart-svg)")
    return [Art(path, name, _is_held_out(name)) for name, path in sorted(chosen.items())]


def rasterise(path: str, side: int) -> Image.Image:
    """Return a picture in the middle of a white square, RGB; ValueError if it has no size."""
    svg = Path(path).read_text(encoding="utf-8", errors="replace")
    # System fonts would make the pixels depend on the machine.
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, background="#ffffff", skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    drawn.thumbnail((side, side))
    square = Image.new("RGB", (side, side), "white")
    square.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return square


def _named(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and path of each file whose name has words in it, sorted by path."""
    paths = [path for path in sorted(folder.rglob("*.svg")) if _may_have_name(path, folder)]
    titles = [_title(path) for path in paths]
    held = Counter(titles)
    for path, title in zip(paths, titles, strict=True):
        is_own = title and held[title] <= MOST_WITH_TITLE and not GENERIC.search(title)
        name = _words(title if is_own else path.stem)
        if SHORTEST <= len(name) <= LONGEST and max(map(len, name.split())) >= SHORTEST:
            yield name, str(path)


def _may_have_name(path: Path, folder: Path) -> bool:
    return not str(path.relative_to(folder)).startswith(UNNAMED) and path.stat().st_size <= MOST_BYTES


def _title(path: Path) -> str:
    found = TITLE.search(path.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else ""


def _words(text: str) -> str:
    words = re.sub(r"[^A-Za-z]+", " ", text).lower().split()
    return " ".join(word for word in words if len(word) > 1)


def _is_new(path: str, seen: set[bytes]) -> bool:
    try:
        pixels = np.asarray(rasterise(path, LOOKED_AT_SIDE))
    except ValueError:
        return False
    drawn = pixels.tobytes()
    if pixels.std() < BLANK_DEVIATION or drawn in seen:
        return False
    seen.add(drawn)
    return True


def _is_held_out(name: str) -> bool:
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"clip art").digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64
