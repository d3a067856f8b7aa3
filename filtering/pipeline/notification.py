"""Notification: the payload about the end of a run, and its delivery. A failed delivery never fails the run."""

from collections.abc import Callable
from datetime import UTC, datetime

from filtering.config.run import Config
from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import FilteringError, one_line
from filtering.core.visible import visible
from filtering.pipeline.webhook import Webhook, body, deliver, webhook
from filtering.runtime.records import JsonObject
from filtering.runtime.run_record import RunRecord

LARGEST_BYTES = 64 << 10
LONGEST_ERROR = 2000
# Keys of run.json in a payload; only a run with a base has the last two.
INCLUDED = ("run_id", "totals", "manifest_hash", "recall", "reasons", "warnings", "base", "drift")
# Keys to leave out of a payload that is too large, in order.
LEFT_OUT = ("drift", "reasons", "warnings", "stages", "base")


def notified(
    config: Config, work: Callable[[], RunRecord], say: Callable[[str], None], clock: Clock = CLOCK
) -> RunRecord:
    """Call `work`, notify the webhook when it has ended, return run.json; InputError beforehand for a bad webhook."""
    if config.notify is None:
        return work()
    hook, began = webhook(config.notify), clock.wall()
    try:
        record = work()
    except BaseException as error:
        if "failure" in config.notify.when:
            # A person who stops a run waits for its end: there is one attempt only.
            attempts = hook.retries + 1 if isinstance(error, Exception) else 1
            _notify(hook, payload(config.output, began, error=error, clock=clock), say, attempts, clock)
        raise
    if "success" in config.notify.when:
        _notify(hook, payload(config.output, began, record=record, clock=clock), say, hook.retries + 1, clock)
    return record


def _notify(hook: Webhook, about: JsonObject, say: Callable[[str], None], attempts: int, clock: Clock) -> None:
    fault = deliver(hook, about, attempts, clock)
    if fault is not None:
        say(f"warning: notify: the webhook did not receive that the run {about['state']}: {fault}")


def payload(
    run: str,
    began: float,
    record: RunRecord | None = None,
    error: BaseException | None = None,
    clock: Clock = CLOCK,
) -> JsonObject:
    """Return the payload about a run that has ended: one that finished has a record, any other an error.

    It has ``text`` (a line for people, which chat programs show), ``state`` (finished, failed or stopped), ``run``,
    ``started`` (ISO 8601, UTC), ``seconds``; of a finished run the keys `INCLUDED` and ``stages``, seconds by name;
    of one that failed ``error``. It takes at most `LARGEST_BYTES` as JSON.
    """
    found: JsonObject = {
        "state": _state(error),
        "run": run,
        "started": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "seconds": round(clock.wall() - began, 1),
    }
    if record is not None:
        found |= {name: value for name, value in record.items() if name in INCLUDED and value is not None}
        found["stages"] = {stage["name"]: stage["seconds"] for stage in record.get("stages", ())}
    if isinstance(error, Exception):
        found["error"] = _words(error)
    # Chat programs show it to people; the other values are data.
    return _bounded({"text": visible(_line(found)), **found})


def _state(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    return "failed" if isinstance(error, Exception) else "stopped"


def _words(error: Exception) -> str:
    # Secrets in URLs, such as a proxy's password that a library quotes, are masked.
    return (str(error) if isinstance(error, FilteringError) else one_line(error))[:LONGEST_ERROR]


def _line(found: JsonObject) -> str:
    head = f"filtering {found['state']}: {found['run']} after {found['seconds']:,.0f} s"
    if "error" in found:
        return f"{head}: {found['error']}"
    if "totals" not in found:
        return head
    changes = ", ".join(f"{count:,} {name}" for name, count in found.get("base", {}).get("shards", {}).items())
    shards = f"; shards: {changes}" if changes else ""
    return f"{head}, kept {found['totals']['kept']:,} of {found['totals']['input']:,}{shards}"


def _bounded(found: JsonObject) -> JsonObject:
    """Leave out long values until the payload is small enough, and list the keys that are left out."""
    left_out = []
    for name in LEFT_OUT:
        if len(body(found)) <= LARGEST_BYTES:
            break
        if found.pop(name, None) is not None:
            left_out.append(name)
            found["left_out"] = left_out
    return found
