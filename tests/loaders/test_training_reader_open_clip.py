"""open_clip trains on what a run kept, read from the pool's own tars: in a small loop, and by its own trainer."""

import json
from collections import Counter

import open_clip
import pytest
import torch
import webdataset
from pools import members
from training_reader_runs import by_webdataset, tar_of_members, write_kept

from filtering.embedding.demo_clip import MODEL_CONFIG
from filtering.loaders import kept_pipeline

SHARDS, SAMPLES, BATCH, EPOCHS = 3, 16, 8, 3
SIDE = json.loads(MODEL_CONFIG.read_text())["vision_cfg"]["image_size"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run that kept every second of 48 samples."""
    folder, kept = tmp_path_factory.mktemp("pool"), {}
    for shard in range(SHARDS):
        path = folder / f"{shard:08d}.tar"
        path.write_bytes(tar_of_members(members(shard, SAMPLES)))
        kept[str(path)] = [sample["__key__"] for sample in by_webdataset(str(path))][::2]
    return write_kept(folder / "run", list(kept), kept)


@pytest.fixture
def clip():
    """A CLIP of the small configuration without weights, and what prepares pairs for it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    open_clip.add_model_config(MODEL_CONFIG)
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL_CONFIG.stem)
    return model, preprocess, open_clip.get_tokenizer(MODEL_CONFIG.stem)


def pairs(dataset, preprocess, tokenizer, *names: str):
    return (
        dataset.decode("pilrgb")
        .rename(image="jpg;png;webp", text="txt", key="__key__")
        .map_dict(image=preprocess, text=lambda text: tokenizer(text)[0])
        .to_tuple("image", "text", *names)
        .batched(BATCH, partial=False)
    )


@pytest.mark.slow
def test_a_small_loop_sees_what_was_kept_in_every_epoch_and_learns(run, clip):
    model, *preparation = clip
    dataset = kept_pipeline(run, shuffle_shards=True, shuffle=20)
    loader = webdataset.WebLoader(pairs(dataset, *preparation, "key"), batch_size=None, num_workers=1)
    loss_of, optimizer = open_clip.ClipLoss(), torch.optim.AdamW(model.parameters(), lr=3e-4)
    kept = Counter(sample["__key__"] for sample in kept_pipeline(run))
    losses, orders = [], set()
    for _ in range(EPOCHS):
        seen, total = [], 0.0
        for images, texts, keys in loader:
            assert images.shape == (BATCH, 3, SIDE, SIDE)
            loss = loss_of(*model(images, texts))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += keys
            total += loss.item()
        losses.append(total)
        orders.add(tuple(seen))
        assert Counter(seen) == kept
    assert len(kept) == SHARDS * SAMPLES // 2 == dataset.samples
    assert len(orders) == EPOCHS
    assert losses[-1] < losses[0]


def test_open_clips_trainer_takes_the_pipeline_in_place_of_its_own(run, clip):
    data = pytest.importorskip("open_clip_train.data", reason="open_clip's trainer needs pandas")
    from open_clip_train.params import parse_args
    from open_clip_train.train import train_one_epoch

    model, *preparation = clip
    args = parse_args(["--batch-size", str(BATCH), "--precision", "fp32", "--device", "cpu"])
    args.rank = args.local_rank = 0
    args.world_size, args.distill, args.distributed, args.skip_scheduler = 1, False, False, True
    args.wandb = False
    seen: list[str] = []
    dataset = kept_pipeline(run, shuffle_shards=True, shuffle=20)
    stream = pairs(dataset.select(lambda sample: not seen.append(sample["__key__"])), *preparation)
    batches = dataset.samples // BATCH
    loader = webdataset.WebLoader(stream.with_epoch(batches), batch_size=None, num_workers=0)
    loader.num_batches, loader.num_samples = batches, batches * BATCH
    info = data.DataInfo(loader, shared_epoch=dataset.epoch)
    model.output_dict = True
    before = [weights.clone() for weights in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in (4, 5):
        train_one_epoch(model, {"train": info}, open_clip.ClipLoss(), epoch, optimizer, None, None, None, args)
    assert Counter(seen) == {sample["__key__"]: 2 for sample in kept_pipeline(run)}
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert dataset.epoch.get_value() == 6
