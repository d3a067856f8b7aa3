"""Reading shards alone: the validating reader against webdataset's pipeline and a bare tarfile, on the same tars.

    python -m benchmarks.speed.reading [--json OUT] [--shards N] [--samples N] [--rounds N]

Writes shards as img2dataset does into a temporary folder, reads each whole by each reader in turn, the page cache warm,
and prints the median of the rounds. Nothing is decoded: what is timed is headers, grouping and checks.
"""

import argparse
import json
import random
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import webdataset as wds

from filtering.shards.samples import Sample, read_samples
from filtering.shards.writer import ShardSample, write_shard

Reader = Callable[[Sequence[Path]], int]
COLUMNS = ("reader", "samples/s", "MB/s", "seconds", "against webdataset")
IMAGE_BYTES = (20_000, 60_000)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2500, help="samples in each shard")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tars = [_written(Path(folder), shard, given.samples) for shard in range(given.shards)]
        rows = _rows(
            _seconds(tars, given.rounds), given.shards * given.samples, sum(tar.stat().st_size for tar in tars)
        )
    _print(rows)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _written(folder: Path, shard: int, count: int) -> Path:
    noise = random.Random(shard)
    return write_shard(folder, shard, [_sample(noise, shard * 10_000 + at) for at in range(count)])


def _sample(noise: random.Random, number: int) -> ShardSample:
    key, uid = f"{number:012d}", f"{noise.getrandbits(128):032x}"
    caption = " ".join(noise.choice(("a", "red", "kite", "over", "the", "grey", "sea")) for _ in range(12))
    fields = {"uid": uid, "caption": caption, "url": f"http://example.org/{key}.jpg", "key": key, "status": "success"}
    sizes = {"error_message": None, "width": 256, "height": 256, "original_width": 800, "original_height": 600}
    metadata = fields | sizes | {"exif": "{}", "sha256": f"{noise.getrandbits(256):064x}"}
    image = b"\xff\xd8\xff\xe0" + noise.randbytes(noise.randint(*IMAGE_BYTES))
    return ShardSample(key, image, caption.encode(), metadata)


def _filtering(tars: Sequence[Path]) -> int:
    count = 0
    for tar in tars:
        with tar.open("rb") as stream:
            count += sum(isinstance(sample, Sample) for sample in read_samples(stream, tar.name))
    return count


def _webdataset(tars: Sequence[Path]) -> int:
    return sum(1 for _ in wds.WebDataset([str(tar) for tar in tars], shardshuffle=False))


def _tarfile(tars: Sequence[Path]) -> int:
    count = 0
    for path in tars:
        with tarfile.open(path) as tar:
            for info in tar:
                member = tar.extractfile(info)
                count += bool(member and member.read() and info.name.endswith(".jpg"))
    return count


READERS: dict[str, Reader] = {"filtering": _filtering, "webdataset": _webdataset, "tarfile": _tarfile}


def _seconds(tars: Sequence[Path], rounds: int) -> dict[str, tuple[float, int]]:
    """Return each reader's median time and the samples it found; a first round warms the page cache."""
    times: dict[str, list[float]] = {name: [] for name in READERS}
    found = dict.fromkeys(READERS, 0)
    for _ in range(rounds + 1):
        for name, reader in READERS.items():
            started = time.perf_counter()
            found[name] = reader(tars)
            times[name].append(time.perf_counter() - started)
    return {name: (statistics.median(taken[1:]), found[name]) for name, taken in times.items()}


def _rows(timed: dict[str, tuple[float, int]], samples: int, size: int) -> list[dict[str, str | float]]:
    for name, (_, found) in timed.items():
        if found != samples:
            sys.exit(f"{name} found {found} samples of {samples}")
    reference = timed["webdataset"][0]
    return [
        {
            "reader": name,
            "samples/s": round(samples / seconds),
            "MB/s": round(size / seconds / 1e6),
            "seconds": round(seconds, 3),
            "against webdataset": round(reference / seconds, 2),
        }
        for name, (seconds, _) in timed.items()
    ]


def _print(rows: Sequence[dict[str, str | float]]) -> None:
    print("  ".join(f"{name:>18}" for name in COLUMNS))
    for row in rows:
        print("  ".join(f"{row[name]:>18,}" if name != "reader" else f"{row[name]:>18}" for name in COLUMNS))


if __name__ == "__main__":
    raise SystemExit(main())
