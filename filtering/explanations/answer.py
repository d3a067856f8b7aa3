"""Why a sample was kept, dropped or quarantined: its scores, its concept, its neighbours, and the step that decided."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array, cosines
from filtering.explanations.filters import of_filter
from filtering.explanations.find import Place, find
from filtering.explanations.sources import COLUMNS, Sources
from filtering.explanations.steps import deciding_step, of_step
from filtering.explanations.verdict import verdict
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, positions
from filtering.manifests.reasons import explained
from filtering.storage.store import Store

NEIGHBOURS = 10


def explain(run_url: str, sample: str) -> dict[str, Any]:
    """Return why a sample of a finished run was kept, dropped or quarantined.

    Parameters
    ----------
    run_url : str
        The run's directory.
    sample : str
        A uid, a key, the name of a tar member, or SHARD/KEY.

    Returns
    -------
    dict
        `outcome`, uid, key, shard, and `reason`, `meaning` (in plain words) of what is not kept; of a quarantined one
        `detail`. Of others the `verdict` (why, in a sentence), the caption, size and `scores`; where a filter decided,
        `filter`; else `concept` (number, words, size, density), `neighbours` (cosine, kept or not, rank), and `step`:
        the step of selection that decided, see `filtering.explanations.steps`.

    Raises
    ------
    InputError
        If there is no finished run, or no such sample.
    """
    sources = Sources(Store(run_url))
    place = find(sources.run, sample)
    found = {"run": run_url, "outcome": place.kind} | _named(place)
    if place.kind == "quarantined":
        return found | {"member": place.line["member"], "detail": place.line["detail"]}
    rows = sources.shard(place.shard).embedded.rows(COLUMNS)
    row = rows["uid"].to_pylist().index(place.line["uid"])
    line = rows.slice(row, 1).to_pylist()[0]
    found |= {name: line[name] for name in ("caption", "width", "height")}
    found["scores"] = {"clip_score": line["clip_score"]} | sources.scores(place.shard, row)
    if found["reason"].startswith("filter:"):
        found |= {"filter": of_filter(sources.record, found["reason"], line)}
    else:
        found |= _in_concept(sources, place, row, found["reason"])
    return found | {"verdict": verdict(found)}


def _named(place: Place) -> dict[str, Any]:
    reason = place.line.get("reason", "")
    meaning = explained(reason)[1] if reason else ""
    named = {name: place.line.get(name) for name in ("uid", "key", "shard")}
    return named | {"reason": reason, "meaning": meaning}


def _in_concept(sources: Sources, place: Place, row: int, reason: str) -> dict[str, Any]:
    concept = sources.home(place.shard, row)
    line = sources.concepts.slice(concept, 1).to_pylist()[0]
    part = read_graph(sources.folder("graph"), line["partition"])
    assert part is not None, "a partition that a sample stands in has rows"
    ident = int(global_rows(place.shard, np.array([row]))[0])
    at = int(positions(part.row, np.array([ident]))[0])
    step = deciding_step(sources, reason, line["partition"], ident)
    return {
        "concept": {
            "concept": concept,
            "words": list(sources.words(concept)),
            "size": line["size"],
            "density": 1 - line["d_intra"],
        },
        "neighbours": _neighbours(sources, part, at),
        "step": of_step(sources, step, part, line["partition"], at),
    }


def _neighbours(sources: Sources, part: ShardGraph, at: int) -> list[dict[str, Any]]:
    """Return a row's neighbours in the graph, the nearest first."""
    first, last = int(part.indptr[at]), int(part.indptr[at + 1])
    order = first + np.argsort(part.distances[first:last], kind="stable")[:NEIGHBOURS]
    ids, alike = part.indices[order], cosines(part.distances[order])
    inside = positions(part.row, ids)
    return [
        seen.plain() | {"cosine": round(cosine, 4), "same_concept": bool(same)}
        for seen, cosine, same in zip(
            sources.samples(ids.tolist()), alike.tolist(), _same_concept(part, at, inside), strict=True
        )
    ]


def _same_concept(part: ShardGraph, at: int, places: Int64Array) -> Sequence[bool]:
    here = (places >= 0) & (part.concept[places] == part.concept[at])
    same: list[bool] = here.tolist()
    return same
