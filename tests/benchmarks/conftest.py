"""Benchmarks on tiny input, in this process: their figures, and what they print."""

import contextlib
import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from benchmarks.lib import processes, runs
from filtering import cli

Main = Callable[[Sequence[str]], int]


@pytest.fixture
def measured(tmp_path, capsys):
    """Call a benchmark; returns what it writes as JSON, and what it prints."""

    def call(main: Main, *arguments: object, status: int = 0):
        out = tmp_path / "figures.json"
        assert main([*map(str, arguments), "--json", str(out)]) == status
        return json.loads(out.read_text()), capsys.readouterr().out

    return call


@pytest.fixture
def in_process(monkeypatch) -> None:
    """Commands, and calls that would have a process of their own, run in this one."""
    monkeypatch.setattr(runs, "filtering", _called)
    monkeypatch.setattr(processes, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(
        processes, "at_once", lambda function, parts: [function(p, threading.Barrier(1)) for p in parts]
    )


def _called(*arguments: str) -> tuple[dict, int]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main([*arguments, "--json"]) == 0
    return json.loads(printed.getvalue()), 1_500_000_000


def _one_by_one(function: Callable, parts: Sequence) -> list:
    return [function(part, threading.Barrier(1)) for part in parts]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Benchmarks that measure one thread leave the others to the tests after them."""
    count, torch_count = faiss.omp_get_max_threads(), torch.get_num_threads()
    yield
    faiss.omp_set_num_threads(count)
    torch.set_num_threads(torch_count)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory) -> Path:
    """Files in the format of Fashion-MNIST: 1,200 and 200 pictures, each class bright in rows of its own."""
    folder = tmp_path_factory.mktemp("fashion-mnist")
    for name, count in (("train", 1200), ("t10k", 200)):
        random = np.random.default_rng(count)
        labels = np.arange(count, dtype=np.uint8) % 10
        images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for label in range(10):
            images[labels == label, 2 * label : 2 * label + 6] += np.uint8(150)
        for kind, header, data in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + data.tobytes()))
    return folder
