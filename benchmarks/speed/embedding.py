"""The embedding station over tars on this disk, against its two limits: the bare forward, and decoding alone.

    python -m benchmarks.speed.embedding                                     # ViT-B-32: limited by the forward on CPUs
    python -m benchmarks.speed.embedding --model demo --pictures 3200x2400   # decoding is the limit
    python -m benchmarks.speed.embedding --ray-data                          # the same operators on Ray Data as well
    python -m benchmarks.speed.embedding --model ViT-L-14 --device cuda --precision fp16

Weights are random (speed does not depend on them). Everything is measured in one run, after a warm-up; the station and
Ray Data from the moment that their workers are up. `exact` decodes whole pictures, as open_clip does.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from filtering.config.run import Config, Input, parse_config
from filtering.embedding.decoding import batches
from filtering.embedding.shape import embedder_shape
from filtering.embedding.stage import tar_embedder
from filtering.runtime.engine import RayExecutor, run_in_pool
from filtering.runtime.task_spec import ActorPlan, TaskSpec
from filtering.runtime.worker import Attempt
from filtering.runtime.worker_pools import ActorPool
from filtering.shards.inventory import Shard, list_shards
from filtering.storage.store import Store
from tests.support.pools import photo, write_tar

DIFFERENT_PICTURES = 32


def main() -> int:
    """Measure and print."""
    given = _arguments()
    if given.ray_data and find_spec("pandas") is None:
        sys.exit("--ray-data needs ray[data]; install it with: uv pip install --editable '.[benchmarks]'")
    folder = Path(tempfile.mkdtemp(prefix="filtering-benchmark-"))
    try:
        figures = _measured(given, folder)
    finally:
        shutil.rmtree(folder)
    print(_table(figures))
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip name, or demo")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "bf16"])
    parser.add_argument("--pictures", default="640x480", metavar="WxH", help="size of the JPEGs")
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--samples", type=int, default=64, help="in each shard")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--decoding", default="draft", choices=["draft", "exact"], help="what the station does")
    parser.add_argument("--decoders", default="auto", help="see ray.decoders")
    parser.add_argument("--ray-data", action="store_true", help="also the same operators on Ray Data")
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    return parser.parse_args()


def _measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    width, height = (int(side) for side in given.pictures.split("x"))
    shards = _pool(folder / "pool", given.shards, given.samples, width, height)
    config = _config(given, folder)
    total = given.shards * given.samples
    _say(f"{total} pairs of {given.pictures} in {given.shards} tars; {os.cpu_count()} cores")
    figures: dict[str, Any] = {"model": given.model, "pictures": given.pictures, "pairs": total}
    figures["bare_forward"] = _apart(_bare_forward, config, total)
    figures["draft_cosine"] = _apart(_draft_cosine, config, shards)
    for decoding in ("exact", "draft"):
        figures[f"decoding_alone_{decoding}"] = total / _decoding(config, shards, decoding)
    if given.ray_data:
        from benchmarks.speed.embedding_on_ray_data import pairs_per_second

        figures["ray_data"] = _apart(pairs_per_second, config, shards, total)
    figures["station"], figures["waited_share"] = _apart(_station, config, shards, total)
    # Once before and once after: a machine's clock drifts by several percent within minutes.
    figures["bare_forward"] = (figures["bare_forward"] + _apart(_bare_forward, config, total)) / 2
    figures["of_bare_forward"] = figures["station"] / figures["bare_forward"]
    figures["of_decoding_alone"] = figures["station"] / figures[f"decoding_alone_{given.decoding}"]
    if given.device == "cpu":
        # The same cores do both, so that no arrangement of the two can be faster.
        both = 1 / (1 / figures["bare_forward"] + 1 / figures[f"decoding_alone_{given.decoding}"])
        figures["of_both_on_the_same_cores"] = figures["station"] / both
    return figures


def _config(given: argparse.Namespace, folder: Path) -> Config:
    model: dict[str, Any] = {"model": "demo"}
    if given.model != "demo":
        model = {"model": given.model, "pretrained": str(_random_weights(given.model, folder / "weights.pt"))}
    settings = {"device": given.device, "precision": given.precision, "batch_size": given.batch_size}
    settings["decoding"] = given.decoding
    decoders = given.decoders if given.decoders == "auto" else int(given.decoders)
    return parse_config(
        {
            "input": {"shards": str(folder / "pool")},
            "output": str(folder / "run"),
            "embedding": {**model, **settings},
            "ray": {"address": "local", "decoders": decoders},
        }
    )


def _random_weights(name: str, path: Path) -> Path:
    import open_clip
    import torch

    torch.save(open_clip.create_model(name).state_dict(), path)
    return path


def _pool(folder: Path, shards: int, samples: int, width: int, height: int) -> list[Shard]:
    folder.mkdir()
    pictures = [photo(width, height, seed) for seed in range(DIFFERENT_PICTURES)]
    for number in range(shards):
        write_tar(folder / f"{number:08d}.tar", _members(number, samples, pictures))
    return list_shards(Input(shards=str(folder)))


def _members(number: int, samples: int, pictures: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for at in range(samples):
        key = f"{number * 10_000 + at:012d}"
        yield f"{key}.jpg", pictures[at % len(pictures)]
        yield f"{key}.json", json.dumps({"key": key}).encode()
        yield f"{key}.txt", f"a photograph of thing {at} on a table, seen from the left".encode()


def _bare_forward(config: Config, total: int) -> float:
    """Return pairs a second of open_clip's two towers over batches in memory, on all cores or the GPU."""
    import torch

    from filtering.embedding.model import PRECISIONS, ClipModel

    model = ClipModel(config.embedding)
    torch.set_num_threads(os.cpu_count() or 1)
    size, side = config.embedding.batch_size, model.preparation
    dtype = PRECISIONS[config.embedding.precision]
    images = torch.rand(size, 3, side.height, side.width).to(model.device, dtype)
    tokens = torch.from_numpy(side.tokens(["a photograph of a thing"] * size)).long().to(model.device)
    rates = []
    with torch.inference_mode():
        for _ in range(3):
            started = time.perf_counter()
            for _ in range(max(1, total // size // 3)):
                last = model.model.encode_image(images), model.model.encode_text(tokens)
            [vectors.cpu() for vectors in last]
            rates.append(max(1, total // size // 3) * size / (time.perf_counter() - started))
    # The first round warms up.
    return float(np.median(rates[1:]))


def _draft_cosine(config: Config, shards: Sequence[Shard]) -> float:
    """Return the least cosine between a picture's embeddings by draft and by exact decoding."""
    from filtering.embedding.model import ClipModel

    found = []
    for decoding in ("exact", "draft"):
        settings = config.embedding.model_copy(update={"decoding": decoding})
        model = ClipModel(settings)
        batch = next(batches(shards[0], model.preparation, settings))
        found.append(model.images(model.moved(batch.pixels)))
    return float((found[0] * found[1]).sum(axis=1).min())


def _decoding(config: Config, shards: Sequence[Shard], decoding: str) -> float:
    """Return the seconds that reading, decoding, resizing and tokenising take on all cores, nothing else."""
    settings = config.embedding.model_copy(update={"decoding": decoding})
    cores = os.cpu_count() or 1
    parts = [shards[at::cores] for at in range(cores)]
    context = multiprocessing.get_context("spawn")
    gate, seconds = context.Barrier(cores), context.Queue()
    workers = [context.Process(target=_decode_all, args=(settings, part, gate, seconds)) for part in parts if part]
    for worker in workers:
        worker.start()
    slowest: float = max(seconds.get() for _ in workers)
    for worker in workers:
        worker.join()
    return slowest


def _decode_all(settings: Any, shards: Sequence[Shard], gate: Any, seconds: Any) -> None:
    from filtering.embedding.model import ClipModel

    preparation = ClipModel(settings).preparation
    next(batches(shards[0], preparation, settings))
    gate.wait()
    started = time.perf_counter()
    for shard in shards:
        for _ in batches(shard, preparation, settings):
            pass
    seconds.put(time.perf_counter() - started)


class _Silent:
    def resumed(self, records: Any) -> None: ...

    def finished(self, task: Any, record: Any) -> None: ...

    def waiting(self) -> None: ...

    def retried(self, task: Any, cause: str) -> None: ...


def _station(config: Config, shards: Sequence[Shard], total: int) -> tuple[float, float]:
    """Return pairs a second of the station, workers up and objects written, and the share that models waited."""
    executor = RayExecutor(config.ray)
    shape, decoders = embedder_shape(config.embedding, config.ray, executor.capacity(), len(shards))
    pool = ActorPool(ActorPlan(shape, partial(tar_embedder, config.embedding, decoders)))
    pool.release = lambda: None  # type: ignore[method-assign]
    store = Store(config.output)
    for name, some in (("warm", shards[: 2 * shape.count * shape.at_once]), ("timed", shards)):
        folder = store.child(name)
        started = time.perf_counter()
        tasks = [TaskSpec(shard.identity, None, (shard, folder.url)) for shard in some]
        attempts = [Attempt("embedding", task, folder) for task in tasks]
        records = [record for _, record in run_in_pool(pool, attempts, _Silent())]
        seconds = time.perf_counter() - started
    executor.stop()
    waited = sum(record["result"]["waited_seconds"] for record in records)
    return total / seconds, waited / (seconds * shape.count)


def _apart(function: Any, *arguments: Any) -> Any:
    """Call a function in a process of its own, so that no part of the measurement inherits another's threads."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    worker = context.Process(target=_answer, args=(answers, function, arguments))
    worker.start()
    while worker.is_alive() and answers.empty():
        worker.join(0.5)
    if answers.empty():
        sys.exit(f"{function.__name__.strip('_')} failed")
    answer = answers.get()
    worker.join()
    return answer


def _answer(answers: Any, function: Any, arguments: Any) -> None:
    answers.put(function(*arguments))


def _table(figures: dict[str, Any]) -> str:
    rows = [
        ("bare forward, both towers", figures["bare_forward"]),
        ("decoding alone on all cores, exact", figures["decoding_alone_exact"]),
        ("decoding alone on all cores, draft", figures["decoding_alone_draft"]),
        *([("Ray Data, same operators", figures["ray_data"])] if "ray_data" in figures else []),
        ("the station", figures["station"]),
    ]
    lines = [f"{name:<39}{rate:>10,.1f} pairs/s" for name, rate in rows]
    lines.append(f"{'the station, of the bare forward':<39}{figures['of_bare_forward']:>10.2f}")
    lines.append(f"{'the station, of decoding alone':<39}{figures['of_decoding_alone']:>10.2f}")
    if "of_both_on_the_same_cores" in figures:
        lines.append(f"{'the station, of both on the same cores':<39}{figures['of_both_on_the_same_cores']:>10.2f}")
    lines.append(f"{'share of time its models waited':<39}{figures['waited_share']:>10.2f}")
    lines.append(f"{'least cosine of draft and exact':<39}{figures['draft_cosine']:>10.5f}")
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
