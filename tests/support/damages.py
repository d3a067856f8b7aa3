"""Damage to one object of a run or of its pool, and what a kill leaves: for tests and for the benchmark of both."""

import random
import re
import shutil
from pathlib import Path

IDENTITY = re.compile("[0-9a-f]{16}")
DAMAGES = ("zeroed", "halved", "flipped", "swapped", "emptied", "deleted")
# In order; a run with several steps of selection has some more than once.
STAGES = ("inventory", "embedding", "filters", "concepts", "partitions", "graph")
STAGES += ("text_concepts", "text_partitions", "text_graph", "scores", "selection", "measures", "manifests", "report")
# What stages write under fixed names, and the other way round.
BY_FIXED_NAMES = {"manifests": ("manifest", "stages/final.json"), "report": ("report",)}
WRITTEN_BY = {"manifest": "manifests", "final.json": "manifests"}


def objects_of(run: Path) -> list[Path]:
    """Every object in a folder, by its path in there."""
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())


def stage_of(path: Path) -> str:
    """The stage that an object of a run belongs to, by its name in STAGES; else the folder or file at the top."""
    if path.parts[0] == "stages":
        return path.parts[1].partition("-")[0] if len(path.parts) > 2 else path.name
    return path.parts[0]


def choices_for(seed: int, path: Path, how: str) -> random.Random:
    """Chance that is the same in each session, in which the names of a pool's folder and its shards may be others."""
    return random.Random(f"{seed} {IDENTITY.sub('', str(path))} {how}")


def damage(folder: Path, path: Path, how: str, choices: random.Random) -> tuple[str, ...]:
    """Damage an object; return the names of those that differ then, none if it cannot be damaged in this way."""
    object_ = folder / path
    before = object_.read_bytes()
    if how == "swapped":
        return _swapped(object_, before, choices)
    if how == "deleted":
        object_.unlink()
        return (path.name,)
    after = _damaged(before, how, choices)
    if after == before:
        return ()
    object_.write_bytes(after)
    return (path.name,)


def _damaged(data: bytes, how: str, choices: random.Random) -> bytes:
    if how == "zeroed":
        return bytes(len(data))
    if how == "halved":
        return data[: len(data) // 2]
    if how == "emptied":
        return b""
    if not data:
        return b"x"
    at = choices.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << choices.randrange(8)]) + data[at + 1 :]


def _swapped(path: Path, data: bytes, choices: random.Random) -> tuple[str, ...]:
    """Exchange an object with one beside it whose name ends alike and which holds something else."""
    others = [other for other in sorted(path.parent.glob(f"*{path.suffix}")) if other.read_bytes() != data]
    if not others:
        return ()
    other = choices.choice(others)
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return path.name, other.name


def can_be_killed_after(path: Path) -> bool:
    """Whether a run that is killed before its end can have left an object."""
    return len(path.parts) > 1 and path.parts[0] in ("stages", "manifest", "report")


def kill_after(run: Path, path: Path, choices: random.Random) -> None:
    """Leave of a finished run what one leaves that is killed later than it wrote an object.

    It is killed in the object's stage, of which the record is missing then, in a later one, or before run.json is
    written.
    """
    own = STAGES.index(WRITTEN_BY.get(stage_of(path), stage_of(path)))
    killed_in = choices.randint(own, len(STAGES))
    for stage in STAGES[max(killed_in, own + 1) :]:
        for folder in run.glob(f"stages/{stage}-*"):
            shutil.rmtree(folder)
        for name in BY_FIXED_NAMES.get(stage, ()):
            _delete(run / name)
    if killed_in == own:
        for record in run.glob(f"stages/{STAGES[own]}-*/*.stage.json"):
            if record.relative_to(run) != path:
                record.unlink()
    (run / "run.json").unlink()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
