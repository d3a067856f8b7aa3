"""The public interface says what it takes and returns: numpydoc's PR01 and RT01, which `make lint` leaves out."""

import pytest
from numpydoc.validate import validate

INTERFACE = [
    "filtering.config.run.load_config",
    "filtering.config.run.parse_config",
    "filtering.graph.KnnGraph",
    "filtering.graph.knn_graph",
    "filtering.manifests.diff.diff",
    "filtering.loaders.ChangedShardError",
    "filtering.loaders.KeptPipeline",
    "filtering.loaders.KeptPipeline.samples_of_node",
    "filtering.loaders.KeptPipeline.set_epoch",
    "filtering.loaders.kept_pipeline",
    "filtering.manifests.opened.OpenedRun.dropped",
    "filtering.manifests.opened.OpenedRun.kept",
    "filtering.manifests.opened.OpenedRun.quarantined",
    "filtering.manifests.opened.open_run",
    "filtering.pipeline.api.run",
    "filtering.pipeline.run.check",
    "filtering.pipeline.run.run",
    "filtering.planning.plan.plan",
    "filtering.selection.budgets.complexity_budgets",
    "filtering.selection.budgets.proportional_budgets",
    "filtering.selection.budgets.uniform_budgets",
    "filtering.selection.d2.forward_messages",
    "filtering.selection.d2.greedy_picks",
    "filtering.selection.d2.select",
    "filtering.runtime.status.status",
    "filtering.samplers.index.UidIndex",
    "filtering.samplers.index.UidIndex.find",
    "filtering.samplers.index.UidIndex.numbered",
    "filtering.samplers.index.UidIndex.positions",
    "filtering.samplers.infobatch.InfoBatch",
    "filtering.samplers.infobatch.InfoBatch.observe",
    "filtering.samplers.kakurenbo.Kakurenbo",
    "filtering.samplers.kakurenbo.Kakurenbo.learning_rate_factor",
    "filtering.samplers.kakurenbo.Kakurenbo.maximum_fraction",
    "filtering.samplers.kakurenbo.Kakurenbo.observe",
    "filtering.samplers.kakurenbo.Kakurenbo.rescoring_stage",
    "filtering.samplers.kakurenbo.Kakurenbo.unscored",
    "filtering.samplers.measures.class_measures",
    "filtering.samplers.measures.pair_measures",
    "filtering.samplers.sampler.EpochSampler",
    "filtering.samplers.sampler.EpochSampler.hidden_mask",
    "filtering.samplers.sampler.EpochSampler.load_state_dict",
    "filtering.samplers.sampler.EpochSampler.stage",
    "filtering.samplers.sampler.EpochSampler.state_dict",
    "filtering.samplers.sampler.EpochSampler.weights",
    "filtering.samplers.samples.kept_samples",
    "filtering.samplers.stream.Shown",
    "filtering.samplers.stream.Shown.__call__",
    "filtering.samplers.stream.sample_uid",
    "filtering.explanations.explain",
]
# Sections that no docstring need have, and SS05, which takes nouns for verbs.
LEFT_OUT = {"EX01", "SA01", "ES01", "SS05"}


@pytest.mark.parametrize("name", INTERFACE)
def test_sections_are_complete(name):
    assert [error for error in validate(name)["errors"] if error[0] not in LEFT_OUT] == []
