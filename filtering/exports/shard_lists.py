"""The shards format: the list of shards that keep anything, counts, and the kept keys of each."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from filtering.core.formatting import counted
from filtering.exports.job import Export, Written
from filtering.exports.parts import Samples
from filtering.manifests.finished import Source, batches
from filtering.runtime.task_spec import task
from filtering.shards.inventory import base_name
from filtering.storage.store import Store

SIZES, LIST, LINES = "sizes.json", "shards.txt", "shards.jsonl"


def export_shards(export: Export) -> Written:
    """Write shards.txt, shards.jsonl, sizes.json and keys/*.json; return what the manifest says of them."""
    sources = export.run.kept_sources()
    lines = [line for line in export.run.manifest.shard_lines() if line["kept"]]
    names = _unique_names([source.shard.url for source in sources])
    groups = list(batches(sources))
    starts = accumulate(map(len, groups), initial=0)
    tasks = [
        task(f"keys-{start:08d}", write_keys, group, names[start : start + len(group)], export.out)
        for start, group in zip(starts, groups, strict=False)
    ]
    export.write(tasks, "shards")
    listed = [line | {"keys": f"keys/{name}.json"} for line, name in zip(lines, names, strict=True)]
    export.out.write_json(SIZES, {name: line["kept"] for name, line in zip(names, lines, strict=True)})
    export.out.write(LINES, "".join(json.dumps(line) + "\n" for line in listed).encode())
    export.out.write(LIST, "".join(line["url"] + "\n" for line in lines).encode())
    kept, samples = export.run.record["totals"]["kept"], sum(line["samples"] for line in lines)
    facts = {"kept": kept, "samples": samples, "shards": len(lines), "objects": len(lines) + 4}
    return Written(facts, f"{counted(kept, 'kept sample')} in {counted(len(lines), 'shard')}")


def write_keys(sources: Sequence[Source], names: Sequence[str], out: Store) -> Samples:
    """Write the kept keys of some shards, in the shard's order; those of one shard are in memory at a time."""
    for source, name in zip(sources, names, strict=True):
        out.write(f"keys/{name}.json", json.dumps(source.keys()).encode())
    return {"samples": sum(source.kept for source in sources)}


def _unique_names(urls: Sequence[str]) -> list[str]:
    """Return base names, numbered where folders of the pool share one."""
    names = [base_name(url) for url in urls]
    times = Counter(names)
    return [name if times[name] == 1 else f"{at:08d}-{name}" for at, name in enumerate(names)]
