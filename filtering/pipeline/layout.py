"""The names of a run's objects in its output, and how a run's folder is told from what somebody else put there."""

import re
from collections.abc import Callable, Collection, Iterable
from functools import partial

from filtering.core.errors import DamagedError, FilteringError, InputError
from filtering.manifests.artifacts import KINDS
from filtering.manifests.places import check_apart
from filtering.pipeline.increment_record import RECORD, RETIRED, read_increment
from filtering.runtime.events import NAME as EVENTS
from filtering.runtime.events import first_event
from filtering.runtime.run_record import RUN, RunRecord, read_run
from filtering.runtime.stage import FOLDER as STAGES
from filtering.runtime.stage_progress import MADE_AGAIN
from filtering.storage.lease_record import FOLDER as LEASE
from filtering.storage.lease_record import held
from filtering.storage.local import whole_name
from filtering.storage.outputs import Layout, check_folder, check_inputs, check_output, delete_halves
from filtering.storage.store import Store

# The stages that write under fixed names, manifest/ and report/, rather than under their fingerprint.
FINAL = "final.json"
FINAL_FOLDERS = ("manifest", "report")
FINAL_STAGE = re.compile(r"(manifests|report)-[0-9a-f]{16}")
FILES = "|".join(map(re.escape, (RUN, EVENTS, RECORD, RETIRED)))
LAYOUT = Layout("output", re.compile(f"{FILES}|{LEASE}|{STAGES}|{'|'.join(FINAL_FOLDERS)}"))
OWN = re.compile(
    rf"({FILES}|{LEASE}/[0-9]{{8,}}\.json|{STAGES}/{re.escape(FINAL)}|{STAGES}/[^/]+-[0-9a-f]{{16}}/.+"
    r"|manifest/((kept|dropped|quarantined|by_uid)/[0-9]{8,}\.parquet|subset/[0-9]{8,}\.npy)"
    r"|manifest/(subset\.npy|shards\.jsonl|checksums\.json|by_uid\.json)"
    r"|report/(index\.html|page\.json))"
)


def check_run_output(output: Store, inputs: Iterable[str], into_existing: bool) -> None:
    """Refuse an output that is in the place of the input or inside another run, or holds what no run wrote.

    See `check_apart` and `check_output`; a run that has begun goes on where it is.
    """
    check_folder(LAYOUT.key, output.url)
    check_inputs(output, LAYOUT, inputs)
    if not (_has_events(output) or _has_record(output)):
        check_apart(output.url, LAYOUT)
        # The lease is the first that any run writes; incremental runs have one on the folder of their folders, too.
        check_output(output, LAYOUT, {LEASE} if held(output) else (), into_existing)


def tell_replaced(
    output: Store, difference: Callable[[RunRecord], str], say: Callable[[str], None], told: Collection[str] = ()
) -> None:
    """Say in a line which finished run is replaced, if there is one that `difference` tells from the new run.

    Of a run whose record is damaged it is said that it is made again, unless its URL is among those `told`.
    """
    try:
        found = read_run(output)
    except InputError:
        return
    except DamagedError as error:
        if error.url not in told:
            say(f"{error.url}: {error.fault}; {MADE_AGAIN}")
        return
    if other := difference(found):
        was = f"manifest {found['manifest_hash'][:16]}, {found['totals']['kept']:,} kept"
        say(f"output: replaces the finished run there, {other} ({was})")


def is_own(name: str) -> bool:
    """Return whether an object is a run's, by its name relative to the run's directory; so is one half written."""
    return OWN.fullmatch(whole_name(name)) is not None


def delete_own(run: Store, folder: str) -> None:
    """Delete the objects of a run inside one of its folders; what else is there stays."""
    top = run.url.rstrip("/") + "/"
    run.child(folder).delete_but(lambda url: not is_own(url.removeprefix(top)))


def delete_half_written(run: Store) -> None:
    """Delete what writes under fixed names left that were killed: for who holds the lease, before any task runs."""
    for folder in ("", LEASE, STAGES, *FINAL_FOLDERS, *(f"manifest/{name}" for name in (*KINDS, "by_uid", "subset"))):
        prefix = f"{folder}/" if folder else ""
        delete_halves(run.child(folder) if folder else run, partial(_is_own_in, prefix))


def _is_own_in(prefix: str, name: str) -> bool:
    return is_own(prefix + name)


def _has_events(folder: Store) -> bool:
    return {"time", "event", "config_hash"} <= first_event(folder).keys()


def _has_record(folder: Store) -> bool:
    try:
        found = folder.read_json(RUN) if folder.exists(RUN) else None
        finished = isinstance(found, dict) and {"run_id", "config_hash"} <= found.keys()
        return finished or read_increment(folder) is not None
    except FilteringError:
        return False
