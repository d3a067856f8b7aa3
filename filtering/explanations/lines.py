"""An explanation for a person."""

from collections.abc import Iterator, Mapping
from typing import Any

Record = Mapping[str, Any]
WIDTH = 60


def explanation_lines(found: Record) -> list[str]:
    """Return what `why` found, for a person: the outcome first, then what it follows from."""
    return list(_lines(found))


def _lines(found: Record) -> Iterator[str]:
    yield f"{found['key'] or found.get('member') or found['shard']}: {_outcome(found)}"
    if found["outcome"] == "quarantined":
        yield from _pairs({"shard": found["shard"], "member": found["member"], "detail": found["detail"]})
        return
    size = f"{found['width']} x {found['height']}" if found["width"] else "size not known"
    yield from _pairs({"uid": found["uid"], "shard": found["shard"], "caption": _short(found["caption"], 100)})
    scores = ", ".join(f"{name} {score:.4f}" for name, score in found["scores"].items())
    yield from _pairs({"picture": size, "scores": scores})
    if "filter" in found:
        yield from _filter(found["filter"])
        return
    yield from _concept(found["concept"], found["step"])
    yield from _step(found["step"])
    yield from _neighbours(found["neighbours"])


def _outcome(found: Record) -> str:
    if found["outcome"] == "quarantined":
        return f"quarantined, {found['reason']}: {found['meaning'] or found['detail']}"
    reason = f" by {found['reason']}" if found["reason"] else ""
    return f"{found['outcome']}{reason}: {found['verdict']}"


def _filter(found: Record) -> Iterator[str]:
    asks, has = (", ".join(f"{k} {_value(v)}" for k, v in found[name].items()) for name in ("asks", "has"))
    yield from _pairs({"filter": f"{found['filter']} asks for {asks}", "it has": has})


def _concept(concept: Record, step: Record) -> Iterator[str]:
    words = f" ({', '.join(concept['words'])})" if concept["words"] else ""
    yield from _pairs(
        {
            "concept": f"{concept['concept']}{words}: {concept['size']:,} samples, budget {step['budget']:,}, "
            f"{step['picked']:,} picked by {step['method']}"
        }
    )


def _step(step: Record) -> Iterator[str]:
    score = step["score"]
    yield from _pairs(
        {
            "rank": f"{step['higher'] + 1:,} of {step['candidates']:,} by {score} ({step['value']:.4f})"
            + (f"; the lowest that was picked has {step['least_picked']:.4f}" if step["picked"] else "")
        }
    )
    if step["messages"] is not None:
        yield from _messages(step)


def _messages(step: Record) -> Iterator[str]:
    found = step["messages"]
    when = "when it was picked" if step["rank"] is not None else "at the last pick"
    yield from _pairs(
        {
            "messages": f"{step['value']:.4f} by itself, {found['heard']:.4f} with its neighbours', picks took "
            f"{found['taken']:.4f}, {found['left']:.4f} left {when}"
            + ("" if step["rank"] is not None else f", which had {found['last_pick']:.4f}")
        }
    )
    if found["pushes"]:
        yield "  pushed down by"
    for push in found["pushes"]:
        yield f"    {push['took']:>9.4f}  pick {push['picked_as'] + 1:<6,} {push['key']}  {_short(push['caption'])}"


def _neighbours(neighbours: list[Record]) -> Iterator[str]:
    yield "  nearest in the graph" if neighbours else "  it has no neighbours in the graph"
    for one in neighbours:
        outcome = "dropped" if one["rank"] is None else f"pick {one['rank'] + 1:,}"
        other = "" if one["same_concept"] else "  (another concept)"
        yield f"    {one['cosine']:>9.4f}  {outcome:<11} {one['key']}  {_short(one['caption'])}{other}"


def _pairs(pairs: Mapping[str, Any]) -> Iterator[str]:
    for name, value in pairs.items():
        if value not in (None, ""):
            yield f"  {name:<10} {value}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(text: str, width: int = WIDTH) -> str:
    """Return text in one line without control characters: captions are the web's, a terminal obeys escapes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= width else line[: width - 1] + "…"
