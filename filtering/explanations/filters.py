"""What a filter saw of a sample that it left out, beside what it asks for."""

from collections.abc import Mapping
from typing import Any


def of_filter(record: Mapping[str, Any], reason: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a filter (its reason, such as filter:caption) asks for, and what a sample has."""
    kind = reason.partition(":")[2]
    # Of several filters of a kind nobody noted which one it was; the first is shown where there is one.
    one = next(each for each in record["filters"] if each["kind"] == kind)
    asked = dict(one["settings"]) | ({} if one["threshold"] is None else {"threshold": one["threshold"]})
    return {"filter": kind, "asks": asked, "has": _had(kind, line)}


def _had(kind: str, line: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "caption":
        return {"words": len(line["caption"].split()), "characters": len(line["caption"])}
    if kind == "image":
        return {"width": line["width"], "height": line["height"]}
    if kind == "clip_score":
        return {"clip_score": line["clip_score"]}
    return {"caption": line["caption"]}
