"""Facts and measures of a run, as labels and text for the report."""

from collections.abc import Mapping

from filtering.concepts.artifacts import Drift
from filtering.graph.artifacts import GraphResult
from filtering.report.data import Measure
from filtering.runtime.run_record import BaseRecord, RunRecord

Facts = tuple[tuple[str, str], ...]
Figures = Mapping[str, Mapping[str, float | None]]
MEANINGS = {
    "coverage": ("Coverage", "mean distance of the pool's images to the nearest kept image; less is better"),
    "matching": (
        "Matching",
        "squared distance of the mean embeddings of pool and selection; less is closer to the pool",
    ),
    "effective_concepts": (
        "Concepts in effect",
        "the number of equally filled concepts with the same diversity; more is more even",
    ),
    "spread": (
        "Spread",
        "mean distance of dropped samples to the nearest kept neighbour in their concept; less is better",
    ),
    "without_kept_neighbour": ("Not covered", "share of dropped samples without a kept neighbour in their concept"),
}


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
    return tuple(
        Measure(*MEANINGS[name], *(values.get(choice) for choice in ("pool", "selection", "random")))
        for name, values in figures.items()
        if name in MEANINGS
    )
