"""The run.json: the configuration of a run, its results, and warnings for a person."""

import contextlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import filtering
from filtering.config.filters import Filter
from filtering.core.formatting import counted
from filtering.filters.artifacts import FiltersResult
from filtering.manifests.artifacts import ManifestsResult
from filtering.measures.artifacts import MeasuresResult
from filtering.pipeline.context import Neighbourhood, RunContext, SelectionInputs, run_id
from filtering.pipeline.selection_steps import Selected, TakenStep
from filtering.pipeline.step_checks import unread_sizes
from filtering.pipeline.step_words import auto_warnings
from filtering.runtime.finished_run import Reusable
from filtering.runtime.records import JsonObject, to_plain
from filtering.runtime.run_record import BaseRecord, FilterRecord, RecordedConfig, RedoneConcepts, RunRecord
from filtering.selection.artifacts import SelectionResult

PACKAGES = ("ray", "numpy", "pyarrow", "faiss-cpu", "open_clip_torch", "torch")


def run_summary(
    context: RunContext,
    inputs: SelectionInputs,
    selected: Selected,
    measures: MeasuresResult,
    manifests: ManifestsResult,
) -> RunRecord:
    """Return run.json as far as it is known when the manifests are written."""
    config, drift = context.config, inputs.concepts.result.drift
    record = RunRecord(
        run_id=run_id(config, context.shards),
        config=cast(RecordedConfig, config.resolved()),
        config_hash=config.digest(),
        versions=_versions(),
        stages=context.costs(),
        recall=inputs.graph.result.recall,
        graph=_statistics(inputs.images),
        measures=to_plain(measures),
        totals=manifests.totals,
        reasons=manifests.reasons,
        warnings=[
            *config.warnings,
            *inputs.embedding.result.warnings,
            *inputs.filters.result.warnings,
            *(line for stage in selected.scores.values() for line in stage.result.warnings),
            *dict.fromkeys(line for step in selected.steps for line in step.stage.result.warnings),
            *_warnings(inputs, selected),
            *unread_sizes(config),
            *auto_warnings(config),
        ],
        objects=context.folders(),
        filters=_filters(config.filters, inputs.filters.result),
        steps=[step.record() for step in selected.steps],
        scores={name: stage.key.folder for name, stage in selected.scores.items()},
        manifest_hash=manifests.manifest_hash,
        sources=dict(context.sources),
    )
    if manifests.epoch:
        record["epoch_samples"] = manifests.epoch
    if inputs.texts is not None:
        record["text_graph"] = _statistics(inputs.texts)
    if learned := {name: to_plain(one.result.right) for name, one in selected.scores.items() if one.result.right}:
        record["right"] = learned
    if context.reusable is not None:
        record["base"] = _base(context.reusable, inputs, selected.last.result)
    if drift is not None:
        record["drift"] = to_plain(drift)
    return record


def _statistics(side: Neighbourhood) -> JsonObject:
    return {name: value for name, value in to_plain(side.graph.result).items() if value is not None}


def _filters(filters: Sequence[Filter], found: FiltersResult) -> list[FilterRecord]:
    return [
        FilterRecord(
            kind=step.kind,
            settings=getattr(step, step.kind).model_dump(mode="json", exclude_defaults=True),
            threshold=threshold if step.clip_score is not None else None,
        )
        for step, threshold in zip(filters, found.thresholds, strict=True)
    ]


def _base(reusable: Reusable, inputs: SelectionInputs, selection: SelectionResult) -> BaseRecord:
    every, searched = inputs.concepts.result.concepts, inputs.graph.result.searched_concepts
    return BaseRecord(
        run=reusable.base.run.url,
        run_id=reusable.base.record["run_id"],
        shards=reusable.changes.counts(),
        embedded_shards=inputs.embedding.result.embedded_shards,
        concepts=RedoneConcepts(
            all=every,
            searched=every if searched is None else searched,
            selected=selection.selected_concepts,
        ),
    )


def _warnings(inputs: SelectionInputs, selected: Selected) -> list[str]:
    found = []
    wanted, available = selected.last.result.wanted, selected.last.result.available
    sides = [("", inputs.images), *([(" of captions", inputs.texts)] if inputs.texts else [])]
    if selected.last.result.picks == 0:
        found.append(_nothing_kept(selected.steps))
    elif wanted > available:
        found.append(f"selection.keep asks for {wanted:,} samples, but only {available:,} reached selection")
    for name, side in sides:
        drift, recall = side.concepts.result.drift, side.graph.result.recall
        due = drift.refit if drift else ()
        found += [f"a refit of the concepts{name} is due (concepts.refit): {line}" for line in due]
        if recall < 0.9:
            found.append(f"the recall of the graph{name} is {recall:.2f}; raise graph.mean_replicas or graph.recall")
    return found


def _nothing_kept(steps: Sequence[TakenStep]) -> str:
    """Return what the first step says that picked nothing, where the last one did."""
    step = next(step for step in steps if step.stage.result.picks == 0)
    available = counted(step.stage.result.available, "sample")
    if step.settings is None:
        return f"no sample is in {step.stage.result.summary.partition(' in ')[2]}, so nothing is kept"
    if step.stage.result.available == 0:
        return "no sample reached selection, so nothing is kept; the reasons below say why"
    if not step.settings.reads_keep:
        return f"{step.settings.method} keeps none of {available} that reached it, so nothing is kept"
    return (
        f"selection.keep: {step.settings.keep:g} of {available} that reached {step.settings.method} is less than one, "
        "so nothing is kept; raise keep"
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "filtering": filtering.__version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
