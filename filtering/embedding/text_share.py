"""Text in pictures, by the detector of PP-OCR: how much of a picture it takes, and the picture without it.

The package rapidocr brings the detector with its weights.
"""

import importlib
import threading
import weakref
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageStat

from filtering.core.errors import InputError, one_line
from filtering.core.fields import MASKED_SIGNAL
from filtering.storage.store import checksum, digest

SIGNAL = "text_share"
INSTALL = "pip install rapidocr onnxruntime"
# The detector sees pictures of at most this many pixels a side: what it misses then takes little of a picture.
LOOKED_AT_SIDE = 384
# The least probability of a box (PaddleOCR's own default), and one thread, as everywhere where others decode beside it.
SETTINGS = {
    "Global.use_cls": False,
    "Global.use_rec": False,
    "Global.log_level": "critical",
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Det.limit_side_len": LOOKED_AT_SIDE,
    "Det.limit_type": "max",
    "Det.box_thresh": 0.6,
}
# Of the package: what prepares pictures and finds boxes, its settings, and the detector's weights.
DECISIVE = ("*.py", "*.yaml", "models/*det*.onnx")
# Of one picture at a time: the package keeps what it is at in the detector.
TURN = threading.Lock()
# The picture that a thread looked at last, and its text: a share and a mask may both be asked for.
LAST = threading.local()
# The frame whose colour fills a box, as a share of the box's shorter side.
AROUND = 0.2
Box = list[tuple[float, float]]


def check_text_detector() -> None:
    """Refuse a machine without the package: InputError that says what to do."""
    try:
        importlib.import_module("rapidocr")
        _detector()
    except ImportError:
        raise InputError(
            f"embedding.signals: text detection needs the package rapidocr; install it: {INSTALL}"
        ) from None
    except Exception as error:
        raise InputError(f"embedding.signals: rapidocr does not work ({one_line(error)})") from None


@cache
def text_detector_identity() -> str:
    """Return what tells the boxes of the package from those of another version of it; empty where there is none."""
    try:
        folder = Path(str(importlib.import_module("rapidocr").__file__)).parent
    except ImportError:
        return ""
    files = sorted(path for pattern in DECISIVE for path in folder.rglob(pattern))
    return digest([[path.relative_to(folder).as_posix(), checksum(path.read_bytes())] for path in files])


def detects_text(signals: Collection[str]) -> bool:
    """Return whether some signals need the detector."""
    return SIGNAL in signals or MASKED_SIGNAL in signals


def text_share(image: Image.Image) -> float:
    """Return the share of a picture in boxes of text, 0 to 1; what several boxes cover counts once."""
    found = _found(image)
    covered = Image.new("L", found.size)
    for box in found.boxes:
        ImageDraw.Draw(covered).polygon(box, fill=1)
    return float(np.asarray(covered).mean())


def without_text(image: Image.Image) -> Image.Image:
    """Return a picture whose boxes of text are filled with the mean colour around each; itself where it has none.

    As T-MARS does (arXiv 2307.03132) before it compares a picture with its caption.
    """
    found = _found(image)
    if not found.boxes:
        return image
    plain = image.convert("RGB")
    masked, factors = plain.copy(), (image.width / found.size[0], image.height / found.size[1])
    for box in found.boxes:
        polygon = [(x * factors[0], y * factors[1]) for x, y in box]
        ImageDraw.Draw(masked).polygon(polygon, fill=_colour_around(plain, polygon))
    return masked


def _colour_around(image: Image.Image, polygon: Box) -> tuple[int, int, int]:
    """Return the mean colour of a frame around a polygon: what its bounding box leaves when it grows by a fifth."""
    (left, top), (right, bottom) = (np.min(polygon, axis=0), np.max(polygon, axis=0))
    margin = max(2.0, AROUND * min(right - left, bottom - top))
    area = tuple(int(v) for v in (left - margin, top - margin, right + margin + 1, bottom + margin + 1))
    area = (max(area[0], 0), max(area[1], 0), min(area[2], image.width), min(area[3], image.height))
    frame = Image.new("L", (area[2] - area[0], area[3] - area[1]), 255)
    ImageDraw.Draw(frame).polygon([(x - area[0], y - area[1]) for x, y in polygon], fill=0)
    if frame.getbbox() is None:
        # The box is the whole picture.
        frame.paste(255, (0, 0, *frame.size))
    red, green, blue = ImageStat.Stat(image.crop(area), frame).mean
    return round(red), round(green), round(blue)


class _Text(NamedTuple):
    """Boxes of text in a reduced picture of some size, in pixels."""

    size: tuple[int, int]
    boxes: tuple[Box, ...]


def _found(image: Image.Image) -> _Text:
    """Return the text of a picture; of the one that this thread looked at last it is known."""
    known = getattr(LAST, "image", None)
    if known is None or known() is not image:
        LAST.text, LAST.image = _detected(image), weakref.ref(image)
    found: _Text = LAST.text
    return found


def _detected(image: Image.Image) -> _Text:
    small = image.convert("RGB")
    small.thumbnail((LOOKED_AT_SIDE, LOOKED_AT_SIDE))
    with TURN:
        # As OpenCV has them: blue, green, red.
        boxes = _detector()(np.asarray(small)[:, :, ::-1]).boxes
    found = boxes if boxes is not None else ()
    return _Text(small.size, tuple([(float(x), float(y)) for x, y in box] for box in found))


@cache
def _detector() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(params=SETTINGS)
