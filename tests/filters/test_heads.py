import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pools import Silent, metadata_config, write_metadata
from safetensors.torch import save_file

from filtering import open_run
from filtering.config.filters import HeadFilter
from filtering.config.head import Head
from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.embedding.artifacts import unit_rows
from filtering.filters.heads import head_identity, head_values, read_head, stored_head
from filtering.pipeline.run import check, run
from filtering.planning.plan import plan
from filtering.storage.store import Store

DIMENSION = 32
IMAGES = unit_rows(np.random.default_rng(0).normal(size=(50, DIMENSION)))


def perceptron(*between):
    """A head as LAION writes it: layers in a Sequential, with what a module names them by."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(DIMENSION, 8), *between, torch.nn.Linear(8, 1))
    return layers, {f"layers.{name}": tensor for name, tensor in layers.state_dict().items()}


@pytest.mark.parametrize(
    ("between", "given"),
    [((torch.nn.Dropout(0.2),), {}), ((torch.nn.ReLU(),), {"activation": "relu"})],
)
@pytest.mark.parametrize("output", ["none", "sigmoid"])
def test_values_are_those_of_torch(tmp_path, between, given, output):
    layers, named = perceptron(*between)
    save_file(named, tmp_path / "head.safetensors")
    head = Head(weights=str(tmp_path / "head.safetensors"), output=output, **given)
    with torch.inference_mode():
        expected = layers.eval()(torch.from_numpy(IMAGES))[:, 0]
        expected = torch.sigmoid(expected) if output == "sigmoid" else expected
    assert np.allclose(head_values(IMAGES, read_head(head), head, ""), expected, atol=1e-6)


@pytest.mark.parametrize("arrays", [{"weight": (1, DIMENSION), "bias": (1,)}, {"weight": (1, DIMENSION)}])
def test_a_linear_layer_may_stand_alone(tmp_path, arrays):
    random = np.random.default_rng(1)
    made = {name: random.normal(size=shape) for name, shape in arrays.items()}
    np.savez(tmp_path / "head.npz", **made)
    head = Head(weights=str(tmp_path / "head.npz"))
    expected = IMAGES @ made["weight"][0] + made.get("bias", 0)
    assert np.allclose(head_values(IMAGES, read_head(head), head, ""), expected, atol=1e-5)


WRONG = {
    "other names": ({"kernel": np.ones((1, 4))}, r"holds kernel; it must hold weight and bias"),
    "two numbers": ({"weight": np.ones((2, 4))}, r"its last layer gives 2 numbers; it must give one"),
    "layers apart": ({"0.weight": np.ones((3, 4)), "1.weight": np.ones((1, 4))}, r"layer 1 of shape \(1, 4\) does not"),
    "bias alone": ({"0.weight": np.ones((1, 4)), "1.bias": np.ones(1)}, r"has a bias of layer 1, and no weight of it"),
    "flat": ({"weight": np.ones(4)}, r"layer 0 of shape \(4,\) does not fit"),
    "not finite": ({"weight": np.full((1, 4), np.nan)}, r"layer 0 of shape \(1, 4\) does not fit, or is not finite"),
    "nothing": ({}, r"holds nothing; it must hold weight and bias"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_are_no_head_are_refused(tmp_path, name):
    arrays, message = WRONG[name]
    np.savez(tmp_path / "head.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_head(Head(weights=str(tmp_path / "head.npz")))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        *(("none.npz", "is not there"), ("x.pth", "is neither .npz nor .safetensors"), ("x.npz", "cannot be read")),
        ("x.safetensors", "is no safetensors file"),
    ],
)
def test_files_that_cannot_be_read_are_refused(metadata_pool, tmp_path, file, message):
    for other in ("x.pth", "x.npz", "x.safetensors"):
        (tmp_path / other).write_bytes(b"x" * 20)
    head = {"weights": str(tmp_path / file)}
    for asked in (
        {"filters": [{"head": {**head, "max": 1}}]},
        {"selection": {"method": "top", "score": {"head": head}}},
    ):
        with pytest.raises(InputError, match=rf"^(filters\.head|selection\.score): .*{message}"):
            check(parse_config(metadata_config(metadata_pool, tmp_path / "run", **asked)))


def test_bounds_are_needed(tmp_path):
    with pytest.raises(InputError, match=r"filters\.0\.head: give min or max or both"):
        parse_config({"input": {"shards": "x"}, "output": "y", "filters": [{"head": {"weights": "a.npz"}}]})


def test_a_head_that_changes_between_naming_and_reading_is_refused(tmp_path):
    path = tmp_path / "head.npz"
    np.savez(path, weight=np.ones((1, 4)))
    rule = HeadFilter(weights=str(path), min=0)
    identity = head_identity(rule)
    np.savez(path, weight=np.zeros((1, 4)))
    assert head_identity(rule) != identity
    with pytest.raises(RunError, match=r"head\.npz: it was written again while the run read it"):
        stored_head(rule, 0, identity, Store(str(tmp_path / "store")))


@pytest.fixture
def pool(tmp_path):
    """A pool, the values that a head gives its images by uid, and the head."""
    folder, weight = write_metadata(tmp_path / "pool", [150, 100]), np.random.default_rng(5).normal(size=(1, DIMENSION))
    np.savez(tmp_path / "head.npz", weight=weight)
    values = {}
    for path in folder.glob("*.parquet"):
        images = unit_rows(np.load(path.with_suffix(".npz"))["l14_img"])
        values |= dict(zip(pq.read_table(path)["uid"].to_pylist(), (images @ weight[0]).tolist(), strict=True))
    return folder, values, str(tmp_path / "head.npz")


def configured(folder, output, **more):
    return parse_config(metadata_config(folder, output, concepts={"clusters": 4}, **more))


def test_a_run_drops_by_a_head(pool, tmp_path):
    folder, values, head = pool
    filters = [{"head": {"weights": head, "min": 0, "max": 1.5}}]
    config = configured(folder, tmp_path / "run", filters=filters, selection={"method": "all"})
    run(config, Silent())
    kept = open_run(str(tmp_path / "run")).kept().to_table()["uid"].to_pylist()
    near = {uid for uid, value in values.items() if min(abs(value), abs(value - 1.5)) < 1e-3}
    assert set(kept) ^ {uid for uid, value in values.items() if 0 <= value <= 1.5} <= near
    assert plan(config, check(config))["passing"] == pytest.approx(len(kept), abs=30)


def test_a_head_is_a_score(pool, tmp_path):
    folder, values, head = pool
    score = {"head": {"weights": head, "keep": "lower", "output": "sigmoid"}}
    selection = {"method": "top", "keep": 40, "budget": "pool", "score": score}
    run(configured(folder, tmp_path / "run", selection=selection), Silent())
    kept = open_run(str(tmp_path / "run")).kept().to_table()
    found = dict(zip(kept["uid"].to_pylist(), kept["score"].to_pylist(), strict=True))
    assert max(values[uid] for uid in found) <= sorted(values.values())[40] + 1e-3
    assert all(score == pytest.approx(-1 / (1 + np.exp(-values[uid])), abs=1e-3) for uid, score in found.items())


def test_images_of_another_length_are_refused(pool, tmp_path):
    folder, _, head = pool
    np.savez(head, weight=np.ones((1, 5)))
    for asked in (
        {"filters": [{"head": {"weights": head, "min": 0}}]},
        {"selection": {"method": "top", "score": {"head": {"weights": head}}}},
    ):
        with pytest.raises(InputError, match=r"head: .*head\.npz takes vectors of 5 numbers, images have 32"):
            run(configured(folder, tmp_path / "run", **asked), Silent())


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.float32(3), r"weight holds float32 of shape \(\); it must hold real numbers$"),
        (np.array([["a"] * DIMENSION]), r"weight holds <U1 of shape "),
        (1j * np.ones((1, DIMENSION)), r"weight holds complex128 of shape "),
        (np.full((1, DIMENSION), 3e38), r"weight holds numbers above 1e\+12$"),
    ],
)
def test_numbers_of_other_kinds_are_refused(tmp_path, weight, message):
    np.savez(tmp_path / "head.npz", weight=weight)
    with pytest.raises(InputError, match=message):
        read_head(Head(weights=str(tmp_path / "head.npz")))


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "head.npz").mkdir()
    with pytest.raises(InputError, match=r"head\.npz is a folder; name the file of weights in it$"):
        read_head(Head(weights=str(tmp_path / "head.npz")))
