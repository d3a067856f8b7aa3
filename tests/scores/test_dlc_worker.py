import numpy as np
import pytest
from pools import member, members, write_tar
from test_dlc import learning_complexity

from filtering.concepts.artifacts import ASSIGNMENT_NAME
from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.config.scores import Dlc
from filtering.core.errors import RunError
from filtering.embedding.artifacts import EmbeddedShard, unit_rows
from filtering.embedding.decoding import batches
from filtering.embedding.model import ClipModel
from filtering.embedding.tars import TarEmbedder
from filtering.filters.artifacts import PassingShard
from filtering.scores.artifacts import read_scores
from filtering.scores.dlc import PROTOTYPES, capacities, concept_sums, mean_prototypes
from filtering.scores.dlc_worker import DlcScorer
from filtering.scores.masked_tower import MaskedTower
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

SETTINGS = Embedding(model="demo", batch_size=8)
# Rows 3, 10 and 20 do not go on.
PASSING = np.array([row for row in range(21) if row not in (3, 10, 20)], dtype=np.int32)
CONCEPTS = (np.arange(len(PASSING)) % 3).astype(np.int32)


@pytest.fixture
def shard(tmp_path):
    """A tar of 21 usable samples and 3 others, embedded, with three concepts."""
    parts = members(0, 12) + member("00000broken", caption=b"") + members(0, 21)[36:]
    bad = [("00000bad.jpg", b"x"), ("00000bad.txt", b"bad")]
    write_tar(tmp_path / "00000000.tar", [*bad, *parts, ("z.txt", b"alone")])
    (tar,) = list_shards(Input(shards=str(tmp_path)))
    TarEmbedder(SETTINGS)(tar, Store(str(tmp_path / "embedded")))
    passing = PassingShard(EmbeddedShard(tar, Store(str(tmp_path / "embedded"))), Store(str(tmp_path / "filters")))
    visits = {"row": PASSING, "concept": CONCEPTS}
    Store(str(tmp_path / "homes")).write_arrays(ASSIGNMENT_NAME.format(tar.identity), visits)
    sums = concept_sums(unit_rows(passing.vectors(PASSING)), CONCEPTS)
    prototypes = mean_prototypes([sums], 3, sums.sums.shape[1])
    Store(str(tmp_path / "scores")).write_arrays(PROTOTYPES, {"vectors": prototypes})
    return passing


def scored(shard, tmp_path, dlc, settings=SETTINGS):
    result = DlcScorer(settings, dlc)(shard, Store(str(tmp_path / "homes")), Store(str(tmp_path / "scores")))
    return result, read_scores(Store(str(tmp_path / "scores")), shard.identity)


def expected(shard, tmp_path, dlc):
    """The whole tar at once, by the pure functions."""
    model, prototypes = ClipModel(SETTINGS), Store(str(tmp_path / "scores")).read_arrays(PROTOTYPES)["vectors"]
    read = list(batches(shard.embedded.shard, model.preparation, SETTINGS))
    pixels = np.concatenate([batch.pixels for batch in read if batch.samples])[PASSING]
    seed = dlc.seed if dlc.schedule == "random" else None
    with MaskedTower(model.model.visual, capacities(dlc.masks, dlc.schedule), seed).masking() as evaluations:
        features = [model.images(model.moved(pixels)) for _ in evaluations]
    assert np.abs(features[0] - features[-1]).max() > 1e-3
    return learning_complexity(features, prototypes, CONCEPTS)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["geometric", "linear", "random"])
def test_scores_are_those_of_the_pure_functions(shard, tmp_path, schedule):
    dlc = Dlc(masks=4, schedule=schedule, seed=5)
    result, scores = scored(shard, tmp_path, dlc)
    assert result == {"rows": 21, "scored": 18}
    assert scores.dtype == np.float32
    assert np.isnan(scores[[3, 10, 20]]).all()
    assert np.allclose(scores[PASSING], expected(shard, tmp_path, dlc), rtol=1e-4)


def test_a_scorer_is_used_again_and_gives_the_same_bytes(shard, tmp_path):
    scorer = DlcScorer(SETTINGS, Dlc(masks=3))
    read = []
    for _ in range(2):
        scorer(shard, Store(str(tmp_path / "homes")), Store(str(tmp_path / "scores")))
        read.append(read_scores(Store(str(tmp_path / "scores")), shard.identity))
    assert np.array_equal(read[0], read[1], equal_nan=True)
    assert np.allclose(read[0], scored(shard, tmp_path, Dlc(masks=3), Embedding(model="demo"))[1], equal_nan=True)


def test_a_shard_of_which_nothing_goes_on(shard, tmp_path):
    none = {"row": PASSING[:0], "concept": CONCEPTS[:0]}
    Store(str(tmp_path / "homes")).write_arrays(ASSIGNMENT_NAME.format(shard.identity), none)
    result, scores = scored(shard, tmp_path, Dlc(masks=2))
    assert result == {"rows": 21, "scored": 0}
    assert np.isnan(scores).all()


def test_a_tar_that_lost_a_sample_is_refused(shard, tmp_path):
    write_tar(tmp_path / "00000000.tar", members(0, 12))
    with pytest.raises(RunError, match=r"00000000\.tar: its size has changed .* since the run listed it"):
        scored(shard, tmp_path, Dlc(masks=2))


def test_samples_on_their_own_prototypes_are_easy(tmp_path):
    write_tar(tmp_path / "00000000.tar", members(0, 2))
    (tar,) = list_shards(Input(shards=str(tmp_path)))
    TarEmbedder(SETTINGS)(tar, Store(str(tmp_path / "embedded")))
    shard = PassingShard(EmbeddedShard(tar, Store(str(tmp_path / "embedded"))), Store(""))
    visits = {"row": np.array([0, 1], np.int32), "concept": np.array([0, 1], np.int32)}
    Store(str(tmp_path / "homes")).write_arrays(ASSIGNMENT_NAME.format(tar.identity), visits)
    vectors = unit_rows(shard.vectors(np.array([0, 1])))
    Store(str(tmp_path / "scores")).write_arrays(PROTOTYPES, {"vectors": vectors})
    # But for the rounding of stored vectors.
    assert scored(shard, tmp_path, Dlc(masks=1))[1].max() < 1e-3
