"""A webhook: its address, and the delivery of a payload to it.

No text here contains secrets, and the address may be one: errors of the HTTP client are named, not quoted.
"""

import asyncio
import os
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from filtering.config.notify import Notify
from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import InputError
from filtering.core.json_text import json_text
from filtering.runtime.records import JsonObject
from filtering.storage.retries import asked_seconds

LONGEST_PAUSE_SECONDS = 60.0
FIRST_CEILING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """The address of a webhook, with the secrets that the configuration only names."""

    url: str = field(repr=False)  # an http or https URL, which may be secret
    token: str | None = field(repr=False)  # a bearer token, or None
    timeout: float  # seconds for one attempt, from the connection to the response
    retries: int  # maximum number of further attempts


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt."""

    fault: str | None = None  # the error; None if the payload was accepted
    passing: bool = False  # whether the error may be temporary
    wait: float | None = None  # the seconds that the server wants until the next attempt, or None


def webhook(settings: Notify, environment: Mapping[str, str] = os.environ) -> Webhook:
    """Return the configured webhook; InputError, without the value, for a missing or invalid environment variable."""
    if settings.url_env is None:
        at, url = "notify.url", settings.url or ""
    else:
        at, url = f"notify.url_env: {settings.url_env}", _from(environment, "url_env", settings.url_env)
    token = None if settings.token_env is None else _from(environment, "token_env", settings.token_env)
    if not _is_web_address(url):
        raise InputError(f"{at}: must hold a URL that begins with https:// or http://")
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"notify.token_env: {settings.token_env} holds what cannot be sent as a bearer token")
    if token is not None and "@" in urlsplit(url).netloc:
        raise InputError(f"{at}: the URL holds a name already; leave out notify.token_env")
    return Webhook(url, token, settings.timeout, settings.retries)


def _from(environment: Mapping[str, str], key: str, name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise InputError(f"notify.{key}: the environment has no variable {name}")
    return value


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def deliver(hook: Webhook, payload: JsonObject, attempts: int | None = None, clock: Clock = CLOCK) -> str | None:
    """Post a payload; return None if it was accepted, else the reason in one line.

    Lost connections, time-outs, 429 and 5xx are retried, `hook.retries` times unless `attempts` is given, after growing
    pauses or those that the server asks for (Retry-After), of a minute at most. Redirects are not followed, because
    the token and the payload are for one address.
    """
    wanted = hook.retries + 1 if attempts is None else attempts
    data = body(payload)
    for number in range(1, wanted + 1):
        attempt = _attempt(hook, data, clock)
        if attempt.fault is None:
            return None
        if not attempt.passing or number == wanted:
            break
        clock.sleep(_pause(number, attempt.wait))
    return f"{attempt.fault} ({number} attempt{'s' * (number > 1)})"


def body(payload: JsonObject) -> bytes:
    """Return the bytes of a payload."""
    return json_text(payload, default=str).encode()


def _pause(number: int, asked: float | None) -> float:
    if asked is not None:
        return min(asked, LONGEST_PAUSE_SECONDS)
    ceiling: float = min(LONGEST_PAUSE_SECONDS, FIRST_CEILING_SECONDS * 2.0 ** (number - 1))
    return random.uniform(ceiling / 2, ceiling)


def _attempt(hook: Webhook, data: bytes, clock: Clock) -> Attempt:
    import aiohttp

    try:
        # In a thread of its own, because the caller may have a running event loop, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            status, after = thread.submit(lambda: asyncio.run(_post(hook, data))).result()
    except TimeoutError:
        return Attempt(f"no answer within {hook.timeout:g} s", passing=True)
    except aiohttp.ClientConnectionError as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Attempt(f"no connection: {' '.join(str(reason).split())}", passing=True)
    except Exception as error:
        return Attempt(f"no answer that can be read: {type(error).__name__}")
    if status < 300:
        return Attempt()
    redirect = ", a redirect, which is not followed" if status < 400 else ""
    return Attempt(f"the answer was {status}{redirect}", status == 429 or status >= 500, asked_seconds(after, clock))


async def _post(hook: Webhook, data: bytes) -> tuple[int, str | None]:
    import aiohttp

    headers = {"Content-Type": "application/json", "User-Agent": "filtering"}
    if hook.token is not None:
        headers["Authorization"] = f"Bearer {hook.token}"
    # For the whole attempt: a server that responds byte by byte must not delay the run.
    limit = aiohttp.ClientTimeout(total=hook.timeout)
    async with (
        aiohttp.ClientSession(timeout=limit, trust_env=True) as session,
        session.post(hook.url, data=data, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After")
