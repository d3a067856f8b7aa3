"""open_clip's trainer on the samples that a run kept: from copied tars, and from the pool's own tars.

    python -m benchmarks.speed.training --run RUN [--trainer PYTHON] [--tars FOLDER] [--epochs N] [--workers N]

Trains the small CLIP of this package on the CPU with `open_clip_train`, with `kept_pipeline` in place of its own data;
and, if PYTHON is given, from tars that hold only the kept samples, with a sizes.json beside them (FOLDER, else copied
into a temporary folder). PYTHON belongs to an environment of `open_clip_torch[training]`, whose reader of tars needs
webdataset<=0.2.86; this package needs a later one. Prints the keys of the batches against those that the run kept,
steps, the mean loss of each epoch, and seconds. The demo makes a run: `filtering demo` writes filtering-demo/run.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import webdataset as wds

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.loaders import kept_pipeline
from filtering.storage.store import absolute

ROOT = Path(__file__).parents[2]
LOSS = re.compile(r"Train Epoch: (\d+) \[.*Contrastive_loss: [\d.]+ \(([\d.]+)\)")
EXACT = "the kept ones, each once an epoch"
# open_clip's command line, which also writes down the key of each sample that goes into a batch.
RECORDED = """
import os, sys
import open_clip_train.data, open_clip_train.main
def record(sample):
    with open(f"{sys.argv[1]}/keys-{os.getpid()}", "a") as file:
        file.write(sample["__key__"] + "\\n")
    return True
open_clip_train.data.filter_no_caption_or_no_image = record
"""
BY_COMMAND_LINE = RECORDED + "open_clip_train.main.main(sys.argv[2:])"
WITH_OWN_DATA = (
    RECORDED
    + """
import functools
from benchmarks.speed import training
open_clip_train.main.get_data = functools.partial(training.own_data, sys.argv[2], record)
open_clip_train.main.main(sys.argv[3:])
"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train once or twice, print, and return 1 if the batches had other keys than the run kept."""
    parser = parser_of(__doc__)
    parser.add_argument("--run", required=True, help="a finished run over tars")
    parser.add_argument("--trainer", metavar="PYTHON", help="the Python of an environment of open_clip's own")
    parser.add_argument("--tars", help="a folder of the kept samples' tars, with a sizes.json")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, help="by default the largest below 512 that divides the samples")
    parser.add_argument("--workers", type=int, default=1)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(given, Path(folder))
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0 if all(row["keys"] == EXACT for row in rows) else 1


def _rows(given: argparse.Namespace, folder: Path) -> list[Row]:
    # The trainers run in a folder of their own.
    given.run = absolute(given.run)
    kept = Counter(sample["__key__"] for sample in kept_pipeline(given.run))
    given.batch_size = given.batch_size or next(size for size in range(512, 0, -1) if kept.total() % size == 0)
    rows = []
    if given.trainer:
        tars = Path(given.tars or _copied(given.run, folder / "tars")).resolve()
        shards = "::".join(map(str, sorted(tars.glob("*.tar"))))
        command = [given.trainer, "-c", BY_COMMAND_LINE, str(folder / "copied")]
        rows.append(_trained(given, "copied tars", command, ["--train-data", shards], folder / "copied", kept))
    # The command line takes the number of samples that open_clip would read from sizes.json.
    data = ["--train-data", given.run, "--train-num-samples", str(kept.total())]
    command = [sys.executable, "-c", WITH_OWN_DATA, str(folder / "own"), given.run]
    rows.append(_trained(given, "the pool's own tars", command, data, folder / "own", kept))
    return rows


def _copied(run: str, folder: Path) -> Path:
    """Write the kept samples of each shard into a tar of its name; return the folder."""
    folder.mkdir()
    sizes: Counter[str] = Counter()
    writers: dict[str, wds.TarWriter] = {}
    for sample in kept_pipeline(run):
        name = Path(sample["__url__"]).name
        if name not in writers:
            writers[name] = wds.TarWriter(str(folder / name))
        writers[name].write(sample)
        sizes[name] += 1
    for writer in writers.values():
        writer.close()
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return folder


def _trained(
    given: argparse.Namespace, name: str, command: list[str], data: list[str], folder: Path, kept: Counter[str]
) -> Row:
    """Train in a process of its own and return the figures."""
    folder.mkdir()
    names = {"--model": _model(folder), "--logs": folder, "--name": "log", "--dataset-type": "webdataset"}
    numbers = {"--epochs": given.epochs, "--batch-size": given.batch_size, "--workers": given.workers}
    rest = {"--device": "cpu", "--precision": "fp32", "--lr": "1e-4", "--warmup": 2, "--log-every-n-steps": 1}
    options = [str(part) for option in (names | numbers | rest).items() for part in option]
    run = [*command, *options, *data]
    seconds, process = timed(lambda: subprocess.run(run, capture_output=True, text=True, cwd=ROOT))
    if process.returncode:
        sys.exit(f"open_clip_train ended with {process.returncode}:\n{process.stderr[-3000:]}")
    seen = Counter(key for file in folder.glob("keys-*") for key in file.read_text().split("\n") if key)
    exact = seen == Counter({key: count * given.epochs for key, count in kept.items()})
    return {
        "trained on": name,
        "keys": EXACT if exact else f"{seen.total()} of {len(seen)} samples, where {len(kept)} are kept",
        "kept": kept.total(),
        "steps": given.epochs * math.ceil(kept.total() / given.batch_size),
        "losses": " ".join(dict(LOSS.findall(process.stderr + process.stdout)).values()),
        "seconds": round(seconds, 1),
    }


def own_data(run: str, record: Any, args: Any, preprocess: Any, epoch: int, tokenizer: Any) -> dict[str, Any]:
    """Return open_clip's data with the pipeline in place of its own, as a user writes it."""
    from open_clip_train.data import DataInfo

    dataset = kept_pipeline(run, shuffle_shards=True, shuffle=1000, seed=args.seed)
    pairs = (
        dataset.select(record)
        .decode("pilrgb")
        .rename(image="jpg;png;jpeg;webp", text="txt")
        .map_dict(image=preprocess[0], text=lambda text: tokenizer(text)[0])
        .to_tuple("image", "text")
        .batched(args.batch_size, partial=False)
    )
    workers = max(1, args.workers)
    batches = math.ceil(dataset.samples / (args.batch_size * args.world_size * workers))
    loader = wds.WebLoader(
        pairs.with_epoch(batches), batch_size=None, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    loader.num_batches = batches * workers
    loader.num_samples = loader.num_batches * args.batch_size * args.world_size
    # The trainer sets the epoch through it, after a resumption too.
    return {"train": DataInfo(loader, shared_epoch=dataset.epoch)}


def _model(folder: Path) -> str:
    """Write the small CLIP into a folder, and return its name in open_clip."""
    model = folder / "model"
    model.mkdir()
    config = {"model_cfg": json.loads(MODEL_CONFIG.read_text()), "preprocess_cfg": {}}
    (model / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(CHECKPOINT, model / "open_clip_model.safetensors")
    return f"local-dir:{model}"


if __name__ == "__main__":
    raise SystemExit(main())
