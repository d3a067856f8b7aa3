"""`filtering explain`: why a run kept, dropped or quarantined a sample."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filtering.cli.declaration import RUN, Command, argument
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run
from filtering.core.visible import visible

Record = Mapping[str, Any]
WIDTH = 60


def _explain(given: argparse.Namespace) -> int:
    from filtering.explanations import explain

    found = explain(existing_run(given.run), given.sample)
    return print_result(given, found, lambda: explain_lines(found))


def explain_lines(found: Record) -> list[str]:
    """Return the outcome and its reason first, then what they follow from, in plain lines."""
    return list(_lines(found))


def _lines(found: Record) -> Iterator[str]:
    yield f"{found['key'] or found.get('member') or found['shard']}: {_outcome(found)}"
    if found["outcome"] == "quarantined":
        yield from _pairs({"shard": found["shard"], "member": found["member"], "detail": found["detail"]})
        return
    size = f"{found['width']} x {found['height']}" if found["width"] else "size unknown"
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
    yield from _pairs({"filter": f"{found['filter']} requires {asks}", "sample": has})


def _concept(concept: Record, step: Record) -> Iterator[str]:
    words = f" ({', '.join(concept['words'])})" if concept["words"] else ""
    yield from _pairs(
        {
            "concept": f"{concept['concept']}{words}: {concept['size']:,} samples, budget {step['budget']:,}, "
            f"{step['picked']:,} picked by {step['method']}"
        }
    )


def _step(step: Record) -> Iterator[str]:
    least = f"; the lowest score picked is {step['least_picked']:.4f}" if step["picked"] else ""
    # Its place among scores; rank, as in manifests, is the order in which the samples of a concept were picked.
    place = f"{step['higher'] + 1:,} of {step['candidates']:,} from the top"
    yield from _pairs({"score": f"{step['value']:.4f} by {step['score']}, {place}{least}"})
    if step["messages"] is not None:
        yield from _messages(step)
    if step["novelty"] is not None:
        yield from _novelty(step)


def _messages(step: Record) -> Iterator[str]:
    found = step["messages"]
    last = f"at the last pick (score {found['last_pick']:.4f})" if step["picked"] else "without a pick"
    when = "when it was picked" if step["rank"] is not None else last
    yield from _pairs(
        {
            "messages": f"score {step['value']:.4f}; {found['heard']:.4f} with its neighbours' messages; lowered "
            f"{found['taken']:.4f} by picks, to {found['left']:.4f} {when}"
        }
    )
    if found["pushes"]:
        yield "  lowered by"
    for push in found["pushes"]:
        yield f"    {push['took']:>9.4f}  pick {push['picked_as'] + 1:<6,} {push['key']}  {_short(push['caption'])}"


def _novelty(step: Record) -> Iterator[str]:
    found = step["novelty"]
    last = f"at the last pick (gain {found['last_gain']:.4f})" if step["picked"] else "without a pick"
    when = "when it was picked" if step["rank"] is not None else last
    weighed = f", weight {found['weight']:.4f} by fit" if found["weight"] < 1 else ""
    yield from _pairs(
        {
            "novelty": f"P(right) {found['probability']:.4f}; {found['novelty']:.4f} of it not covered by picks"
            f"{weighed}, a gain of {found['gain']:.4f} {when}"
        }
    )
    if found["covers"]:
        yield "  covered by (the novelty left by each)"
    for one in found["covers"]:
        yield f"    {one['factor']:>9.4f}  pick {one['picked_as'] + 1:<6,} {one['key']}  {_short(one['caption'])}"


def _neighbours(neighbours: Sequence[Record]) -> Iterator[str]:
    yield "  nearest in the graph" if neighbours else "  no neighbours in the graph"
    for one in neighbours:
        outcome = "dropped" if one["rank"] is None else f"pick {one['rank'] + 1:,}"
        other = "" if one["same_concept"] else "  (in a different concept)"
        yield f"    {one['cosine']:>9.4f}  {outcome:<11} {one['key']}  {_short(one['caption'])}{other}"


def _pairs(pairs: Record) -> Iterator[str]:
    for name, value in pairs.items():
        if value not in (None, ""):
            yield f"  {name:<10} {value}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(caption: str, width: int = WIDTH) -> str:
    """Return text in one line of at most `width` characters, as it is printed."""
    line = visible(" ".join(caption.split()))
    return line if len(line) <= width else line[: width - 1] + "…"


COMMAND = Command(
    name="explain",
    help="explain why a sample was kept, dropped or quarantined",
    examples=("filtering explain runs/first 00000000/000000012",),
    arguments=(
        RUN,
        argument("sample", metavar="SAMPLE", help="its uid, key, SHARD/KEY, file name, or the URL of its image"),
    ),
    body=_explain,
)
