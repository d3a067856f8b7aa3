import io

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from pools import member, members, photo, picture, write_tar

from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.embedding.artifacts import QUARANTINE_NAME, ROWS_NAME, EmbeddedShard
from filtering.embedding.decoding import ahead, batches
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.model import ClipModel
from filtering.embedding.tars import Occupancy, TarEmbedder
from filtering.shards.inventory import list_shards
from filtering.storage.checksums import content_sum
from filtering.storage.store import Store


def embedded(folder, name, decoders=0, **settings):
    """What the embedder writes for the tar in `folder`: sums of its objects, rows, image vectors, its result."""
    (shard,) = list_shards(Input(shards=str(folder)))
    store = Store(str(folder / name))
    result = TarEmbedder(Embedding(model="demo", **settings), decoders)(shard, store)
    objects = {name: content_sum(store.read_checked(name)) for name in store.names()}
    of = EmbeddedShard(shard, store)
    return objects, of.rows(), np.asarray(of.images()), result


@pytest.fixture
def pool(tmp_path):
    parts = members(0, 21) + member("00000broken", caption=b"")
    write_tar(tmp_path / "00000000.tar", [("00000bad.jpg", b"x"), ("00000bad.txt", b"bad"), *parts])
    return tmp_path


def test_vectors_are_those_of_open_clip_itself(pool):
    open_clip.add_model_config(str(MODEL_CONFIG))
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL_CONFIG.stem, pretrained=str(CHECKPOINT))
    model.eval()
    images = [preprocess(Image.open(io.BytesIO(picture(seed)))) for seed in range(21)]
    with torch.inference_mode():
        expected = model.encode_image(torch.stack(images), normalize=True).numpy()
    _, rows, vectors, _ = embedded(pool, "run", decoding="exact")
    assert rows["key"].to_pylist() == [f"{0:05d}{at:07d}" for at in range(21)]
    assert np.abs(vectors - expected).max() < 1e-3


def test_decoding_elsewhere_writes_the_same_bytes(cluster, pool):
    beside = embedded(pool, "beside", batch_size=8)
    elsewhere = embedded(pool, "elsewhere", decoders=1, batch_size=8)
    assert beside[0] == elsewhere[0]
    assert len(beside[0]) == 5


def test_what_cannot_be_used_is_counted_by_reason(pool):
    _, rows, _, result = embedded(pool, "run")
    assert (result["samples"], result["rows"], result["quarantined"]) == (23, 21, 2)
    assert result["quarantine_reasons"] == {"image_undecodable": 1, "caption_empty": 1}
    assert len(rows) == 21


@pytest.mark.parametrize("text_batch_size", [1, 8, 1000])
def test_the_towers_have_batch_sizes_of_their_own(pool, text_batch_size):
    _, rows, vectors, _ = embedded(pool, "run", batch_size=8, text_batch_size=text_batch_size)
    _, whole, expected, _ = embedded(pool, "whole")
    assert rows["uid"] == whole["uid"]
    assert np.abs(vectors - expected).max() < 1e-3
    assert np.allclose(rows["clip_score"], whole["clip_score"], atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_stays_close(pool, precision):
    _, _, vectors, _ = embedded(pool, precision, precision=precision)
    _, _, expected, _ = embedded(pool, "fp32")
    cosines = (vectors.astype(np.float32) * expected.astype(np.float32)).sum(axis=1)
    assert cosines.min() > 0.998


def test_draft_decoding_keeps_the_embedding(tmp_path):
    sizes = [(800, 600), (300, 1000), (257, 129), (128, 128), (2000, 1500)]
    parts = [(f"{at:04d}.{kind}", data) for at, size in enumerate(sizes) for kind, data in sample(size, at)]
    write_tar(tmp_path / "00000000.tar", parts)
    _, rows, draft, _ = embedded(tmp_path, "draft")
    _, _, exact, _ = embedded(tmp_path, "exact", decoding="exact")
    cosines = (draft.astype(np.float32) * exact.astype(np.float32)).sum(axis=1)
    assert cosines.min() > 0.999
    assert list(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True)) == sizes


def sample(size, seed):
    return [("jpg", photo(*size, seed)), ("txt", b"a photo")]


def test_a_shard_without_usable_samples_has_empty_objects(tmp_path):
    write_tar(tmp_path / "00000000.tar", [("a.txt", b"alone")])
    _, rows, vectors, result = embedded(tmp_path, "run")
    assert (len(rows), len(vectors), result["quarantined"]) == (0, 0, 1)


def test_a_batch_depends_on_the_tar_alone(pool):
    (shard,) = list_shards(Input(shards=str(pool)))
    settings = Embedding(model="demo", batch_size=8)
    found = list(batches(shard, ClipModel(settings).preparation, settings))
    assert [len(batch.samples) for batch in found] == [8, 8, 5]
    assert found[0].pixels.shape == (8, 64, 64, 3)
    assert found[2].tokens.shape[0] == 5


def test_nothing_of_a_failed_shard_is_committed(pool, monkeypatch):
    monkeypatch.setattr(ClipModel, "images", lambda self, pixels: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        embedded(pool, "run")
    assert Store(str(pool / "run")).names() == []


def test_objects_are_named_by_the_shard(pool):
    (shard,) = list_shards(Input(shards=str(pool)))
    objects, *_ = embedded(pool, "run")
    assert {ROWS_NAME.format(shard.identity), QUARANTINE_NAME.format(shard.identity)} < set(objects)


def test_an_error_of_the_thread_ahead_is_raised_here():
    def failing():
        yield 1
        raise ValueError("broken")

    items = ahead(failing(), 2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_waiting_counts_only_while_nobody_works():
    occupancy, spent = Occupancy(), {"waited_seconds": 0.0, "forward_seconds": 0.0}
    with occupancy.taken(spent), occupancy.taken(spent) as waited:
        assert waited == 0.0
    assert spent["forward_seconds"] > 0
