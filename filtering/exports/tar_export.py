"""The tar format: which tasks there are, and in which order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from typing import TypeVar

from filtering.core.errors import InputError, RunError
from filtering.core.formatting import counted
from filtering.exports.card import write_card
from filtering.exports.job import Export, Written
from filtering.exports.options import SAMPLES
from filtering.exports.parts import Samples
from filtering.exports.shuffling import (
    BUCKET_SAMPLE_BYTES,
    BUCKET_SAMPLES,
    SENT,
    SOURCES,
    PlacedBucket,
    Shuffle,
    copy_shuffled,
    send_shards,
    sort_bucket,
    source_line,
)
from filtering.exports.tars import NAME, Indexed, Placed, Target, copy_bytes, copy_samples, index_shards
from filtering.manifests.finished import Source, batches
from filtering.runtime.task_spec import TaskSpec, task

SIZES, WIDS = "sizes.json", "wids.json"


Part = TypeVar("Part", Placed, PlacedBucket)


def export_tars(export: Export) -> Written:
    """Write the tars, their statistics and sizes.json; return what the manifest says of them.

    InputError if the pool has changed, or a sample does not fit into a tar of that size.
    """
    run, options = export.run, export.options
    limit = run.record["config"]["embedding"]["max_image_bytes"]
    each = options.bytes or options.samples or SAMPLES
    target = Target(export.out, export.scratch, each, options.bytes is not None, limit)
    sources = run.kept_sources()
    kept = sum(source.kept for source in sources)
    tasks = _repeated(run.kept_times(), target) if options.repeat else _tasks(export, sources, target)
    counts = export.write(tasks, "tars")
    wanted = sum(source.kept for source in run.kept_times()) if options.repeat else kept
    if sum(counts) != wanted:
        raise RunError(f"{wanted:,} samples are to be written, but the tars hold {sum(counts):,}")
    names = [NAME.format(number) for number in range(len(counts))]
    export.out.write_json(SIZES, dict(zip(names, counts, strict=True)))
    sizes = {name: size for part in export.parts.values() for name, size in part["objects"].items()}
    export.out.write_json(WIDS, _wids(names, counts, sizes))
    write_card(export, "tar", "*.tar", wanted, distinct=kept)
    braces = f"{{{0:08d}..{len(counts) - 1:08d}}}.tar" if counts else ""
    facts = {"kept": kept, "shards": len(counts), "objects": 2 * len(counts) + 4, "tars": braces}
    facts |= {"samples": wanted} if options.repeat else {}
    return Written(facts, f"{counted(wanted, 'sample')} in {counted(len(counts), 'tar')}")


def _wids(names: Sequence[str], counts: Sequence[int], sizes: Mapping[str, int]) -> Mapping[str, object]:
    """Return webdataset's index for random access (wids): its URLs are relative to where the index lies."""
    shards = [
        {"url": name, "nsamples": count, "filesize": sizes[name]} for name, count in zip(names, counts, strict=True)
    ]
    return {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}


def _tasks(export: Export, sources: Sequence[Source], target: Target) -> list[TaskSpec[Samples]]:
    if not sources:
        return []
    if export.options.shuffle:
        return _shuffled(export, sources, target)
    if not target.by_bytes:
        # Nothing must be known before: each shard is looked at by the tasks that copy from it.
        parts = cut(target, [source.kept for source in sources], 1, placed_parts(sources, [True] * len(sources)))
        return _copies(copy_samples, parts, target)
    tasks = [task(f"index-{first:08d}", index_shards, some, target) for first, some in _numbered(sources)]
    found = _indexed(export, tasks, sources, target)
    parts = cut(target, found["bytes"], found["last"][-1], placed_parts(sources, found["whole"]))
    return _copies(copy_bytes, parts, target)


def _repeated(times: Sequence[Source], target: Target) -> list[TaskSpec[Samples]]:
    """Return the tasks of tars that have each sample as often as it is seen, none twice: its key stays what it is.

    Tars of the first time come first; each further time begins with a new tar.
    """
    parts: list[list[Placed]] = []
    for _, group in groupby(times, key=lambda source: source.time):
        sources, begun = list(group), len(parts) * target.each
        some = cut(target, [source.kept for source in sources], 1, placed_parts(sources, [True] * len(sources)))
        # Positions are those of all tars.
        parts += [[replace(one, position=one.position + begun) for one in tar] for tar in some]
    return _copies(copy_samples, parts, target)


def _shuffled(export: Export, sources: Sequence[Source], target: Target) -> list[TaskSpec[Samples]]:
    kept = sum(source.kept for source in sources)
    order = Shuffle(export.options.seed or 0, -(-kept // BUCKET_SAMPLES))
    sends = [task(f"index-{first:08d}", send_shards, first, some, order, target) for first, some in _numbered(sources)]
    found = _indexed(export, sends, sources, target)
    export.scratch.write(SOURCES, "".join(map(source_line, sources, found["whole"])).encode())
    sent = [SENT.format(first) for first, _ in _numbered(sources)]
    memory = BUCKET_SAMPLE_BYTES * min(kept, BUCKET_SAMPLES)
    tasks = [task(f"sort-{at:08d}", sort_bucket, at, sent, target).reserving(memory) for at in range(order.buckets)]
    sorted_ = export.stage.map(tasks, "buckets")
    sizes = [one["size"] for one in sorted_]
    last = next(one["last"] for one in reversed(sorted_) if one["size"])
    return _copies(copy_shuffled, cut(target, sizes, last, PlacedBucket), target)


def _indexed(export: Export, tasks: Sequence[TaskSpec[Indexed]], sources: Sequence[Source], target: Target) -> Indexed:
    """Index every shard."""
    parts = export.stage.map(tasks, "shards")
    found = Indexed(
        bytes=[value for part in parts for value in part["bytes"]],
        largest=[value for part in parts for value in part["largest"]],
        last=[value for part in parts for value in part["last"]],
        whole=[value for part in parts for value in part["whole"]],
    )
    largest = max(range(len(sources)), key=lambda at: found["largest"][at])
    if target.by_bytes and target.each < found["largest"][largest]:
        raise InputError(
            f"--bytes: {target.each} is less than a kept sample of {sources[largest].shard.url} has; "
            f"give at least {found['largest'][largest]}"
        )
    return found


def _copies(
    copy: Callable[[int, Sequence[Part], Target], Samples], tars: Sequence[list[Part]], target: Target
) -> list[TaskSpec[Samples]]:
    return [task(f"tar-{number:08d}", copy, number, parts, target) for number, parts in enumerate(tars)]


def _numbered(sources: Sequence[Source]) -> list[tuple[int, list[Source]]]:
    groups = list(batches(sources))
    return list(zip(accumulate(map(len, groups), initial=0), groups, strict=False))


def placed_parts(sources: Sequence[Source], whole: Sequence[bool]) -> Callable[[int, int], Placed]:
    """Return what makes a part from the place of a shard and the position of its first kept sample."""
    return lambda at, position: Placed(sources[at], position, whole[at])


def cut(target: Target, sizes: Sequence[int], last: int, placed: Callable[[int, int], Part]) -> list[list[Part]]:
    """Return, for each tar, the parts in which its samples may be, given the size of each part, in samples or bytes.

    `last` is the size of the very last sample; none is larger than a tar, so that no tar before its own is empty.
    `placed` makes a part from its place and the position at which it starts.
    """
    tars: list[list[Part]] = [[] for _ in range((sum(sizes) - last) // target.each + 1)]
    position = 0
    for at, size in enumerate(sizes):
        # A bucket of hashes may be empty.
        end = min((position + size - 1) // target.each + 1, len(tars)) if size else 0
        for number in range(position // target.each, end):
            tars[number].append(placed(at, position))
        position += size
    return tars
