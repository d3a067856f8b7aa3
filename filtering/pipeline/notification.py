"""A webhook is told how a run ended: what it is told, and when. A delivery that fails never fails the run."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from filtering.config.run import CREDENTIALS, Config
from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import FilteringError, one_line
from filtering.pipeline.webhook import Webhook, body, deliver, webhook

LARGEST_BYTES = 64 << 10
LONGEST_ERROR = 2000
# What of run.json is told; only a run with a base has the last two.
TOLD = ("run_id", "totals", "manifest_hash", "recall", "reasons", "warnings", "base", "drift")
# What goes first from a payload that is too large.
SPARED = ("drift", "reasons", "warnings", "stages", "base")


def notified(
    config: Config, work: Callable[[], dict[str, Any]], say: Callable[[str], None], clock: Clock = CLOCK
) -> dict[str, Any]:
    """Return what `work` returns, a run.json, and tell the configured webhook how it ended.

    Raises
    ------
    InputError
        Before `work` is called, if an environment variable that the configuration names is missing.
    """
    if config.notify is None:
        return work()
    hook, began = webhook(config.notify), clock.wall()
    try:
        record = work()
    except BaseException as error:
        if "failure" in config.notify.when:
            # Whoever stops a run waits for its end: that is told once, and not again.
            attempts = hook.retries + 1 if isinstance(error, Exception) else 1
            _tell(hook, payload(config.output, began, error=error, clock=clock), say, attempts, clock)
        raise
    if "success" in config.notify.when:
        _tell(hook, payload(config.output, began, record=record, clock=clock), say, hook.retries + 1, clock)
    return record


def _tell(hook: Webhook, told: dict[str, Any], say: Callable[[str], None], attempts: int, clock: Clock) -> None:
    fault = deliver(hook, told, attempts, clock)
    if fault is not None:
        say(f"warning: notify: the webhook was not told that the run {told['state']}: {fault}")


def payload(
    run: str,
    began: float,
    record: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
    clock: Clock = CLOCK,
) -> dict[str, Any]:
    """Return what a webhook is told of a run.

    Parameters
    ----------
    run : str
        The run's path or URL.
    began : float
        When it began, seconds since the epoch.
    record : mapping, optional
        The run.json of a run that finished.
    error : BaseException, optional
        What ended a run that did not finish.
    clock : Clock, optional
        Says how late it is now.

    Returns
    -------
    dict
        ``text`` (a line for people, which chat programs show), ``state`` (finished, failed or stopped), ``run``,
        ``started`` (ISO 8601, UTC), ``seconds``; of a run that finished what `TOLD` names and ``stages``, seconds by
        name; else ``error``. At most `LARGEST_BYTES` as JSON.
    """
    told: dict[str, Any] = {
        "state": _state(error),
        "run": run,
        "started": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "seconds": round(clock.wall() - began, 1),
    }
    if record is not None:
        told |= {name: record[name] for name in TOLD if record.get(name) is not None}
        told["stages"] = {stage["name"]: stage["seconds"] for stage in record.get("stages", ())}
    if error is not None:
        told["error"] = _words(error)
    return _bounded({"text": _line(told), **told})


def _state(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    return "failed" if isinstance(error, Exception) else "stopped"


def _words(error: BaseException) -> str:
    # A password in a URL, such as a proxy's in a library's words, would leave the house.
    if isinstance(error, FilteringError):
        text = str(error)
    else:
        text = one_line(error) if isinstance(error, Exception) else type(error).__name__
    return CREDENTIALS.sub("://***@", text)[:LONGEST_ERROR]


def _line(told: Mapping[str, Any]) -> str:
    head = f"filtering {told['state']}: {told['run']} after {told['seconds']:,.0f} s"
    if "error" in told:
        return f"{head}: {told['error']}"
    if "totals" not in told:
        return head
    changes = ", ".join(f"{count:,} {name}" for name, count in told.get("base", {}).get("shards", {}).items())
    shards = f"; shards: {changes}" if changes else ""
    return f"{head}, kept {told['totals']['kept']:,} of {told['totals']['input']:,}{shards}"


def _bounded(told: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may be long until the rest is small enough, and say what is left out."""
    left_out = []
    for name in SPARED:
        if len(body(told)) <= LARGEST_BYTES:
            break
        if told.pop(name, None) is not None:
            left_out.append(name)
            told["left_out"] = left_out
    return told
