"""The embedding stage: one task a shard, on actors that hold the model; a base's shards are not embedded again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.config.run import Ray
from filtering.core.errors import InputError
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.embedding.artifacts import (
    NAME,
    ROWS_NAME,
    EmbeddedShard,
    EmbeddingResult,
    MetadataCounts,
    TarCounts,
)
from filtering.embedding.checkpoint import model_files
from filtering.embedding.encoders import encoder_settings, line_of_encoder
from filtering.embedding.identity import model_identity
from filtering.embedding.locations import (
    ShardLocation,
    ShardLocations,
    pool_dimensions,
    read_locations,
    shard_locations,
    shards_there,
    write_locations,
)
from filtering.embedding.metadata import MetadataReader, vector_source
from filtering.embedding.shape import embedder_shape
from filtering.embedding.text_share import detects_text, text_detector_identity
from filtering.runtime.finished_run import Base, Reusable
from filtering.runtime.shard_groups import of_shard
from filtering.runtime.stage import Finished, StageKey, StageRun
from filtering.runtime.stage_progress import COMPUTED_HERE
from filtering.runtime.task_spec import ActorPlan, Actors, Capacity
from filtering.shards.inventory import Shard
from filtering.storage.checksums import MissingError
from filtering.storage.store import Store

EmbeddedCounts = MetadataCounts | TarCounts
VERSION = 4
# Keys of the section that are in its identity only where they are given, or not at all.
APART = ("encoders", "signals")
# Apart: to read rows again takes seconds, to embed pictures again takes days.
METADATA_VERSION = 6
SIGNALS_VERSION = 1


def embedding_key(source: Input, settings: Embedding, inventory: str) -> StageKey:
    """Return the stage's identity; its objects are named by shard, so that only new shards are ever embedded."""
    version = VERSION if source.has_pictures else METADATA_VERSION
    return StageKey(NAME, version, _settings(source, settings), (inventory,), per_shard=True)


def check_base(base: Base, source: Input, settings: Embedding, shards: Sequence[Shard]) -> None:
    """Refuse a base whose derived uids are others than this run would make, or whose embeddings are."""
    rule = UidRule.recorded(base.record)
    as_there = source.model_copy(update={"uids": rule.uids, "root": rule.root})
    embedded_alike = base.store(NAME).url.endswith(f"/{embedding_key(as_there, settings, '').folder}")
    if not _same_uids(rule, source.uid_rule, base.shards, shards):
        remedy = f"set {rule}, or give no base" if embedded_alike else f"set {rule} to keep them, and give no base"
        raise InputError(
            f"base: {base.run.url} was made with {rule}; with {source.uid_rule}, samples that bring no uid would get "
            f"others; {remedy}, so that the whole pool is embedded"
        )
    if not embedded_alike:
        raise InputError(
            f"base: {base.run.url} was embedded with another model or other settings under embedding, input.arrays, "
            "input.columns, input.fields or concepts.embedding, or by another version; take those of its run.json, or "
            "give no base, so that the whole pool is embedded"
        )


def _same_uids(before: UidRule, now: UidRule, there: Sequence[Shard], shards: Sequence[Shard]) -> bool:
    """Say whether two rules agree on the shards of two inventories; a pool that moved has no shard in both."""
    if before.uids != now.uids:
        return False
    urls = {shard.url for shard in there}
    return before == now or all(before.place(one.url) == now.place(one.url) for one in shards if one.url in urls)


def embed(
    stage: StageRun,
    source: Input,
    settings: Embedding,
    workers: Ray,
    shards: Sequence[Shard],
    reusable: Reusable | None = None,
    beside: Reusable | None = None,
) -> EmbeddingResult:
    """Embed every shard of the inventory that the base does not have; return how many samples there are.

    Without a base, `beside` is a run whose embeddings are taken over.
    """
    known = _known(stage, reusable or beside)
    new = [shard for shard in shards if shard.identity not in known]
    counts = _embedded(stage, source, settings, workers, new)
    for shard, count in zip(new, counts, strict=True):
        found = (count["samples"], count["rows"], count["quarantined"], count["dimension"], count["of_concepts"])
        known[shard.identity] = ShardLocation(stage.store, *found)
    where = {shard.identity: known[shard.identity] for shard in shards}
    if reusable is not None:
        _check_dimension(reusable.base, where)
    write_locations(stage.store, stage.key.fingerprint, where)
    mismatches, samples = _mismatches(where), sum(place.samples for place in where.values())
    rows = sum(place.rows for identity, place in where.items() if identity not in mismatches)
    return EmbeddingResult(
        samples=samples,
        rows=rows,
        quarantined=samples - rows,
        embedded_shards=len(new),
        carried_shards=len(shards) - len(new),
        by_shard=tuple(place.samples for place in where.values()),
        warnings=_warnings(settings, counts) if source.has_pictures else (),
        dimension=pool_dimensions(where.values())[0],
    )


def _check_dimension(base: Base, where: ShardLocations) -> None:
    """Refuse a base of whose vectors the pool's are not: nothing that it found holds for them."""
    before, now = pool_dimensions(shard_locations(base).values()), pool_dimensions(where.values())
    for one, other in zip(before, now, strict=True):
        if one and other and one != other:
            raise InputError(
                f"base: the vectors of {base.run.url} have {one} dimensions, those of most rows now have {other}; "
                "remove the files of the wrong dimension, or give no base"
            )


def _warnings(settings: Embedding, counts: Sequence[EmbeddedCounts]) -> tuple[str, ...]:
    """Return how images are preprocessed where that is a guess, and what libraries warned of the model."""
    heard = (line for count in counts for line in cast(TarCounts, count)["model_warnings"])
    return tuple(dict.fromkeys(filter(None, (*guesses(settings), *heard))))


def guesses(settings: Embedding) -> list[str]:
    """Return a line for each model of whose preprocessing nothing is known."""
    found = [model_files(settings).guess]
    for name in settings.encoders:
        found.append(line_of_encoder(name, model_files(encoder_settings(settings, name)).guess))
    return [guess for guess in found if guess]


def embedded_shards(
    embedding: Finished[EmbeddingResult], source: Input, shards: Sequence[Shard], encoder: str = ""
) -> list[EmbeddedShard]:
    """Return the shards as the stages after this one read them; `encoder` made the vectors of concepts of tars."""
    arrays, concepts = (None, encoder) if source.has_pictures else (source.arrays, source.concepts)
    where = read_locations(embedding.store, embedding.fingerprint)
    mismatches = _mismatches({shard.identity: where[shard.identity] for shard in shards})
    return [
        EmbeddedShard(shard, where[shard.identity].store, arrays, mismatches.get(shard.identity, ""), concepts)
        for shard in shards
    ]


def _mismatches(where: ShardLocations) -> dict[str, str]:
    """Return which shards have vectors of another dimension than the pool, and what to say of them."""
    most = pool_dimensions(where.values())
    return {
        identity: f"its vectors have {_in_words(place[-2:])} dimensions, those of the pool have {_in_words(most)}"
        for identity, place in where.items()
        if place.dimension and place[-2:] != most
    }


def _in_words(dimensions: tuple[int, int]) -> str:
    return f"{dimensions[0]}" + (f" and, for concepts, {dimensions[1]}" if dimensions[1] else "")


def _settings(source: Input, settings: Embedding) -> Any:
    # Rows have the uids. By the shard's name they are those of versions that had no other rule.
    rule = [] if source.uids == "name" else [source.uids, source.root]
    beside = _beside(source, settings)
    if not source.has_pictures:
        named = source.columns if source.columns is not None else source.arrays
        other = [{"concepts": source.concepts}] if source.concepts else []
        return [source.kind, named.model_dump(), *other, *rule, *beside]
    keys = settings.model_dump(exclude={"model", "pretrained", "weights", "preprocessing", *APART})
    others = {name: model_identity(encoder_settings(settings, name)) for name in sorted(settings.encoders)}
    return ["tars", model_identity(settings), keys, *([others] if others else []), *rule, *beside]


def _beside(source: Input, settings: Embedding) -> list[Any]:
    """Return what stands beside rows: of runs that ask for nothing nothing, as of versions that had none of it."""
    signals = settings.signals if source.has_pictures else ()
    asked = {name: list(values) for name, values in (("signals", signals), ("fields", source.fields)) if values}
    detector = {"detector": text_detector_identity()} if detects_text(signals) else {}
    return [{**asked, **detector, "version": SIGNALS_VERSION}] if asked else []


def _known(stage: StageRun, reusable: Reusable | None) -> ShardLocations:
    """Return where the rows are of the base's shards that are there as they were, and say which rows are missing."""
    if reusable is None:
        return {}
    identities = reusable.identities(NAME)
    found = {one: place for one, place in shard_locations(reusable.base).items() if one in identities}
    there = shards_there(found)
    gone = {one: place.store for one, place in found.items() if one not in there}
    for store in set(gone.values()):
        first, *more = (ROWS_NAME.format(one) for one, where in gone.items() if where == store)
        others = f", and so are {len(more):,} more beside it" if more else ""
        stage.runtime.tell_damaged(MissingError(store.path(first), f"is missing{others}"), COMPUTED_HERE)
    return {identity: place for identity, place in found.items() if identity in there}


def _embedded(
    stage: StageRun, source: Input, settings: Embedding, workers: Ray, shards: Sequence[Shard]
) -> Sequence[EmbeddedCounts]:
    if not source.has_pictures:
        reader = MetadataReader(vector_source(source), source.uid_rule, source.fields)
        return stage.over_shards("", "shards", shards, reader, stage.store)
    actors = Actors(partial(_plan, source, settings, workers, len(shards)))
    tasks = [of_shard(actors.task(shard.identity, shard, stage.store), shard) for shard in shards]
    return stage.map(tasks, "shards", actors)


def _plan(
    source: Input, settings: Embedding, workers: Ray, shards: int, capacity: Capacity
) -> ActorPlan[[Shard, Store], TarCounts]:
    shape, decoders = embedder_shape(settings, workers, capacity, shards)
    embedder = partial(tar_embedder, settings, decoders, source.uid_rule, source.fields)
    return ActorPlan(shape, embedder, settings.model)


def tar_embedder(
    settings: Embedding, decoders: int, uid_rule: UidRule = BY_URL, fields: Sequence[str] = ()
) -> Callable[[Shard, Store], TarCounts]:
    """Return a `TarEmbedder`; torch and open_clip are loaded by whoever calls this, an actor and not the driver."""
    from filtering.embedding.tars import TarEmbedder

    return TarEmbedder(settings, decoders, uid_rule, fields)
