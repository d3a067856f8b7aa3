"""The embedding stage over tars on this disk, against its two limits: the bare forward, and decoding alone.

    python -m benchmarks.speed.embedding                                     # ViT-B-32: limited by the forward on CPUs
    python -m benchmarks.speed.embedding --model demo --pictures 3200x2400   # limited by decoding
    python -m benchmarks.speed.embedding --ray-data                          # the same operators on Ray Data as well
    python -m benchmarks.speed.embedding --model ViT-L-14 --device cuda --precision fp16

Weights are random (speed does not depend on them). Everything is measured in one run, after a warm-up; the stage and
Ray Data from the moment that their workers are up. `exact` decodes whole pictures, as open_clip does.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.lib import processes
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.speed.embedding.limits import bare_forward, decoding_alone, draft_cosine
from benchmarks.speed.embedding.stage import stage_rate
from filtering.config.input import Input
from filtering.config.run import Config, parse_config
from filtering.shards.inventory import Shard, list_shards
from tests.support.pools import photo, write_tar

DIFFERENT_PICTURES = 32
RATES = {
    "bare_forward": "bare forward, both towers",
    "decoding_alone_exact": "decoding alone on all cores, exact",
    "decoding_alone_draft": "decoding alone on all cores, draft",
    "ray_data": "Ray Data, same operators",
    "stage": "the stage",
}
SHARES = {
    "of_bare_forward": "the stage, of the bare forward",
    "of_decoding_alone": "the stage, of decoding alone",
    "of_both_on_the_same_cores": "the stage, of both on the same cores",
    "waited_share": "share of time that its models waited",
    "draft_cosine": "least cosine of draft and exact",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _parser().parse_args(arguments)
    if given.ray_data and find_spec("pandas") is None:
        sys.exit("--ray-data needs ray[data]: uv pip install --editable '.[dev]'")
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        figures = _measured(given, Path(folder))
    print_table([{"": name, "pairs/s": round(figures[key], 1)} for key, name in RATES.items() if key in figures])
    print_table([{"": name, "share": round(figures[key], 5)} for key, name in SHARES.items() if key in figures])
    write_outputs(figures, given.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip name, or demo")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "bf16"])
    parser.add_argument("--pictures", default="640x480", metavar="WxH", help="size of the JPEGs")
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--samples", type=int, default=64, help="in each shard")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--decoding", default="draft", choices=["draft", "exact"], help="how the stage decodes")
    parser.add_argument("--decoders", default="auto", help="see ray.decoders")
    parser.add_argument("--ray-data", action="store_true", help="also the same operators on Ray Data")
    add_address(parser)
    add_outputs(parser, plot="")
    return parser


def _measured(given: argparse.Namespace, folder: Path) -> Row:
    width, height = (int(side) for side in given.pictures.split("x"))
    shards = _pool(folder / "pool", given.shards, given.samples, width, height)
    config, total = _config(given, folder), given.shards * given.samples
    print(f"{total} pairs of {given.pictures} in {given.shards} tars; {os.cpu_count()} cores", file=sys.stderr)
    figures: Row = {"model": given.model, "pictures": given.pictures, "pairs": total}
    figures["bare_forward"] = processes.apart(bare_forward, config.embedding, total)
    figures["draft_cosine"] = processes.apart(draft_cosine, config.embedding, shards)
    for decoding in ("exact", "draft"):
        figures[f"decoding_alone_{decoding}"] = total / decoding_alone(config.embedding, shards, decoding)
    if given.ray_data:
        from benchmarks.speed.embedding.on_ray_data import pairs_per_second

        figures["ray_data"] = processes.apart(pairs_per_second, config, shards, total)
    figures["stage"], figures["waited_share"] = processes.apart(stage_rate, config, shards, total)
    # Once before and once after: a machine's clock drifts by several percent within minutes.
    figures["bare_forward"] = (figures["bare_forward"] + processes.apart(bare_forward, config.embedding, total)) / 2
    return figures | _shares(figures, given)


def _shares(figures: Row, given: argparse.Namespace) -> Row:
    forward, decoding = figures["bare_forward"], figures[f"decoding_alone_{given.decoding}"]
    found = {"of_bare_forward": figures["stage"] / forward, "of_decoding_alone": figures["stage"] / decoding}
    if given.device == "cpu":
        # The same cores do both, so that no arrangement of the two can be faster.
        found["of_both_on_the_same_cores"] = figures["stage"] * (1 / forward + 1 / decoding)
    return found


def _config(given: argparse.Namespace, folder: Path) -> Config:
    model: dict[str, Any] = {"model": "demo"}
    if given.model != "demo":
        model = {"model": given.model, "pretrained": str(_random_weights(given.model, folder / "weights.pt"))}
    settings = {"device": given.device, "precision": given.precision, "batch_size": given.batch_size}
    decoders = given.decoders if given.decoders == "auto" else int(given.decoders)
    return parse_config(
        {
            "input": {"shards": str(folder / "pool")},
            "output": str(folder / "run"),
            "embedding": {**model, **settings, "decoding": given.decoding},
            "reuse_embeddings": False,
            "ray": {"address": given.address, "decoders": decoders},
        }
    )


def _random_weights(name: str, path: Path) -> Path:
    import open_clip
    import torch

    torch.save(open_clip.create_model(name).state_dict(), path)
    return path


def _pool(folder: Path, shards: int, samples: int, width: int, height: int) -> list[Shard]:
    folder.mkdir()
    pictures = [photo(width, height, seed) for seed in range(min(DIFFERENT_PICTURES, samples))]
    for number in range(shards):
        write_tar(folder / f"{number:08d}.tar", _members(number, samples, pictures))
    return list_shards(Input(shards=str(folder)))


def _members(number: int, samples: int, pictures: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for at in range(samples):
        key = f"{number * 10_000 + at:012d}"
        yield f"{key}.jpg", pictures[at % len(pictures)]
        yield f"{key}.json", json.dumps({"key": key}).encode()
        yield f"{key}.txt", f"a photograph of thing {at} on a table, seen from the left".encode()


if __name__ == "__main__":
    raise SystemExit(main())
