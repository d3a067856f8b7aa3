"""The public interface says what it takes and returns: numpydoc's PR01 and RT01, which `make lint` leaves out."""

import pytest
from numpydoc.validate import validate

INTERFACE = [
    "filtering.config.load_config",
    "filtering.config.parse_config",
    "filtering.graph.KnnGraph",
    "filtering.graph.knn_graph",
    "filtering.manifests.diff.diff",
    "filtering.manifests.training.ChangedShardError",
    "filtering.manifests.training.KeptPipeline",
    "filtering.manifests.training.KeptPipeline.samples_of_node",
    "filtering.manifests.training.KeptPipeline.set_epoch",
    "filtering.manifests.training.kept_pipeline",
    "filtering.pipeline.check",
    "filtering.pipeline.run",
    "filtering.plan.plan",
    "filtering.selection.budgets.complexity_budgets",
    "filtering.selection.budgets.proportional_budgets",
    "filtering.selection.budgets.uniform_budgets",
    "filtering.selection.d2.forward_messages",
    "filtering.selection.d2.greedy_picks",
    "filtering.selection.d2.select",
    "filtering.status.status",
    "filtering.training.index.UidIndex",
    "filtering.training.index.UidIndex.find",
    "filtering.training.index.UidIndex.numbered",
    "filtering.training.index.UidIndex.positions",
    "filtering.training.infobatch.InfoBatch",
    "filtering.training.infobatch.InfoBatch.observe",
    "filtering.training.kakurenbo.Kakurenbo",
    "filtering.training.kakurenbo.Kakurenbo.learning_rate_factor",
    "filtering.training.kakurenbo.Kakurenbo.maximum_fraction",
    "filtering.training.kakurenbo.Kakurenbo.observe",
    "filtering.training.kakurenbo.Kakurenbo.rescoring_stage",
    "filtering.training.kakurenbo.Kakurenbo.unscored",
    "filtering.training.measures.class_measures",
    "filtering.training.measures.pair_measures",
    "filtering.training.sampler.EpochSampler",
    "filtering.training.sampler.EpochSampler.hidden_mask",
    "filtering.training.sampler.EpochSampler.load_state_dict",
    "filtering.training.sampler.EpochSampler.stage",
    "filtering.training.sampler.EpochSampler.state_dict",
    "filtering.training.sampler.EpochSampler.weights",
    "filtering.training.samples.kept_samples",
    "filtering.training.stream.Shown",
    "filtering.training.stream.Shown.__call__",
    "filtering.training.stream.sample_uid",
    "filtering.why.why",
]
# Sections that no docstring need have, and SS05, which takes nouns for verbs.
LEFT_OUT = {"EX01", "SA01", "ES01", "SS05"}


@pytest.mark.parametrize("name", INTERFACE)
def test_sections_are_complete(name):
    assert [error for error in validate(name)["errors"] if error[0] not in LEFT_OUT] == []
