"""Small real pools, and configurations that filter them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


class Silent:
    """A reporter that says nothing."""

    def start(self, stage, total, unit):
        pass

    def advance(self, done, note=""):
        pass

    def wait(self, what):
        pass

    def finish(self, summary):
        pass

    def say(self, line):
        pass

    def stop(self):
        pass


class Meanwhile(Silent):
    """A reporter that does something else when a stage begins."""

    def __init__(self, stage, something):
        self.stage, self.something = stage, something

    def start(self, stage, total, unit):
        if stage == self.stage:
            self.stage = None
            self.something()


class Told(Silent):
    """A reporter that keeps the lines it is to say."""

    def __init__(self) -> None:
        self.lines = list[str]()

    def say(self, line):
        self.lines.append(line)


def write_metadata(
    folder: Path,
    rows: Iterable[int],
    dimension: int = 32,
    seed: int = 0,
    groups: Iterable[int] = range(12),
    name: str = "",
) -> Path:
    """Add files to a pool: of the groups that the seed decides, or of some; those of another name have other rows."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, dimension))
    random = np.random.default_rng([seed, *name.encode()]) if name else random
    label, groups = f"{seed}{name}", np.array([*groups])
    for number, count in enumerate(rows):
        images = centres[random.choice(groups, count)] + 0.4 * random.normal(size=(count, dimension))
        texts = images + random.uniform(0, 1.5, (count, 1)) * random.normal(size=images.shape)
        arrays = {"l14_img": unit(images), "l14_txt": unit(texts), "b32_img": unit(images[:, :8])}
        stem = hashlib.md5(f"{label}-{number}".encode()).hexdigest()
        uids = [hashlib.md5(f"{label}-{number}-{row}".encode()).hexdigest() for row in range(count)]
        table = {
            "uid": uids,
            "url": [f"http://example.org/{row}" for row in range(count)],
            "text": [f"caption {row} of file {number}" for row in range(count)],
            "original_width": pa.array([256] * count, pa.int64()),
            "original_height": pa.array([256] * count, pa.int64()),
            "clip_l14_similarity_score": pa.array(random.random(count), pa.float32()),
            "sha256": uids,
        }
        pq.write_table(pa.table(table), folder / f"{stem}.parquet")
        np.savez(folder / f"{stem}.npz", **arrays)
    return folder


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def picture(seed: int) -> bytes:
    """A JPEG of a few coloured blocks."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 255, (4, 4, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(blocks).save(buffer, "JPEG")
    return buffer.getvalue()


def photo(width: int, height: int, seed: int) -> bytes:
    """A JPEG with detail at every scale, as photographs have."""
    random = np.random.default_rng(seed)
    canvas = np.zeros((height, width, 3))
    for scale in (4, 16, 64, 256):
        noise = Image.fromarray(random.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        canvas += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / scale**0.5
    buffer = io.BytesIO()
    Image.fromarray((255 * canvas / canvas.max()).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def member(key: str, seed: int = 0, caption: bytes | None = None) -> list[tuple[str, bytes]]:
    """The three members of one sample."""
    metadata = json.dumps({"key": key, "caption": key, "width": 64, "height": 64}).encode()
    text = f"a picture called {key}".encode() if caption is None else caption
    return [(f"{key}.jpg", picture(seed)), (f"{key}.json", metadata), (f"{key}.txt", text)]


def members(shard: int, count: int) -> list[tuple[str, bytes]]:
    """The members of `count` samples of a shard."""
    samples = [member(f"{shard:05d}{at:07d}", 1000 * shard + at) for at in range(count)]
    return [part for sample in samples for part in sample]


def tar_bytes(parts: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_tar(path: Path, parts: Iterable[tuple[str, bytes]]) -> None:
    path.write_bytes(tar_bytes(parts))


def metadata_config(pool: Path, output: Path | str, **sections) -> dict:
    """A configuration over DataComp metadata with several partitions, which runs in this process unless told else."""
    return {
        "ray": {"address": "none"},
        "input": {"metadata": f"{pool}/*.parquet"},
        "output": str(output),
        "concepts": {"clusters": 12, "partition_rows": 700},
        "graph": {"k": 5},
        "selection": {"variant": "paper"},
        **sections,
    }


def tar_config(pool: Path | str | list[str], output: Path | str, **sections) -> dict:
    """A configuration over tars with the small CLIP, which runs in this process unless told else.

    A pool in one folder is its own root: samples that bring no uid have the same one wherever a test puts its files.
    """
    source = {"shards": pool} if isinstance(pool, list) else {"shards": str(pool), "root": str(pool)}
    # Runs of a test that lie beside each other embed their own, unless that is what is tested.
    sections = {"reuse_embeddings": False} | sections
    sections["embedding"] = {"model": "demo", "batch_size": 8} | sections.pop("embedding", {})
    return {
        "ray": {"address": "none"},
        "input": source,
        "output": str(output),
        "selection": {"variant": "paper", "keep": 0.5},
        **sections,
    }
