"""The lease on a run's output, so that two runs never write the same place; it needs nothing but the storage.

The highest ``lease/<token>.json`` under the output is the current lease, and its token the fencing token. A lease is
taken by creating the next token exclusively, which is possible when there is none, or when the current one is
released, belongs to a dead process of this very machine, or is stale. It is kept by rewriting the object, the
heartbeat. Clocks of machines differ, so a heartbeat that looks old is believed only after the object was watched, by
this machine's monotonic clock, for longer than a heartbeat takes and did not change. An object that no release of this
package understands is treated in the same way: whoever writes it would change it, and nobody has to tidy up by hand.

What holds, where listings show finished writes (local disks, S3, GCS, Azure; an NFS client that caches directories
may be late by as long as it caches):

- Of runs that start at once, one goes on. This is exact where `storage.create_object` is. Elsewhere two that write the
  same token within a moment may both begin, and the one whose object was overwritten stops at its next heartbeat.
- A holder whose heartbeats are at most 15 s apart is never taken over, however wrong the clocks are; where they agree,
  none is before 60 s without one.
- A holder that was taken over learns it from its next look at the storage, and never before it looks.

What does not hold: that nothing is written after a takeover. Storage cannot refuse a late write, so that a process that
sleeps between a check and the write that the check was for still writes. Objects in folders named by a fingerprint come
to no harm, because both runs write the same bytes there. Only what has a fixed name (manifest/, report/, run.json,
events.jsonl) is at risk, for as long as lies between a ``check(fresh=True)`` and the write. And machines that were
restored from one snapshot, of one name, take each other's live processes for dead ones of their own.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from filtering.core.clock import SLEEPLESS, Clock
from filtering.core.errors import InputError, RunError
from filtering.core.formatting import duration
from filtering.storage.lease_record import (
    FOLDER,
    STALE_SECONDS,
    Holder,
    object_name,
    parsed,
    read_lease,
    taken_over,
    this_process,
    tokens_in,
)
from filtering.storage.store import Store, create_object

HEARTBEAT_SECONDS = 10.0
# In heartbeats: how long an old-looking lease is watched, and how old a look may be that check() relies on.
WATCHED = 1.5
TRUSTED = 2.0
# Earlier leases that stay, to be read after something went wrong.
KEPT = 2


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write of the run that holds `token` on the output `url`; can be sent to workers."""

    url: str
    token: int

    def check(self) -> None:
        """Raise RunError if the run's lease was taken over or removed; one listing."""
        folder = Store(self.url).child(FOLDER)
        tokens = tokens_in(folder)
        newest = max(tokens, default=0)
        if newest > self.token:
            raise RunError(taken_over(self.url, parsed(read_lease(folder, newest))))
        if self.token not in tokens:
            raise RunError(f"the lease on {self.url} was removed; this run stops")


class Lease:
    """The lease on a run's output, held and kept alive between entering and leaving the context; used once.

    The holder writes every `heartbeat_seconds`; after `stale_seconds` without a write another run may take over.
    `announce` receives a line before a lease is watched; `taken_over_from` is the holder that had stopped without
    releasing it, or None.
    """

    def __init__(
        self,
        store: Store,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        stale_seconds: float = STALE_SECONDS,
        clock: Clock = SLEEPLESS,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.taken_over_from: str | None = None
        self._url, self._folder = store.url, store.child(FOLDER)
        self._heartbeat_seconds, self._stale_seconds = heartbeat_seconds, stale_seconds
        self._clock, self._announce = clock, announce
        self._lost: str | None = None
        self._looked = self._beaten = self._clock.monotonic()
        self._stopped = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)
        self._mine = this_process(self._clock.wall())

    def __enter__(self) -> Self:
        self.acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lease, without keeping it alive; errors of a filesystem that cannot be written to pass.

        Raises InputError, one line that names the holder, if another run holds the lease or took it first.
        """
        newest = max(tokens_in(self._folder), default=0)
        former = self._former(newest) if newest else None
        self._looked = self._beaten = self._clock.monotonic()
        now = self._clock.wall()
        self._mine = self._mine.model_copy(update={"token": newest + 1, "acquired": now, "heartbeat": now})
        create_object(self._folder.path(object_name(newest + 1)), self._mine.data())
        self._settle()
        self.taken_over_from = former

    def fence(self) -> Fence:
        """Return what workers check before they commit."""
        return Fence(self._url, self._mine.token)

    def check(self, fresh: bool = False) -> None:
        """Raise RunError if the lease was taken over, or no heartbeat could be written for `stale_seconds`.

        `fresh` looks at the storage (one listing) rather than rely on the last look, at most `TRUSTED` heartbeats old.
        """
        if self._overdue() and self._thread.is_alive():
            # After a suspension the thread is due as well: what it finds decides.
            with self._progress:
                patience = TRUSTED * self._heartbeat_seconds
                self._progress.wait_for(lambda: self._lost or not self._overdue(), patience)
        if self._lost:
            raise RunError(self._lost)
        if fresh or self._clock.monotonic() - self._looked > TRUSTED * self._heartbeat_seconds:
            self._look()
        if self._overdue():
            silent = duration(self._clock.monotonic() - self._beaten)
            raise RunError(f"the lease on {self._url} could not be renewed for {silent}; this run stops")

    def beat(self) -> None:
        """Renew the lease once; RunError if it was taken over."""
        started = self._clock.monotonic()
        self._confirm()
        update = {"heartbeat": self._clock.wall(), "beats": self._mine.beats + 1}
        self._mine = self._mine.model_copy(update=update)
        self._folder.write(object_name(self._mine.token), self._mine.data())
        self._beaten = started

    def release(self) -> None:
        """Let the next run have the lease at once; does nothing if another run has taken it over."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._stale_seconds)
        # A lease that cannot be released goes stale by itself; how the run ended matters more.
        with contextlib.suppress(Exception):
            self._confirm()
            self._folder.write(object_name(self._mine.token), self._mine.model_copy(update={"released": True}).data())

    def _former(self, token: int) -> str | None:
        """Return whom the lease `token` is taken over from, None if it was released; refuse if it is held."""
        seen = read_lease(self._folder, token)
        holder = parsed(seen)
        if holder and (holder.released or holder.died_here()):
            return None if holder.released else str(holder)
        if holder and abs(age := self._clock.wall() - holder.heartbeat) <= self._stale_seconds:
            raise self._refusal(holder, max(age, 0.0))
        who = holder or f"an unreadable {FOLDER}/{object_name(token)}"
        now = self._watched(token, seen, who)
        if now == seen:
            return str(who)
        holder = parsed(now)
        if holder and holder.released:
            return None
        raise self._refusal(holder, 0.0)

    def _watched(self, token: int, seen: bytes, who: object) -> bytes:
        """Return the lease object once it differs from `seen`, or `seen` if it does not change for long enough."""
        watched = WATCHED * self._heartbeat_seconds
        self._announce(f"{self._url} seems to have been left by {who}; watching it for {duration(watched)} to be sure")
        until, now = self._clock.monotonic() + watched, seen
        while now == seen and self._clock.monotonic() < until:
            self._clock.sleep(self._heartbeat_seconds / 5)
            now = read_lease(self._folder, token)
        return now

    def _settle(self) -> None:
        """Make sure that the lease is ours, and clear away old ones.

        What is there now says who won. Whether the object could be created does not: a put that was sent twice says
        no although it was ours, and the name may be free again because those who came after cleared it away.
        """
        token = self._mine.token
        tokens = tokens_in(self._folder)
        ours = self._is_ours(parsed(read_lease(self._folder, token)))
        newest = max(tokens, default=0)
        if not ours or newest != token:
            if ours:
                self._folder.delete(object_name(token))
            raise self._refusal(parsed(read_lease(self._folder, newest)), 0.0)
        for old in tokens[: -1 - KEPT]:
            # What is no lease was not written by a run.
            if parsed(read_lease(self._folder, old)):
                self._folder.delete(object_name(old))

    def _refusal(self, holder: Holder | None, heard: float) -> InputError:
        line = f"output: {self._url} is being written by {holder or 'another run'}"
        if holder is not None:
            held = max(holder.heartbeat - holder.acquired, 0.0) + heard
            line += f", for {duration(held)}, last heard of {duration(heard)} ago"
        line += "; wait for it, stop it, or choose another output"
        if heard > TRUSTED * self._heartbeat_seconds:
            line += f"; if it is dead, it can be taken over in {duration(self._stale_seconds - heard)}"
        return InputError(line)

    def _look(self) -> None:
        started = self._clock.monotonic()
        try:
            self.fence().check()
        except RunError as error:
            raise self._lose(str(error)) from None
        self._looked = started

    def _confirm(self) -> None:
        """Look, also at our object: a filesystem without an exclusive create may have let another run replace it."""
        self._look()
        holder = parsed(read_lease(self._folder, self._mine.token))
        if not self._is_ours(holder):
            raise self._lose(taken_over(self._url, holder))

    def _is_ours(self, holder: Holder | None) -> bool:
        return holder is not None and holder.nonce == self._mine.nonce

    def _lose(self, message: str) -> RunError:
        self._lost = message
        return RunError(message)

    def _overdue(self) -> bool:
        return self._clock.monotonic() - self._beaten > self._stale_seconds

    def _keep_alive(self) -> None:
        started = self._clock.monotonic()
        while not self._lost:
            if self._stopped.wait(max(0.0, started + self._heartbeat_seconds - self._clock.monotonic())):
                return
            started = self._clock.monotonic()
            # The next one may succeed where this one failed; check() counts how long none did.
            with contextlib.suppress(Exception):
                self.beat()
            with self._progress:
                self._progress.notify_all()
