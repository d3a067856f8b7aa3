"""What run.json says of a run: what it was asked for, what it found, and what a person should look at."""

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import filtering
from filtering.pipeline.context import Way
from filtering.pipeline.selection_steps import Selecting, unread

PACKAGES = ("ray", "numpy", "pyarrow", "faiss-cpu", "open_clip_torch", "torch")


def run_summary(way: Way, selecting: Selecting, run_id: str) -> dict[str, Any]:
    """Return run.json as far as it is known once the manifests are written."""
    results, config_hash = way.results, way.config.digest()
    return {
        "run_id": run_id,
        "config": way.config.resolved(),
        "config_hash": config_hash,
        "versions": _versions(),
        "stages": list(way.costs),
        "recall": results["graph"]["recall"],
        "graph": results["graph"],
        "measures": results["measures"],
        "totals": results["manifests"]["totals"],
        "reasons": results["manifests"]["reasons"],
        "warnings": [*way.config.warnings, *_warnings(results), *unread(way.config)],
        "objects": {name: way.folder(url) for name, url in way.stores.items()},
        "filters": _filters(way),
        "steps": selecting.plain(),
        "scores": {name: way.folder(url) for name, url in selecting.scores.items()},
        "manifest_hash": results["manifests"]["manifest_hash"],
        **({"base": _of_base(way)} if way.carried else {}),
        **({"drift": results["concepts"]["drift"]} if "drift" in results["concepts"] else {}),
    }


def _filters(way: Way) -> list[dict[str, Any]]:
    """Return the filters with the settings that were given and, of clip_score, the threshold that they came to."""
    thresholds = way.results["filters"]["thresholds"]
    return [
        {
            "kind": step.kind,
            "settings": getattr(step, step.kind).model_dump(mode="json", exclude_defaults=True),
            "threshold": threshold if step.clip_score is not None else None,
        }
        for step, threshold in zip(way.config.filters, thresholds, strict=True)
    ]


def _of_base(way: Way) -> dict[str, Any]:
    """Return what was new against the base, and how much work that was."""
    assert way.carried is not None
    base, results = way.carried.base, way.results
    return {
        "run": base.url,
        "run_id": base.record["run_id"],
        "shards": way.carried.changes.counts(),
        "embedded_shards": results["embedding"]["embedded_shards"],
        "concepts": {
            "all": results["concepts"]["concepts"],
            "searched": results["graph"].get("searched_concepts", results["concepts"]["concepts"]),
            "selected": results["selection"].get("selected_concepts"),
        },
    }


def _warnings(results: dict[str, Any]) -> list[str]:
    found = []
    wanted, available = results["selection"]["wanted"], results["selection"]["available"]
    if available == 0:
        found.append("no sample reached selection, so nothing is kept; the reasons below say why")
    elif wanted > available:
        found.append(f"selection.keep asks for {wanted:,} samples, but only {available:,} reached selection")
    found += [f"a refit of the concepts is due (concepts.refit): {line}" for line in _drifted(results)]
    if results["graph"]["recall"] < 0.9:
        found.append(
            f"the graph's recall is {results['graph']['recall']:.2f}; raise graph.mean_replicas or graph.recall"
        )
    return found


def _drifted(results: dict[str, Any]) -> list[str]:
    lines: list[str] = results["concepts"].get("drift", {}).get("refit", [])
    return lines


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "filtering": filtering.__version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
