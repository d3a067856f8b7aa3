"""The share of a picture that is text, by the detector of PP-OCR: the package rapidocr brings it with its weights."""

import importlib
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from filtering.core.errors import InputError, one_line
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


def check_text_detector() -> None:
    """Refuse a machine without the package: InputError that says what to do."""
    try:
        importlib.import_module("rapidocr")
        _detector()
    except ImportError:
        raise InputError(f"embedding.signals: text_share needs the package rapidocr; install it: {INSTALL}") from None
    except Exception as error:
        raise InputError(f"embedding.signals: text_share: rapidocr does not work ({one_line(error)})") from None


@cache
def text_detector_identity() -> str:
    """Return what tells the boxes of the package from those of another version of it; empty where there is none."""
    try:
        folder = Path(str(importlib.import_module("rapidocr").__file__)).parent
    except ImportError:
        return ""
    files = sorted(path for pattern in DECISIVE for path in folder.rglob(pattern))
    return digest([[path.relative_to(folder).as_posix(), checksum(path.read_bytes())] for path in files])


def text_share(image: Image.Image) -> float:
    """Return the share of a picture in boxes of text, 0 to 1; what several boxes cover counts once."""
    small = image.convert("RGB")
    small.thumbnail((LOOKED_AT_SIDE, LOOKED_AT_SIDE))
    with TURN:
        # As OpenCV has them: blue, green, red.
        boxes = _detector()(np.asarray(small)[:, :, ::-1]).boxes
    covered = Image.new("L", small.size)
    for box in boxes if boxes is not None else ():
        ImageDraw.Draw(covered).polygon([(float(x), float(y)) for x, y in box], fill=1)
    return float(np.asarray(covered).mean())


@cache
def _detector() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(params=SETTINGS)
