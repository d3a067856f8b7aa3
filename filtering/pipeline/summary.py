"""What run.json says of a run: what it was asked for, what it found, and what a person should look at."""

import contextlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import filtering
from filtering.config.filters import Filter
from filtering.filters.artifacts import FiltersResult
from filtering.manifests.artifacts import ManifestsResult
from filtering.measures.artifacts import MeasuresResult
from filtering.pipeline.context import RunContext, SelectionInputs, run_id
from filtering.pipeline.selection_steps import Selected, unread
from filtering.runtime.finished_run import Reusable
from filtering.runtime.records import to_plain
from filtering.selection.artifacts import SelectionResult

PACKAGES = ("ray", "numpy", "pyarrow", "faiss-cpu", "open_clip_torch", "torch")


def run_summary(
    context: RunContext,
    inputs: SelectionInputs,
    selected: Selected,
    measures: MeasuresResult,
    manifests: ManifestsResult,
) -> dict[str, Any]:
    """Return run.json as far as it is known once the manifests are written."""
    config, drift = context.config, inputs.concepts.result.drift
    graph = {name: value for name, value in to_plain(inputs.graph.result).items() if value is not None}
    return {
        "run_id": run_id(config, context.shards),
        "config": config.resolved(),
        "config_hash": config.digest(),
        "versions": _versions(),
        "stages": context.costs(),
        "recall": inputs.graph.result.recall,
        "graph": graph,
        "measures": to_plain(measures),
        "totals": manifests.totals,
        "reasons": manifests.reasons,
        "warnings": [*config.warnings, *_warnings(inputs, selected.last.result), *unread(config)],
        "objects": context.folders(),
        "filters": _filters(config.filters, inputs.filters.result),
        "steps": [step.plain() for step in selected.steps],
        "scores": {name: stage.key.folder for name, stage in selected.scores.items()},
        "manifest_hash": manifests.manifest_hash,
        **({"base": _of_base(context.reusable, inputs, selected.last.result)} if context.reusable else {}),
        **({"drift": to_plain(drift)} if drift is not None else {}),
    }


def _filters(filters: Sequence[Filter], found: FiltersResult) -> list[dict[str, Any]]:
    """Return the filters with the settings that were given and, of clip_score, the threshold that they came to."""
    return [
        {
            "kind": step.kind,
            "settings": getattr(step, step.kind).model_dump(mode="json", exclude_defaults=True),
            "threshold": threshold if step.clip_score is not None else None,
        }
        for step, threshold in zip(filters, found.thresholds, strict=True)
    ]


def _of_base(reusable: Reusable, inputs: SelectionInputs, selection: SelectionResult) -> dict[str, Any]:
    """Return what was new against the base, and how much work that was."""
    every, searched = inputs.concepts.result.concepts, inputs.graph.result.searched_concepts
    return {
        "run": reusable.base.url,
        "run_id": reusable.base.record["run_id"],
        "shards": reusable.changes.counts(),
        "embedded_shards": inputs.embedding.result.embedded_shards,
        "concepts": {
            "all": every,
            "searched": every if searched is None else searched,
            "selected": selection.selected_concepts,
        },
    }


def _warnings(inputs: SelectionInputs, selection: SelectionResult) -> list[str]:
    found = []
    wanted, available, recall = selection.wanted, selection.available, inputs.graph.result.recall
    drift = inputs.concepts.result.drift
    if available == 0:
        found.append("no sample reached selection, so nothing is kept; the reasons below say why")
    elif wanted > available:
        found.append(f"selection.keep asks for {wanted:,} samples, but only {available:,} reached selection")
    found += [f"a refit of the concepts is due (concepts.refit): {line}" for line in (drift.refit if drift else ())]
    if recall < 0.9:
        found.append(f"the graph's recall is {recall:.2f}; raise graph.mean_replicas or graph.recall")
    return found


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "filtering": filtering.__version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
