"""What S3 and the ways to its credentials answer: errors and their verdicts, and times."""

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from filtering.core.errors import InputError, RunError, one_line
from filtering.storage.retries import (
    ATTEMPTS,
    DENIED_ATTEMPTS,
    THROTTLED_ATTEMPTS,
    THROTTLING_STATUS,
    ShortBodyError,
    Verdict,
    names_no_server,
    unknown_server,
)

CREDENTIALS_EXPIRED = {"ExpiredToken", "TokenRefreshRequired"}
CREDENTIALS_REFUSED = {
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
TRANSIENT_CODES = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "XAmzContentSHA256Mismatch",
}
THROTTLING_CODES = {
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
TRANSIENT_ERRORS = (
    aiohttp.ClientError,
    boto.ConnectionError,
    boto.FlexibleChecksumError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    ResponseParserError,
    OSError,
)
PRECONDITION = {"PreconditionFailed", "412"}
NO_RANGE = {"InvalidRange", "416"}


class NoBucketError(InputError, FileNotFoundError):
    """There is no such bucket."""


class NoCopyError(RunError):
    """The store takes no part of an upload that it would copy itself."""


def time_of(value: Any) -> datetime:
    """Return the time that a string says, as botocore does, which takes three quarters of the time of a listing."""
    try:
        return datetime.fromisoformat(value) if value[4:5] == "-" else parsedate_to_datetime(value)
    except (TypeError, ValueError):
        found: datetime = parse_timestamp(value)
        return found


def judged(error: Exception, method: str, what: str) -> Verdict:
    """Return the verdict on an error that s3fs raised for a request, such as get_object.

    Messages begin with `what`, a URL, and hold no text of the server's, which may repeat what was sent.
    """
    if isinstance(error.__cause__, boto.ClientError):
        return _judged_answer(error, method, what)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        line = f"{what}: no S3 credentials ({one_line(error)}); they come from the environment, files or a role"
        return Verdict(1, InputError(line))
    if isinstance(error, boto.SSOError | boto.TokenRetrievalError):
        return Verdict(1, InputError(f"{what}: the credentials have expired ({one_line(error)})"))
    if isinstance(error, boto.ParamValidationError):
        return Verdict(1, InputError(f"{what}: {one_line(error)}"))
    if isinstance(error, boto.CredentialRetrievalError):
        return Verdict(DENIED_ATTEMPTS, RunError(f"{what}: {one_line(error)}"))
    if isinstance(error, ShortBodyError):
        return Verdict(ATTEMPTS, error)
    if names_no_server(error):
        return unknown_server(what)
    if isinstance(error, TRANSIENT_ERRORS):
        return Verdict(ATTEMPTS, RunError(f"{what}: kept failing, last with {one_line(error)}"))
    if isinstance(error, boto.BotoCoreError):
        return Verdict(1, RunError(f"{what}: {one_line(error)}"))
    return Verdict(1, error)


def _judged_answer(error: Exception, method: str, what: str) -> Verdict:
    code, status = code_of(error), _status(error)
    shown = f"{code}, HTTP {status}" if status and code != str(status) else f"HTTP {code}"
    if code in CREDENTIALS_EXPIRED or code == "400":
        # The answer to a HEAD request has no body that says more.
        doubt = "" if code in CREDENTIALS_EXPIRED else ", or the region is wrong"
        line = f"{what}: the credentials have expired{doubt} ({shown}); renew them, then give the same command again"
        return Verdict(1, InputError(line))
    if code in CREDENTIALS_REFUSED:
        return Verdict(1, InputError(f"{what}: the credentials are refused ({shown})"))
    if status == 403 or code == "AccessDenied":
        # The answer to a HEAD request has no body that says which.
        denial = "access is denied, or the credentials are wrong" if code == "403" else "access is denied"
        return Verdict(DENIED_ATTEMPTS, InputError(f"{what}: {denial} ({shown})"))
    if code == "NoSuchBucket":
        return Verdict(1, NoBucketError(f"{what}: there is no such bucket"))
    if isinstance(error, FileNotFoundError):
        return Verdict(1, FileNotFoundError(f"{what}: is not there"))
    if code in PRECONDITION and method == "get_object":
        return Verdict(1, RunError(f"{what}: was replaced while it was read"))
    if code in PRECONDITION:
        return Verdict(1, FileExistsError(f"{what}: is there already"))
    if status == 501 and method == "upload_part_copy":
        return Verdict(1, NoCopyError(f"{what}: {method} is refused ({shown})"))
    if code in THROTTLING_CODES or status in THROTTLING_STATUS:
        return Verdict(THROTTLED_ATTEMPTS, RunError(f"{what}: kept failing, last with {shown}"))
    if code in TRANSIENT_CODES or status == 408 or (status >= 500 and status != 501):
        return Verdict(ATTEMPTS, RunError(f"{what}: kept failing, last with {shown}"))
    return Verdict(1, error if code in NO_RANGE else RunError(f"{what}: {method} is refused ({shown})"))


def code_of(error: Exception) -> str:
    """Return the code of an error that S3 answered with, nothing of other errors."""
    cause = error.__cause__
    return str(cause.response["Error"].get("Code", "")) if isinstance(cause, boto.ClientError) else ""


def _status(error: Exception) -> int:
    cause = error.__cause__
    metadata = cause.response.get("ResponseMetadata", {}) if isinstance(cause, boto.ClientError) else {}
    return int(metadata.get("HTTPStatusCode", 0))
