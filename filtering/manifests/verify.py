"""Check a finished run from what lies in storage: conservation, checksums, schemas, agreement of its files."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from filtering.core import schemas
from filtering.core.errors import DamagedError
from filtering.manifests.artifacts import (
    CHECKSUMS,
    KINDS,
    MANIFESTS_STAGE,
    REPEAT,
    REPORT,
    REPORT_STAGE,
    SCHEMAS,
    SHARDS,
    SUBSET,
    Kind,
    ShardLine,
    at_least,
    damage,
    read_stored,
    read_sums,
    table_name,
    weighed,
)
from filtering.manifests.by_uid import SLICE_NAME
from filtering.manifests.referred import References
from filtering.manifests.verify_pool import PoolCheck
from filtering.manifests.written import WrittenManifest, written_sums
from filtering.runtime.run_record import RunRecord, StageCost, read_run
from filtering.runtime.stage import FOLDER
from filtering.runtime.stage_objects import RECORD_SUFFIX, damaged_objects
from filtering.storage.store import Store


def problems(run: Store, stages: bool = True) -> Iterator[str]:
    """Yield what does not hold, a line each; nothing if the run is sound.

    Without `stages` the objects of its stages are not read, only manifests and report. Raises InputError if it is not
    finished, DamagedError if its run.json is something else.
    """
    record = read_run(run)
    try:
        yield from _problems(run, record, stages)
    except DamagedError as error:
        yield _line(run, error)


def _line(run: Store, error: DamagedError) -> str:
    return f"{error.url.removeprefix(run.path(''))}: {error.fault}"


def _problems(run: Store, record: RunRecord, stages: bool) -> Iterator[str]:
    damaged = list(_damaged_objects(run, record))
    yield from damaged
    if stages:
        yield from _damaged_stages(run, record)
        yield from (_line(run, error) for error in References.of(run, record).damaged())
    if not run.exists(REPORT):
        yield f"{REPORT}: is not there"
    if damaged:
        return
    yield from _disagreements(run, record)


def _damaged_objects(run: Store, record: RunRecord) -> Iterator[str]:
    # Where checksums.json itself has changed, it would name others.
    noted = {name: one for name, one in written_sums(run, record, MANIFESTS_STAGE).items() if name == CHECKSUMS}
    if changed := [f"{name}: {fault}" for name, fault in damage(run, noted)]:
        yield from changed
        return
    try:
        sums = read_sums(run)
    except FileNotFoundError:
        yield f"{CHECKSUMS}: is not there"
        return
    except DamagedError as error:
        yield _line(run, error)
        return
    # A selection that is too large for one subset file has slices of it.
    for names in ((SUBSET, SLICE_NAME.format(0)), (SHARDS,)):
        if not sums.keys() & set(names):
            yield f"{CHECKSUMS}: does not list {names[0]}"
    yield from (f"{name}: {fault}" for name, fault in damage(run, sums))
    for kind in KINDS:
        yield from (f"{name}: belongs to no shard of this run" for name in _unlisted(run, f"manifest/{kind}", sums))
    yield from (f"{name}: belongs to no range of uids of this run" for name in _unlisted(run, "manifest/by_uid", sums))


def _unlisted(run: Store, folder: str, sums: Mapping[str, str]) -> list[str]:
    names = [f"{folder}/{name}" for name in run.child(folder).names(".parquet")]
    return [name for name in names if name not in sums]


def stages_left(run: Store, record: RunRecord) -> Iterator[tuple[StageCost, Store | None]]:
    """Yield the stages that a run went through, with their folders; None where what says that one is done is missing.

    Whole folders are deleted where nobody needs them any more, and left out.
    """
    folders = run.child(FOLDER).names()
    for cost in record["stages"]:
        mark = f"{cost['fingerprint']}{RECORD_SUFFIX}"
        named = [run.child(f"{FOLDER}/{name}") for name in folders if name.startswith(f"{cost['name']}-")]
        if named:
            yield cost, next((store for store in named if store.exists(mark)), None)


def _damaged_stages(run: Store, record: RunRecord) -> Iterator[str]:
    """Yield what is wrong with the objects of the stages that the run went through, and with its report."""
    for cost, store in stages_left(run, record):
        mark = f"{cost['fingerprint']}{RECORD_SUFFIX}"
        if store is None:
            yield f"{FOLDER}/{cost['name']}-*: holds no {mark}"
            continue
        for error in damaged_objects(store, cost["fingerprint"]):
            yield _line(run, error)
    sums = written_sums(run, record, REPORT_STAGE)
    # What lacks of the page itself is said of every run.
    yield from (f"{name}: {fault}" for name, fault in damage(run, sums) if name != REPORT or run.exists(REPORT))


def _disagreements(run: Store, record: RunRecord) -> Iterator[str]:
    manifest = WrittenManifest(run, record)
    repeats, pool = weighed(record["config"]), PoolCheck(manifest)
    totals = dict.fromkeys(("input", *KINDS), 0)
    for index, line in enumerate(manifest.shard_lines()):
        split: dict[Kind, pa.Table] = {kind: read_stored(run, table_name(kind, index)) for kind in KINDS}
        yield from _shard_problems(index, line, split, repeats)
        pool.add(index, split["kept"])
        totals["input"] += line["samples"]
        for kind in KINDS:
            totals[kind] += len(split[kind])
    for name, found in totals.items():
        if record["totals"].get(name) != found:
            yield f"run.json: totals.{name} is {record['totals'].get(name)}, but the tables hold {found}"
    yield from pool.problems()


def _shard_problems(index: int, line: ShardLine, split: dict[Kind, pa.Table], repeats: bool) -> Iterator[str]:
    known = {**SCHEMAS, "kept": schemas.REPEATED} if repeats else SCHEMAS
    for kind, table in split.items():
        name = table_name(kind, index)
        if not table.schema.equals(known[kind]):
            yield f"{name}: its columns are {', '.join(table.column_names)}"
        elif repeats and kind == "kept" and line.get("repeats", []) != at_least(table[REPEAT].to_numpy()):
            yield f"{name}: how often its samples are repeated is not what shards.jsonl says"
        if len(table) != line[kind]:
            yield f"{name}: holds {len(table)} rows, shards.jsonl says {line[kind]}"
        if set(table["shard"].to_pylist()) - {line["url"]}:
            yield f"{name}: names another shard than {line['url']}"
    if line["samples"] != sum(line[kind] for kind in KINDS):
        yield f"{line['url']}: {line['samples']} samples are not the sum of kept, dropped and quarantined"
    both = set(split["kept"]["uid"].to_pylist()) & set(split["dropped"]["uid"].to_pylist())
    if both:
        yield f"{line['url']}: {len(both)} samples are both kept and dropped"
