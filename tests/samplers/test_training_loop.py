"""A small model trained on tars through webdataset, with each method and without."""

import io

import numpy as np
import pytest
import torch
import webdataset
from kept_runs import uid, write_run
from PIL import Image

from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.kakurenbo import Kakurenbo
from filtering.samplers.measures import class_measures, pair_measures
from filtering.samplers.samples import kept_samples
from filtering.shards.writer import ShardSample, write_shard

EPOCHS, CLASSES, BATCH, RATE = 8, 4, 16, 0.05


def picture(label: int, random: np.random.Generator) -> bytes:
    """A noisy picture, one quarter of which is brighter: its class."""
    pixels = random.normal(90, 70, (8, 8, 3))
    top, left = 4 * (label // 2), 4 * (label % 2)
    pixels[top : top + 4, left : left + 4] += 90
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(numbers: range, seed: int) -> list[ShardSample]:
    random = np.random.default_rng(seed)
    labels = [number % CLASSES for number in numbers]
    return [
        ShardSample(f"{number:09d}", picture(label, random), str(label).encode(), {"uid": uid(number)}, "png")
        for number, label in zip(numbers, labels, strict=True)
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run over two shards of 120 samples that kept 100 of each."""
    folder, shards = tmp_path_factory.mktemp("loop"), {}
    for shard in range(2):
        written = samples(range(120 * shard, 120 * (shard + 1)), seed=shard)
        url = str(write_shard(folder, shard, written))
        shards[url] = [(sample.metadata["uid"], sample.key) for sample in written[:100]]
    return kept_samples(write_run(folder / "run", shards))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    path = write_shard(tmp_path_factory.mktemp("held"), 0, samples(range(1000, 1200), seed=9))
    return torch.utils.data.default_collate([row(sample) for sample in reader([str(path)])])


def reader(urls, *stages):
    return webdataset.WebDataset(list(urls), shardshuffle=False).compose(*stages).decode("torchrgb")


def row(sample) -> dict:
    places = {name: sample[f"__{name}__"] for name in ("position", "weight") if f"__{name}__" in sample}
    return {"image": sample["png"], "label": int(sample["txt"]), **places}


class Loop:
    """A loop as a user writes it; `sampler` None trains on everything that was kept."""

    def __init__(self, kept, sampler=None) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.kept, self.sampler = kept, sampler
        self.model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(512, CLASSES)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.5)
        self.shown: list[list[int]] = []
        self.weights: list[list[float]] = []

    def batches(self, stage):
        return webdataset.WebLoader(reader(self.kept.shard_urls, stage).map(row), batch_size=BATCH)

    def epoch(self, epoch: int, start: int = 0, stop: int | None = None) -> None:
        """Train on the epoch's batches from `start` to `stop`; the epoch ends where `stop` is None."""
        sampler = self.sampler or InfoBatch(self.kept, EPOCHS, ratio=0)
        self.shown.append([])
        self.weights.append([])
        if isinstance(sampler, Kakurenbo):
            self.optimizer.param_groups[0]["lr"] = RATE * sampler.learning_rate_factor(epoch)
        for batch in list(self.batches(sampler.stage(epoch)))[start:stop]:
            self.step(batch)
        if isinstance(sampler, Kakurenbo) and stop is None:
            with torch.no_grad():
                for batch in self.batches(sampler.rescoring_stage(epoch)):
                    self.observe(batch, class_measures(self.model(batch["image"]), batch["label"]))

    def step(self, batch) -> None:
        measures = class_measures(self.model(batch["image"]), batch["label"])
        self.optimizer.zero_grad()
        (batch["weight"].float() * measures.losses).mean().backward()
        self.optimizer.step()
        self.observe(batch, measures)
        self.shown[-1] += batch["position"].tolist()
        self.weights[-1] += batch["weight"].tolist()

    def observe(self, batch, measures) -> None:
        if isinstance(self.sampler, Kakurenbo):
            self.sampler.observe(batch["position"], *measures)
        elif self.sampler:
            self.sampler.observe(batch["position"], measures.losses)

    def trained(self) -> "Loop":
        for epoch in range(EPOCHS):
            self.epoch(epoch)
        return self

    def accuracy(self, held_out) -> float:
        with torch.no_grad():
            return float(class_measures(self.model(held_out["image"]), held_out["label"]).right.float().mean())


MAKERS = {
    "kakurenbo": lambda kept: Kakurenbo(kept, milestones=(0, 6), decay=(1, 0.5)),
    "infobatch": lambda kept: InfoBatch(kept, EPOCHS),
}


@pytest.fixture(scope="module")
def plain(kept):
    return Loop(kept).trained()


@pytest.mark.slow
def test_a_plain_loop_shows_what_was_kept_in_every_epoch(plain, kept):
    assert all(sorted(shown) == list(range(200)) for shown in plain.shown)


@pytest.fixture(scope="module")
def trained(kept):
    return {method: Loop(kept, maker(kept)).trained() for method, maker in MAKERS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", MAKERS)
def test_a_method_shows_fewer_samples_and_learns_as_much(method, plain, trained, held_out):
    loop = trained[method]
    counts = [len(shown) for shown in loop.shown]
    assert counts[0] == 200
    assert min(counts) < 160
    assert sum(counts) < 0.9 * EPOCHS * 200
    assert all(len(set(shown)) == len(shown) for shown in loop.shown)
    assert plain.accuracy(held_out) > 0.85
    assert loop.accuracy(held_out) > plain.accuracy(held_out) - 0.05


@pytest.mark.slow
def test_kakurenbo_hides_the_samples_of_lowest_loss_and_scores_them_again(kept):
    sampler = MAKERS["kakurenbo"](kept)
    loop = Loop(kept, sampler)
    hidden = 0
    for epoch in range(EPOCHS):
        before = sampler.losses.copy()
        mask = sampler.hidden_mask(epoch)
        loop.epoch(epoch)
        assert sorted(loop.shown[-1]) == np.flatnonzero(~mask).tolist()
        assert len(sampler.unscored(epoch)) == 0
        if mask.any():
            assert before[mask].max() <= np.sort(before)[int(sampler.maximum_fraction(epoch) * 200) - 1]
            # A loss may happen to stay the same.
            assert (before[mask] != sampler.losses[mask]).mean() > 0.9
        hidden += int(mask.sum())
    assert hidden > 0


@pytest.mark.slow
def test_infobatch_weights_what_it_shows_and_ends_with_everything(kept):
    sampler = MAKERS["infobatch"](kept)
    loop = Loop(kept, sampler)
    for epoch in range(EPOCHS):
        weights = sampler.weights(epoch)
        loop.epoch(epoch)
        assert loop.weights[-1] == weights[loop.shown[-1]].tolist()
        assert set(loop.weights[-1]) == ({1.0, 2.0} if 0 < epoch < EPOCHS - 1 else {1.0})
    assert len(loop.shown[-1]) == 200


@pytest.mark.slow
@pytest.mark.parametrize("method", MAKERS)
def test_a_training_restored_within_an_epoch_ends_as_the_undisturbed_one(method, kept, trained):
    undisturbed = trained[method]
    broken = Loop(kept, MAKERS[method](kept))
    for epoch in range(4):
        broken.epoch(epoch)
    broken.epoch(4, stop=3)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (broken.model, broken.optimizer, broken.sampler)], file)
    restored = Loop(kept, MAKERS[method](kept))
    states = torch.load(io.BytesIO(file.getvalue()))
    for part, state in zip((restored.model, restored.optimizer, restored.sampler), states, strict=True):
        part.load_state_dict(state)
    restored.epoch(4, start=3)
    for epoch in range(5, EPOCHS):
        restored.epoch(epoch)
    assert restored.shown[1:] == undisturbed.shown[5:]
    for one, other in zip(restored.model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert np.array_equal(restored.sampler.losses, undisturbed.sampler.losses)


def test_pairs_that_a_contrastive_model_tells_apart_are_hidden(kept):
    """Each image has its own caption vector; a linear map learns which."""
    torch.manual_seed(0)
    sampler = Kakurenbo(kept, milestones=(0,), decay=(1,))
    images = torch.randn(len(kept), 32)
    captions = torch.nn.functional.normalize(images @ torch.randn(32, 16) + torch.randn(len(kept), 16), dim=1)
    model = torch.nn.Linear(32, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(6):
        for chosen in torch.from_numpy(np.flatnonzero(~sampler.hidden_mask(epoch))).split(50):
            measures = pair_measures(10 * torch.nn.functional.normalize(model(images[chosen])) @ captions[chosen].T)
            optimizer.zero_grad()
            measures.losses.mean().backward()
            optimizer.step()
            sampler.observe(chosen, *measures)
        if len(hidden := sampler.unscored(epoch)):
            sampler.observe(hidden, *measures_of(model, images, captions, hidden))
    mask = sampler.hidden_mask(6)
    assert 20 < mask.sum() <= 60
    assert sampler.losses[mask].mean() < sampler.losses[~mask].mean()


def measures_of(model, images, captions, chosen):
    with torch.no_grad():
        return pair_measures(10 * torch.nn.functional.normalize(model(images[chosen])) @ captions[chosen].T)
