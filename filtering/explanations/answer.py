"""Why a sample was kept, dropped or quarantined: its scores, its concept, its neighbours, and the step that decided."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filtering.concepts.partition import global_rows
from filtering.config.filters import Filter
from filtering.config.methods import METHODS
from filtering.core.arguments import TEXT, check_arguments
from filtering.core.csr import cosines
from filtering.core.errors import DamagedError, FilteringError, one_line
from filtering.core.fields import score_column
from filtering.core.places import PathOrUrl
from filtering.explanations.explanation import (
    ConceptFacts,
    Explanation,
    FilterFacts,
    Messages,
    Neighbour,
    Novelty,
    StepFacts,
)
from filtering.explanations.find import Place, find
from filtering.explanations.sources import COLUMNS, Sources
from filtering.explanations.steps import deciding_step, of_step
from filtering.filters.column_filters import columns_read, known_of
from filtering.graph.artifacts import GRAPH_NAME, read_graph
from filtering.graph.sharded import ShardGraph, positions
from filtering.manifests.reasons import explained, reasons_of_novelty
from filtering.runtime import latest
from filtering.runtime.run_record import RunRecord
from filtering.selection.novelty import gain_of
from filtering.storage.store import Store

NEIGHBOURS = 10


def explain(run_url: PathOrUrl, sample: str) -> Explanation:
    """Return why a sample of a finished run was kept, dropped or quarantined.

    Parameters
    ----------
    run_url : str or path-like
        The run's directory.
    sample : str
        A uid, a key, the name of a tar member, SHARD/KEY, or the URL of an image.

    Returns
    -------
    Explanation
        A dictionary: `outcome`, uid, key, shard, and `reason`, `meaning` (in plain words) of what is not kept; of a
        quarantined sample `detail`. Of others the `verdict` (why, in a sentence), the caption, size and `scores`; where
        a filter decided, `filter`; else `concept`, `neighbours`, and `step`, the step of selection that decided.

    Raises
    ------
    InputError
        If there is no finished run, or no such sample.
    DamagedError
        If an object of the run is damaged or gone, or its objects disagree.
    """
    check_arguments(sample=(sample, TEXT))
    sources = Sources(Store(latest.run_url(run_url)))
    place = find(sources.finished, sample)
    try:
        return _explained(sources, place)
    except FilteringError:
        raise
    except (LookupError, ValueError, TypeError, StopIteration, AssertionError, ArithmeticError, OSError) as error:
        # Each object is what it should be, but what one says of the sample is not in another.
        fault = f"its objects disagree about {sample} ({one_line(error)})"
        raise DamagedError(sources.run.url, fault, "check it with filtering verify") from error


def _explained(sources: Sources, place: Place) -> Explanation:
    found = Explanation(run=sources.run.url, outcome=place.kind)
    found.update(_named(place, reasons_of_novelty(sources.record["steps"])))
    if place.kind == "quarantined":
        found["member"], found["detail"] = place.line["member"], place.line["detail"]
        return found
    rows = sources.shard(place.shard).embedded.rows([*COLUMNS, *_read_by(sources.record, place.line.get("reason", ""))])
    row = rows["uid"].to_pylist().index(place.line["uid"])
    line = rows.slice(row, 1).to_pylist()[0]
    found["caption"], found["width"], found["height"] = line["caption"], line["width"], line["height"]
    found["scores"] = {"clip_score": line["clip_score"]} | sources.scores(place.shard, row)
    if found["reason"].startswith("filter:"):
        found["filter"] = _of_filter(sources.record, found["reason"], line)
    else:
        found.update(_in_concept(sources, place, row, found["reason"]))
    found["verdict"] = _verdict(found)
    return found


def _named(place: Place, novelty: Sequence[str]) -> Explanation:
    line, reason = place.line, place.line.get("reason", "")
    meaning = explained(reason, novelty)[1] if reason else ""
    return Explanation(uid=line.get("uid"), key=line.get("key"), shard=line["shard"], reason=reason, meaning=meaning)


def _read_by(record: RunRecord, reason: str) -> list[str]:
    """Return the columns of signals that the filter of a reason, such as filter:blur, reads."""
    kind = reason.removeprefix("filter:")
    settings = next((each["settings"] for each in record["filters"] if each["kind"] == kind), None)
    return [] if settings is None else columns_read(Filter.model_validate({kind: settings}))


def _of_filter(record: RunRecord, reason: str, line: Mapping[str, Any]) -> FilterFacts:
    """Return what a filter (its reason, such as filter:caption) asks for, and what a sample has."""
    kind = reason.partition(":")[2]
    # Of several filters of a kind nobody noted which one it was; the first is shown where there is one.
    one = next(each for each in record["filters"] if each["kind"] == kind)
    asked = dict(one["settings"]) | ({} if one["threshold"] is None else {"threshold": one["threshold"]})
    caption = line["caption"]
    has = {
        "caption": {"words": len(caption.split()), "characters": len(caption)},
        "image": {"width": line["width"], "height": line["height"]},
        "clip_score": {"clip_score": line["clip_score"]},
        "exclude": {"uid": line["uid"]},
        "hash_duplicates": {"uid": line["uid"]},
        "head": {"uid": line["uid"]},
    }
    signals = known_of(line, _read_by(record, reason))
    return FilterFacts(filter=kind, asks=asked, has=signals or has.get(kind, {"caption": caption}))


def _in_concept(sources: Sources, place: Place, row: int, reason: str) -> Explanation:
    concept = sources.home(place.shard, row)
    line = sources.concepts.slice(concept, 1).to_pylist()[0]
    words, size, partition = list(sources.words(concept)), line["size"], line["partition"]
    part = read_graph(sources.folder("graph"), partition)
    if part is None:
        where = sources.folder("graph").path(GRAPH_NAME.format(partition))
        raise DamagedError(where, "is not there, or has no rows; the run is not whole")
    ident = int(global_rows(place.shard, np.array([row]))[0])
    at = int(positions(part.row, np.array([ident]))[0])
    step = deciding_step(sources, reason, partition, ident)
    return Explanation(
        concept=ConceptFacts(concept=concept, words=words, size=size, density=1 - line["d_intra"]),
        neighbours=_neighbours(sources, part, at),
        step=of_step(sources, step, part, partition, at),
    )


def _neighbours(sources: Sources, part: ShardGraph, at: int) -> list[Neighbour]:
    """Return a row's neighbours in the graph, the nearest first."""
    first, last = int(part.indptr[at]), int(part.indptr[at + 1])
    order = first + np.argsort(part.distances[first:last], kind="stable")[:NEIGHBOURS]
    ids, alike = part.indices[order], cosines(part.distances[order])
    places = positions(part.row, ids)
    same = (places >= 0) & (part.concept[places] == part.concept[at])
    return [
        {**seen, "cosine": round(cosine, 4), "same_concept": here}
        for seen, cosine, here in zip(sources.samples(ids.tolist()), alike.tolist(), same.tolist(), strict=True)
    ]


def _verdict(found: Explanation) -> str:
    """Return in a sentence why a sample was kept or dropped."""
    if "filter" in found:
        return _filtered(found)
    step, messages, novelty = found["step"], found["step"]["messages"], found["step"]["novelty"]
    if found["outcome"] == "kept" and step["rank"] is not None:
        return f"pick {step['rank'] + 1:,} of {step['picked']:,} in its concept" + _by_score(step)
    if not step["budget"] and not METHODS[step["method"]].decides:
        return f"its concept got no budget from {step['method']}"
    if messages is not None and messages["pushes"] and messages["last_pick"] is not None:
        return _pushed(messages, messages["last_pick"])
    if novelty is not None and novelty["last_gain"] is not None:
        return _not_novel(novelty, novelty["last_gain"])
    covered = next((one for one in found["neighbours"] if one["kept"] and one["same_concept"]), None)
    if step["method"] == "semdedup" and covered:
        return f"it looks like {covered['key']}, which is kept (cosine {covered['cosine']:.3f})"
    if step["least_picked"] is not None and step["value"] < step["least_picked"]:
        return f"its {step['score']}, {step['value']:.4f}, is below the lowest one picked, {step['least_picked']:.4f}"
    return str(found["meaning"])


def _filtered(found: Explanation) -> str:
    asks, has = found["filter"]["asks"], found["filter"]["has"]
    if found["filter"]["filter"] == "clip_score":
        of = None if asks.get("of") is None else str(asks["of"])
        score = has[score_column(of)]
        return f"its CLIP score{f' by {of}' if of else ''}, {score:.4f}, is below {asks['threshold']:.4f}"
    return str(found["meaning"])


def _by_score(step: StepFacts) -> str:
    messages, novelty = step["messages"], step["novelty"]
    if novelty is not None:
        expected = _worth(novelty) * novelty["novelty"]
        return f": its expected novelty was {expected:.2f} when it was picked, with {_judged(novelty)}"
    return "" if messages is None else f": its score was {messages['left']:.4f} when it was picked"


def _worth(novelty: Novelty) -> float:
    return novelty["probability"] * novelty["weight"]


def _judged(novelty: Novelty) -> str:
    weighed = f", weight {novelty['weight']:.2f} by fit" if novelty["weight"] < 1 else ""
    return f"P(right) {novelty['probability']:.2f}{weighed}"


def _not_novel(found: Novelty, last_gain: float) -> str:
    p, worth, last = found["probability"], _worth(found), f"that of the last pick, {last_gain:.2f}"
    # Even before any pick covered it, it was not worth more than the last pick.
    alone = gain_of(p, 1.0, found["weight"])
    if alone < last_gain or not found["covers"]:
        better = "others are at least as surely right" + " and fit as well" * (found["weight"] < 1)
        why = "it is probably mismatched" if p < 0.5 else better
        return f"{why}: {_judged(found)}; its gain, {alone:.2f}, is not above {last}"
    first, left = found["covers"][0], worth * found["covers"][0]["factor"]
    return (
        f"pick {first['picked_as'] + 1:,}, {first['key']}, already covers it: its expected novelty fell from "
        f"{worth:.2f} to {left:.2f}; its gain, {found['gain']:.2f}, is below {last}"
    )


def _pushed(messages: Messages, last_pick: float) -> str:
    first = messages["pushes"][0]
    heard, left, last = messages["heard"], f"{messages['left']:.4f}", f"{last_pick:.4f}"
    if heard < last_pick:
        return (
            f"its score with its neighbours' messages, {heard:.4f}, is below that of the last pick, {last}, "
            "even before any pick lowered it"
        )
    return (
        f"pick {first['picked_as'] + 1:,}, {first['key']}, already covers it: its score fell from {heard:.4f} to "
        f"{heard - first['took']:.4f}; at the last pick its score was {left}, and that of the sample picked {last}"
    )
