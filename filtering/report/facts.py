"""What run.json says of a run, as labels and text for the page."""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
Facts = tuple[tuple[str, str], ...]


def dropped_in_order(run: Record) -> dict[str, int]:
    """Return dropped samples by reason in the order in which a run decides: filters, then steps of selection."""
    counts = run["reasons"]["dropped"]
    order = [f"filter:{one['kind']}" for one in run["filters"]] + [one["reason"] for one in run["steps"]]
    known = [reason for reason in dict.fromkeys(order) if reason in counts]
    return {reason: counts[reason] for reason in [*known, *(reason for reason in counts if reason not in known)]}


def graph_facts(graph: Record) -> Facts:
    """Return what is known of the graph beside its recall."""
    if not graph["nodes"]:
        return ()
    facts = {
        "Samples": f"{graph['nodes']:,}",
        "Edges": f"{graph['edges'] // 2:,}",
        "Neighbours of a sample": f"{graph['mean_degree']:.1f} on average, {graph['largest_degree']:,} at most",
        "Edges between concepts": f"{100 * graph['crossing_share']:.1f} %",
        "Samples without neighbours": f"{graph['isolated']:,}",
        "Connected parts": f"{graph['components']:,}, the largest of {graph['largest_component']:,} samples",
    }
    return tuple(facts.items())


def base_facts(run: Record) -> Facts:
    """Return what was new against the run that this one started from; nothing without one."""
    base = run.get("base")
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
    drift = run.get("drift", {})
    facts |= {
        f"Drift: {name.replace('_', ' ')}": f"{value:.3g}" for name, value in drift.items() if isinstance(value, float)
    }
    return tuple(facts.items())


def commands(run: Record, output: str) -> Facts:
    """Return commands that reproduce a run and look further, each with what it does."""
    return (
        ("filtering run --config run.yaml", "the same manifest again, from the configuration below saved as run.yaml"),
        (f"filtering verify {output}", "checks counts, checksums and schemas of what is in the manifest"),
        (f"filtering explain {output} UID", "why a sample was kept or dropped: scores, rank, neighbours"),
        (f"filtering report {output} --against RUN", "this page, with what changed against another run"),
        (f"filtering export {output} --format datacomp --out subset.npy", "the kept samples as DataComp's subset file"),
    )
