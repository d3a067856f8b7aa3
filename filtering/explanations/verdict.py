"""Why, in a sentence."""

from filtering.explanations.explanation import Explanation, Messages, StepFacts


def verdict(found: Explanation) -> str:
    """Return in a sentence why a sample was kept or dropped."""
    if "filter" in found:
        return _filtered(found)
    step, messages = found["step"], found["step"]["messages"]
    if found["outcome"] == "kept" and step["rank"] is not None:
        return f"pick {step['rank'] + 1:,} of {step['picked']:,} in its concept" + _by_score(step)
    if messages is not None and messages["pushes"]:
        return _pushed(messages)
    covered = next((one for one in found["neighbours"] if one["kept"] and one["same_concept"]), None)
    if step["method"] == "semdedup" and covered:
        return f"it looks like {covered['key']}, which is kept (cosine {covered['cosine']:.3f})"
    if step["least_picked"] is not None and step["value"] < step["least_picked"]:
        return f"its {step['score']}, {step['value']:.4f}, is below the lowest one picked, {step['least_picked']:.4f}"
    return str(found["meaning"])


def _filtered(found: Explanation) -> str:
    asks, has = found["filter"]["asks"], found["filter"]["has"]
    if "threshold" in asks:
        return f"its CLIP score, {has['clip_score']:.4f}, is below {asks['threshold']:.4f}"
    return str(found["meaning"])


def _by_score(step: StepFacts) -> str:
    if step["messages"] is None:
        return ""
    return f": its score was {step['messages']['left']:.4f} when it was picked"


def _pushed(messages: Messages) -> str:
    first = messages["pushes"][0]
    heard, left, last = messages["heard"], f"{messages['left']:.4f}", f"{messages['last_pick']:.4f}"
    if heard < messages["last_pick"]:
        return (
            f"its score with its neighbours' messages, {heard:.4f}, is below that of the last pick, {last}, "
            "even before any pick lowered it"
        )
    return (
        f"pick {first['picked_as'] + 1:,}, {first['key']}, already covers it: its score fell from {heard:.4f} to "
        f"{heard - first['took']:.4f}; at the last pick its score was {left}, and that of the sample picked {last}"
    )
