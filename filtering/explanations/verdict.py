"""Why, in a sentence."""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]


def verdict(found: Record) -> str:
    """Return in a sentence why a sample was kept or dropped.

    Parameters
    ----------
    found : mapping
        What `filtering.explanations.why` knows of it.
    """
    if "filter" in found:
        return _filtered(found)
    step, messages = found["step"], found["step"]["messages"]
    if found["outcome"] == "kept":
        return f"pick {step['rank'] + 1:,} of {step['picked']:,} in its concept" + _by_score(step)
    if messages is not None and messages["pushes"]:
        return _pushed(messages)
    covered = next((one for one in found["neighbours"] if one["kept"] and one["same_concept"]), None)
    if step["method"] == "semdedup" and covered:
        return f"it looks like {covered['key']}, which is kept (cosine {covered['cosine']:.3f})"
    if step["least_picked"] is not None and step["value"] < step["least_picked"]:
        return (
            f"its {step['score']}, {step['value']:.4f}, is below the lowest that was picked, {step['least_picked']:.4f}"
        )
    return str(found["meaning"])


def _filtered(found: Record) -> str:
    asks, has = found["filter"]["asks"], found["filter"]["has"]
    if "threshold" in asks:
        return f"its CLIP score, {has['clip_score']:.4f}, is below {asks['threshold']:.4f}"
    return str(found["meaning"])


def _by_score(step: Record) -> str:
    if step["messages"] is None:
        return ""
    return f": worth {step['messages']['left']:.4f} when it was picked"


def _pushed(messages: Record) -> str:
    first = messages["pushes"][0]
    pick = f"pick {first['picked_as'] + 1:,}, {first['key']}"
    if messages["heard"] < messages["last_pick"]:
        return (
            f"with its neighbours' messages it was worth {messages['heard']:.4f}, less than the last pick, "
            f"{messages['last_pick']:.4f}, even before any pick pushed it down"
        )
    return (
        f"{pick}, already stands for it and took {first['took']:.4f} of its {messages['heard']:.4f}; "
        f"{messages['left']:.4f} was left, and the last pick had {messages['last_pick']:.4f}"
    )
