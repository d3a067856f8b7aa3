"""Arguments of the public functions that are of another kind than a function takes: one line each, no raw error."""

import numpy as np
import pytest
from finished_runs import write_finished
from pools import members, write_tar

import filtering
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.kakurenbo import Kakurenbo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "pool").mkdir()
    write_tar(folder / "pool/00000000.tar", members(0, 1))
    return write_finished(folder / "run", folder / "pool").url


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda run: filtering.explain(run, 5), "sample: 5 is not a text"),
        (lambda run: filtering.explain(run, b"a"), "sample: b'a' is not a text"),
        (lambda run: filtering.explain(5, "a"), "5 is no path or URL"),
        (lambda run: filtering.run(None), "config: None is not a Config, which load_config returns"),
        (lambda run: filtering.run("run.yaml"), "config: 'run.yaml' is not a Config, which load_config returns"),
        (lambda run: filtering.open_run(5), "5 is no path or URL"),
        (lambda run: filtering.load_config("run.yaml", "a=b"), "overrides: 'a=b' is not a list of texts"),
        (lambda run: filtering.load_config("run.yaml", [1]), r"overrides: \[1\] is not a list of texts"),
        (lambda run: filtering.load_config("run.yaml", None), "overrides: None is not a list of texts"),
        (lambda run: filtering.kept_pipeline(5), "5 is no path or URL"),
        (lambda run: filtering.kept_pipeline(run, shuffle="x"), "shuffle: 'x' is not a whole number"),
        (lambda run: filtering.kept_pipeline(run, shuffle=True), "shuffle: True is not a whole number"),
        (lambda run: filtering.kept_pipeline(run, on_changed=None), "on_changed: None is not a text"),
        (lambda run: filtering.kept_pipeline(run, handler="warn"), "handler: 'warn' is not a function"),
        (lambda run: filtering.kept_pipeline(run, offsets=5), "5 is no path or URL"),
        (
            lambda run: filtering.kept_pipeline(run, weights=5, resampled=True),
            "weights: 1 shards .* each needs .*",
        ),
        (lambda run: filtering.kept_pipeline(run, weights=["a"], resampled=True), "weights: 1 shards .*"),
        (lambda run: filtering.kept_pipeline(run).set_epoch(-1), "epoch: -1 is not a whole number, 0 or more"),
        (lambda run: filtering.kept_pipeline(run).set_epoch(2**70), "epoch: .* is not a whole number, 0 or more"),
        (lambda run: filtering.kept_pipeline(run).samples_of_node(0, rank="x"), "rank: 'x' is not a whole .*"),
        (lambda run: filtering.kept_pipeline(run).samples_of_node(0, 0, 1.5), "nodes: 1.5 is not a whole .*"),
        (lambda run: InfoBatch("pool", 5), "samples: 'pool' is not kept samples, a UidIndex or a number of samples"),
        (lambda run: InfoBatch(5, None), "epochs: None is not a whole number"),
        (lambda run: InfoBatch(5, 5, ratio="x"), "ratio: 'x' is not a number"),
        (lambda run: Kakurenbo(5, fraction="x", confidence=None), "fraction: 'x' .*\nconfidence: None is not a number"),
        (lambda run: Kakurenbo(5).weights("first"), "epoch: 'first' is not a whole number"),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_one_line(call, line, run):
    with pytest.raises(filtering.InputError, match=f"^{line}$"):
        call(run)


def test_numbers_of_numpy_are_numbers(run):
    pipeline = filtering.kept_pipeline(run, shuffle=np.int64(2), weights=np.ones(1), resampled=True)
    pipeline.set_epoch(np.int64(3))
    assert pipeline.samples_of_node(np.int32(0), np.int32(0), np.int32(1)) == 1
    assert InfoBatch(5, np.int64(2), np.float32(0.5)).weights(np.int64(0)).tolist() == [1] * 5
