"""Exports of a finished run for trainers: DataComp's subset file, or lists of shards and keys."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from filtering.errors import InputError
from filtering.explain import nearest
from filtering.manifests.objects import SUBSET, read_run, read_shard_lines
from filtering.shards.inventory import base_name
from filtering.storage import Store, write_object


def export(run: Store, form: str, out: str) -> dict[str, Any]:
    """Write an export of a finished run and return what was written.

    Parameters
    ----------
    form : str
        ``datacomp``: subset.npy, which DataComp's resharder takes; `out` is a folder, or a path ending in .npy.
        ``shards``: shards.txt, shards.jsonl, sizes.json and keys/*.json in the folder `out`.

    Raises
    ------
    InputError
        If the format is unknown or there is no finished run.
    """
    if form not in FORMATS:
        raise InputError(f"--format: unknown format {form}{nearest(form, FORMATS)}")
    record = read_run(run)
    return {"format": form, "out": out, "kept": record["totals"]["kept"], "objects": FORMATS[form](run, record, out)}


def _export_datacomp(run: Store, record: dict[str, Any], out: str) -> int:
    write_object(out if out.endswith(".npy") else f"{out.rstrip('/')}/subset.npy", run.read(SUBSET))
    return 1


def _export_shards(run: Store, record: dict[str, Any], out: str) -> int:
    """Write the shards that keep anything: their URLs, kept counts by name, and kept keys in the shard's order."""
    lines = [line for line in read_shard_lines(run) if line["kept"]]
    names = _unique_names([line["url"] for line in lines])
    store = Store(out)
    listed = []
    for line, name in zip(lines, names, strict=True):
        keys = run.read_table(line["keys"], ["key"])["key"].to_pylist()
        store.write(f"keys/{name}.json", json.dumps(keys).encode())
        listed.append(line | {"keys": f"keys/{name}.json"})
    origin = {key: record[key] for key in ("run_id", "config_hash", "manifest_hash")}
    store.write_json("manifest.json", origin | {"shards": len(lines), "kept": record["totals"]["kept"]})
    store.write_json("sizes.json", {name: line["kept"] for name, line in zip(names, lines, strict=True)})
    store.write("shards.jsonl", "".join(json.dumps(line) + "\n" for line in listed).encode())
    store.write("shards.txt", "".join(line["url"] + "\n" for line in lines).encode())
    return len(lines) + 4


def _unique_names(urls: list[str]) -> list[str]:
    """Return base names, numbered where folders of the pool share one."""
    names = [base_name(url) for url in urls]
    times = Counter(names)
    return [name if times[name] == 1 else f"{at:08d}-{name}" for at, name in enumerate(names)]


FORMATS: dict[str, Callable[[Store, dict[str, Any], str], int]] = {
    "datacomp": _export_datacomp,
    "shards": _export_shards,
}
