"""Embeddings of a finished run beside a new one: two selections over one pool embed it once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from filtering.core.errors import FilteringError
from filtering.core.formatting import counted
from filtering.embedding.artifacts import NAME
from filtering.embedding.locations import shard_locations, shards_there
from filtering.pipeline.context import RunContext
from filtering.pipeline.increment_record import read_increment
from filtering.runtime.finished_run import Base, Reusable, read_base, reusable_from
from filtering.runtime.latest import root_of
from filtering.runtime.references import run_of
from filtering.runtime.run_record import RUN, read_run
from filtering.runtime.stage import StageRun
from filtering.storage.outputs import place_of
from filtering.storage.store import Store

# Folders beside the output that are looked into, the last ones by name, and how many at once.
MOST, AT_ONCE = 256, 16


def embeddings_beside(context: RunContext, stage: StageRun) -> Reusable | None:
    """Return a finished run beside this one that has embedded the pool, or most of it, as this one would; None if none.

    Incremental runs are left out: retention deletes them and does not know who else reads them. `context.avoided` are
    the folders of embeddings of which something is damaged.
    """
    if not (context.config.reuse_embeddings and context.config.input.has_pictures) or context.reusable is not None:
        return None
    own, root = place_of(context.runtime.store.url), root_of(context.runtime.store)
    folders = [one for name in root.names()[-MOST:] if place_of((one := root.child(name)).url) != own]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = [
            base for base in threads.map(lambda folder: _embedded_alike(folder, stage.key.folder), folders) if base
        ]
    best = max((_whole(base, context) for base in found), key=_worth, default=None)
    if best is None or not best.identities(NAME):
        return None
    count, owners = counted(len(best.identities(NAME)), "shard"), _owners(best)
    context.runtime.progress.say(
        f"embeddings of {count} are taken from {' and '.join(owners)}, which must stay where it is; "
        "reuse_embeddings=false embeds them here"
    )
    context.runtime.events.append("embeddings_taken", runs=owners, shards=len(best.identities(NAME)))
    return best


def _whole(base: Base, context: RunContext) -> Reusable:
    """Return what of a run can be taken over: shards whose rows are there, in folders that are not avoided."""
    reusable = reusable_from(base, context.shards)
    try:
        places = shard_locations(base)
        there = shards_there(places)
    except (FilteringError, OSError):
        places, there = {}, set()
    whole = {identity for identity in there if places[identity].store.url not in context.avoided}
    gone = {(NAME, identity) for identity in reusable.identities() - whole}
    return replace(reusable, damaged=reusable.damaged | gone)


def _owners(reusable: Reusable) -> list[str]:
    """Return the runs in whose folders the embeddings lie: a run may itself have taken some over."""
    identities, places = reusable.identities(NAME), shard_locations(reusable.base)
    return sorted({run_of(place.store).url for identity, place in places.items() if identity in identities})


def _embedded_alike(run: Store, folder: str) -> Base | None:
    """Return a finished run whose embedding stage has a folder of that name; None where there is none to be read."""
    try:
        if not run.exists(RUN) or read_increment(run) is not None:
            return None
        alike = read_run(run)["objects"].get(NAME, "").rpartition("/")[2] == folder.rpartition("/")[2]
        return read_base(run) if alike else None
    except (FilteringError, OSError):
        # Whatever lies beside the output is none of this run's business.
        return None


def _worth(reusable: Reusable) -> tuple[int, float]:
    """Return how many of the pool's shards a run has, and when it finished."""
    return len(reusable.identities(NAME)), reusable.base.record.get("finished", 0.0)
