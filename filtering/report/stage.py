"""The report stage: gather a bounded sample of the run's tables, read thumbnails, write the page."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from filtering.attempts import Task
from filtering.concepts.objects import read_concepts, read_homes
from filtering.config import Config
from filtering.embedding.images import decode_image
from filtering.filters.objects import PassingShard
from filtering.manifests.objects import REPORT, table_name
from filtering.report.data import Page, QuarantineExample, StageCost
from filtering.report.gather import SAMPLE, Shown, concept_rows, few_by_reason, histogram, shown_rows, thumbnails
from filtering.report.measures import measure_rows
from filtering.report.page import render
from filtering.selection.objects import BUDGETS_NAME
from filtering.shards.samples import Sample, read_samples
from filtering.shards.tar import Fault
from filtering.stage import Runtime, Stage
from filtering.storage import Store, stream_object
from filtering.uids import sampled, uid_array

VERSION = 2
# The page stays small whatever the pool's size: this many rows are sampled, this many shards read for pictures.
SAMPLED_ROWS = 20_000
SHARDS_WITH_PICTURES = 32
EXAMPLES_PER_REASON = 3
THUMBNAIL_PIXELS = 96
BIN_EDGES = np.linspace(-1, 1, 201)
SAMPLE_NAME = "{}.sample.parquet"
PICTURES_NAME = "{}.pictures.parquet"


def report_stage(runtime: Runtime, config: Config, manifests: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "report", VERSION, config.resolved(), (manifests,))


def write_report(
    stage: Stage, config: Config, shards: Sequence[PassingShard], run: Mapping[str, Any], stores: Mapping[str, str]
) -> dict[str, int]:
    """Write report/index.html; return its size.

    Parameters
    ----------
    run : mapping
        run.json as far as it is known.
    stores : mapping
        Where each stage's objects are.
    """
    rows = run["totals"]["kept"] + run["totals"]["dropped"]
    share = SAMPLED_ROWS / max(rows, 1)
    urls = (stores["concepts"], stage.runtime.store.url, stage.store.url)
    gathers = [Task(f"sample-{s.identity}", (s, share, *urls)) for s in shards]
    counts = stage.map(lambda engine: engine.tasks(_gather), gathers, "shards sampled")
    samples = [stage.store.read_table(SAMPLE_NAME.format(s.identity)) for s in shards]
    shown = shown_rows(pa.concat_tables([*samples, SAMPLE.empty_table()]))
    pictures = _pictures(stage, config, shards, shown.keys(SHARDS_WITH_PICTURES))
    page = _page(config, run, shown, counts, pictures, stores)
    data = render(page).encode()
    stage.runtime.store.write(REPORT, data)
    stage.summary = f"{REPORT}, {len(data) / 1e6:.1f} MB"
    return {"bytes": len(data)}


def _gather(shard: PassingShard, share: float, concepts_url: str, run_url: str, store_url: str) -> dict[str, Any]:
    """Sample a shard's rows, and count its scores and its quarantine."""
    rows = shard.embedded.rows(["uid", "key", "caption", "clip_score"])
    kept, dropped = (Store(run_url).read_table(table_name(kind, shard.index)) for kind in ("kept", "dropped"))
    is_kept = np.asarray(pc.is_in(rows["uid"], value_set=kept["uid"].combine_chunks()))
    concept = np.full(len(rows), -1, dtype=np.int32)
    having, homes = read_homes(Store(concepts_url), shard)
    concept[having] = homes
    reason = dropped["reason"].take(pc.index_in(rows["uid"], value_set=dropped["uid"].combine_chunks()))
    chosen = np.flatnonzero(sampled(uid_array(rows["uid"]), share, seed=2))
    place = pa.array(np.full(len(rows), shard.index, dtype=np.int32))
    columns = [*rows.columns, pa.array(concept), reason, pa.array(is_kept), place]
    table = pa.table(columns, schema=SAMPLE).take(pa.array(chosen))
    Store(store_url).write_table(SAMPLE_NAME.format(shard.identity), table)
    scores = rows["clip_score"].to_numpy()
    quarantined = Store(run_url).read_table(table_name("quarantined", shard.index)).to_pylist()
    return {
        "sampled": len(chosen),
        "kept_bins": np.histogram(scores[is_kept], BIN_EDGES)[0].tolist(),
        "dropped_bins": np.histogram(scores[~is_kept], BIN_EDGES)[0].tolist(),
        "examples": few_by_reason(quarantined, EXAMPLES_PER_REASON),
    }


def _pictures(
    stage: Stage, config: Config, shards: Sequence[PassingShard], wanted: Mapping[int, set[str]]
) -> dict[tuple[int, str], bytes]:
    """Return JPEG thumbnails of the wanted keys by shard and key; none where the input has no images."""
    if config.input.shards is None:
        return {}
    here = [shard for shard in shards if shard.index in wanted]
    tasks = [Task(f"pictures-{s.identity}", (s, sorted(wanted[s.index]), stage.store.url)) for s in here]
    stage.map(lambda engine: engine.tasks(_read_pictures), tasks, "shards read for pictures")
    found: dict[tuple[int, str], bytes] = {}
    for shard in here:
        table = stage.store.read_table(PICTURES_NAME.format(shard.identity))
        for key, jpeg in zip(table["key"].to_pylist(), table["jpeg"].to_pylist(), strict=True):
            found[shard.index, key] = jpeg
    return found


def _read_pictures(shard: PassingShard, keys: Sequence[str], store_url: str) -> dict[str, int]:
    wanted, found = set(keys), dict[str, bytes]()
    with stream_object(shard.embedded.shard.url) as stream:
        for entry in read_samples(stream, shard.embedded.shard.name):
            if isinstance(entry, Sample) and entry.key in wanted and entry.key not in found:
                found |= _thumbnail(entry)
            if len(found) == len(wanted):
                break
    table = pa.table({"key": pa.array(found, pa.string()), "jpeg": pa.array(found.values(), pa.binary())})
    Store(store_url).write_table(PICTURES_NAME.format(shard.identity), table)
    return {"pictures": len(found)}


def _thumbnail(sample: Sample) -> dict[str, bytes]:
    decoded = decode_image(sample.image, draft_side=THUMBNAIL_PIXELS)
    if isinstance(decoded, Fault):
        return {}
    image = decoded.image.convert("RGB")
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return {sample.key: buffer.getvalue()}


def _page(
    config: Config,
    run: Mapping[str, Any],
    shown: Shown,
    counts: Sequence[Mapping[str, Any]],
    pictures: Mapping[tuple[int, str], bytes],
    stores: Mapping[str, str],
) -> Page:
    concepts = read_concepts(Store(stores["concepts"]))
    budgets = Store(stores["selection"]).read_arrays(BUDGETS_NAME)["budgets"]
    bins = {name: np.sum([count[name] for count in counts], axis=0) for name in ("kept_bins", "dropped_bins")}
    resolved = yaml.safe_dump(run["config"], sort_keys=False, allow_unicode=True)
    return Page(
        run_id=run["run_id"],
        output=config.output,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        totals=run["totals"],
        dropped_by_reason=run["reasons"]["dropped"],
        quarantined_by_reason=run["reasons"]["quarantined"],
        quarantine_examples=_quarantine_examples(counts),
        recall=run["recall"],
        k=config.graph.k,
        manifest_hash=run["manifest_hash"],
        measures=measure_rows(run["measures"]),
        histograms=histogram("CLIP score", BIN_EDGES, bins["kept_bins"], bins["dropped_bins"]),
        concepts=concept_rows(concepts, budgets, shown, pictures),
        lowest=thumbnails(shown.lowest, pictures),
        stages=tuple(
            StageCost(cost["name"], cost["seconds"], cost["peak_memory_bytes"], cost["summary"])
            for cost in run["stages"]
        ),
        warnings=tuple(run["warnings"]),
        config_yaml=resolved,
        versions=run["versions"],
        commands=("filtering run --config CONFIG.yaml", f"filtering verify {config.output}"),
    )


def _quarantine_examples(counts: Sequence[Mapping[str, Any]]) -> tuple[QuarantineExample, ...]:
    rows = few_by_reason((row for count in counts for row in count["examples"]), EXAMPLES_PER_REASON)
    return tuple(
        QuarantineExample(row["shard"], row["member"], row["reason"], row["detail"])
        for row in sorted(rows, key=lambda row: row["reason"])
    )
