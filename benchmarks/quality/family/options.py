"""The options of the commands: where pools and filtering models are, and which."""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.lib import fashion_mnist
from benchmarks.quality.family.cells import Workshop
from benchmarks.quality.pool import clip_art
from benchmarks.quality.pool.filtering_model import JUDGES, Judge
from benchmarks.quality.pool.settings import POOLS
from benchmarks.quality.pool.sources import Folders


def add_workshop(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where pools and filtering models are, and which."""
    add_places(parser)
    parser.add_argument("--pools", nargs="+", choices=POOLS, default=list(POOLS), metavar="POOL")
    parser.add_argument("--models", nargs="+", choices=JUDGES, default=list(JUDGES), metavar="MODEL")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where pools and filtering models are, and how they are made."""
    parser.add_argument("--work", type=Path, required=True, help="folder of the pools, the models and the results")
    parser.add_argument("--address", default="none", help="ray.address of the runs; none, in this process, by default")
    parser.add_argument("--fashion-mnist", metavar="DIR", type=Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--clip-art", metavar="DIR", type=Path, default=clip_art.FOLDER)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pairs and concepts of a new DIR")
    parser.add_argument("--judge-steps", type=int, help="batches of the filtering models, in place of their own")


def workshop_of(given: argparse.Namespace) -> Workshop:
    """Return where the pools and filtering models of the options are."""
    given.work.mkdir(parents=True, exist_ok=True)
    folders = Folders(given.fashion_mnist, given.clip_art)
    return Workshop(given.work.resolve(), folders, given.scale, given.address)


def judges_of(given: argparse.Namespace) -> list[Judge]:
    """Return the filtering models of the options."""
    return [judge_of(given, name) for name in given.models]


def judge_of(given: argparse.Namespace, name: str) -> Judge:
    """Return a filtering model, with the steps of the options."""
    return replace(JUDGES[name], steps=given.judge_steps) if given.judge_steps else JUDGES[name]
