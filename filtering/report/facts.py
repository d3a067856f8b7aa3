"""A run in plain words for the report: how it decided, facts, and measures."""

from collections.abc import Mapping, Sequence

from filtering.concepts.artifacts import Drift
from filtering.config.aliases import recorded_step
from filtering.config.methods import NoveltySettings
from filtering.config.selection import Step
from filtering.graph.artifacts import GraphResult
from filtering.report.data import Measure
from filtering.runtime.run_record import BaseRecord, FilterRecord, RunRecord, StepRecord
from filtering.selection.registry import SELECTORS, weighs_novelty

Facts = tuple[tuple[str, str], ...]
Figures = Mapping[str, Mapping[str, float | None]]
# By name: a label, the meaning, and which figures are better; neither where a difference is no fault.
MEANINGS = {
    "coverage": ("Coverage", "mean distance of the pool's images to the nearest kept image", "lower"),
    "matching": ("Matching", "squared distance of the mean embeddings of pool and selection", ""),
    "effective_concepts": (
        "Concepts in effect",
        "the number of equally filled concepts with the same diversity",
        "higher",
    ),
    "spread": ("Spread", "mean distance of dropped samples to the nearest kept neighbour in their concept", "lower"),
    "without_kept_neighbour": (
        "Not covered",
        "share of dropped samples without a kept neighbour in their concept",
        "lower",
    ),
}
# What a step does with the samples of a concept; methods that are not here have the registry's words.
HOW = {
    "d2": "in each concept it repeatedly picks the sample with the highest score, after mixing scores with those of "
    "the neighbours; each pick lowers the scores of its neighbours, so that samples similar to kept ones come later",
    "top": "the highest scores are kept",
    "threshold": "every sample whose score reaches the threshold is kept",
    "random": "samples are drawn at random",
    "ccs": "samples are drawn at random from each stratum of difficulty",
    "moderate": "the samples at middle distances from the median are kept",
    "semdedup": "one of several samples that look the same is kept",
    "all": "everything is kept",
}
NOVELTY = (
    "in each concept it repeatedly picks the sample with the highest expected novelty (the probability that image and "
    "caption belong together and that no pick covers it yet) less the probability that they do not belong together"
)
WEIGHED = "; novelty counts by the rank in the pool of how well they fit"
# How a budget distributes the kept samples over the concepts.
SHARES = {
    "proportional": "distributed over the concepts by their sizes",
    "uniform": "distributed equally over the concepts, as far as each concept has samples",
    "complexity": "distributed over the concepts: wide concepts far from the others get more",
    "strata": "distributed over strata of difficulty",
    "hierarchical": "distributed equally down a hierarchy of concepts",
    "distinct": "distributed over the concepts by the distinct right pairs that each is expected to hold",
    "pool": "taken from the whole pool, independent of the concept",
}
FILTERS = {
    "caption": "Captions must have the configured length",
    "image": "Images must have the configured size",
    "language": "Captions must be in one of the configured languages",
    "words": "Captions must contain a word of the list",
    "exclude": "Samples must not be on the list",
    "blur": "Pictures must not be blurred",
    "luminance": "Pictures must not be dark or bright all over",
    "entropy": "Pictures must hold some information",
    "column": "The pool's number must be within the configured bounds",
    "head": "The head's value of the image must be within the configured bounds",
    "text_share": "Text must take no more of a picture than configured",
    "faces": "Pictures must have no more and no larger faces than configured",
    "hash_duplicates": "Of pictures with nearly the same hash only the first goes on",
    "clip_score": "Image and caption must match: the CLIP score must be at least {threshold:.4g}",
}


def decisions(filters: Sequence[FilterRecord], steps: Sequence[StepRecord]) -> tuple[str, ...]:
    """Return a sentence for each filter and each step of selection, in order."""
    return (*map(_filter, filters), *map(_step, steps))


def judging_step(steps: Sequence[StepRecord]) -> StepRecord | None:
    """Return the last step that used a score; None if no step did."""
    return next((step for step in reversed(steps) if step["settings"]), None)


def _filter(found: FilterRecord) -> str:
    words = FILTERS[found["kind"]].format(threshold=found["threshold"])
    settings = {key: value if isinstance(value, list) else [value] for key, value in found["settings"].items()}
    given = ", ".join(f"{key} {', '.join(map(str, values))}" for key, values in settings.items())
    return f"Filter {found['kind']} ({given}): {words[0].lower()}{words[1:]}." if given else f"{words}."


def _step(found: StepRecord) -> str:
    if found["settings"] is None:
        return f"Samples that are in {found['reason'].partition(':')[2]} of the named selections go on."
    step = recorded_step(found["settings"])
    novel = isinstance(step.settings, NoveltySettings)
    how = NOVELTY + WEIGHED * weighs_novelty(step) if novel else HOW.get(step.method, SELECTORS[step.method].about)
    judged = "" if found["score"] == "uniform" else f", by {found['score']}"
    return f"Selection by {step.method}{' with expected novelty' * novel}{judged}: {how}.{_budget(step)}"


def _budget(step: Step) -> str:
    name = step.budget_name
    if name not in SHARES:
        return ""
    amount = f"{step.keep:,} samples" if isinstance(step.keep, int) else f"{100 * step.keep:g} %"
    return f" It keeps {amount}, {SHARES[name]} (budget {name})."


def dropped_in_order(run: RunRecord) -> dict[str, int]:
    """Return dropped samples by reason in the order in which the run decides: filters, then steps of selection."""
    counts = run["reasons"]["dropped"]
    order = [f"filter:{one['kind']}" for one in run["filters"]] + [one["reason"] for one in run["steps"]]
    known = [reason for reason in dict.fromkeys(order) if reason in counts]
    return {reason: counts[reason] for reason in [*known, *(reason for reason in counts if reason not in known)]}


def graph_facts(graph: GraphResult) -> Facts:
    """Return what is known about the graph besides its recall."""
    if not graph.nodes:
        return ()
    facts = {
        "Samples": f"{graph.nodes:,}",
        "Edges": f"{graph.edges // 2:,}",
        "Neighbours of a sample": f"{graph.mean_degree:.1f} on average, {graph.largest_degree:,} at most",
        "Edges between concepts": f"{100 * graph.crossing_share:.1f} %",
        "Samples without neighbours": f"{graph.isolated:,}",
    }
    if graph.components is not None:
        facts["Connected components"] = f"{graph.components:,}, the largest with {graph.largest_component:,} samples"
    return tuple(facts.items())


def base_facts(base: BaseRecord | None, drift: Drift | None) -> Facts:
    """Return the differences from the base of an incremental run; nothing for a run without a base."""
    if base is None:
        return ()
    concepts = base["concepts"]
    facts = {
        "Started from": base["run"],
        "Shards": ", ".join(f"{count:,} {name}" for name, count in base["shards"].items()),
        "Shards embedded": f"{base['embedded_shards']:,}",
        "Concepts searched again": f"{concepts['searched']:,} of {concepts['all']:,}",
    }
    if concepts["selected"] is not None:
        facts["Concepts selected again"] = f"{concepts['selected']:,} of {concepts['all']:,}"
    return (*facts.items(), *_drift_facts(drift))


def _drift_facts(drift: Drift | None) -> Facts:
    if drift is None:
        return ()
    distances = {"distance": drift.distance, "distance at fit": drift.distance_at_fit}
    return tuple((f"Drift: {name}", f"{value:.3g}") for name, value in distances.items() if value is not None)


def commands(output: str) -> Facts:
    """Return commands that reproduce the run and inspect it, each with its purpose."""
    return (
        ("filtering run --config run.yaml", "writes the same manifest again; save the configuration below as run.yaml"),
        (f"filtering verify {output}", "checks the counts, checksums and schemas of the manifest"),
        (f"filtering explain {output} UID", "why a sample was kept or dropped: its scores, rank and neighbours"),
        (f"filtering report {output} --against RUN", "this report, with the changes since another run"),
        (f"filtering export {output} --format datacomp --out subset.npy", "the kept samples as DataComp's subset file"),
    )


def measure_rows(figures: Figures) -> tuple[Measure, ...]:
    """Return a run's measures, as run.json has them, in the order to show them."""
    return tuple(_measure(name, values) for name, values in figures.items() if name in MEANINGS)


def _measure(name: str, values: Mapping[str, float | None]) -> Measure:
    label, meaning, better = MEANINGS[name]
    return Measure(label, meaning, values.get("pool"), values.get("selection"), values.get("random"), better)
