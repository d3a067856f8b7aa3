"""Secrets in URLs: found where a configuration is checked, and taken out of all that is printed or stored."""

import re
from itertools import pairwise
from urllib.parse import unquote

MASK = "***"
# Where a name and a secret begin, and the colon between them. A port is no secret, but a bucket has none; a secret may
# hold slashes. What follows `::` is another URL. With a slash too few it is no URL, but still a secret.
_NAMED = re.compile(
    r"(?i)(?:(?<!\w)(?:s3a?|gc?s|oss):/{1,2}(?=[^/:\s]*(:))|"
    r"(?:://|(?<!\w)(?:https?|hf|az|abfss?|hdfs|s?ftp|ssh):/)"
    r"(?=[^/:\s]*(:)(?!\d+(?:/|$)|:(?:\w+::)*[\w+.-]+:/)))"
)
# A name alone is a token on the web and on the hub; elsewhere it is a user (ssh) or a container (abfs).
_TOKEN = re.compile(r"(?i)(?<!\w)((?:https?|hf):/{1,2})[^/:\s]+@")
# Whoever knows the address of a webhook can post to it: those of chat programs and of what passes messages on.
_HOOK = re.compile(
    r"((?i:https?)://(?:hooks\.slack(?:-gov)?\.com|(?:\w+\.)?discord(?:app)?\.com/api(?:/v\d+)?/webhooks|"
    r"[\w.-]+\.webhook\.office\.com|outlook\.office(?:365)?\.com/webhook|hooks\.zapier\.com|hook\.(?:\w+\.)?make\.com|"
    r"maker\.ifttt\.com|chat\.googleapis\.com|api\.telegram\.org)(?::\d+)?/)(?!\*\*\*)[^\s\"'<>\\]+"
)
# Elsewhere what follows `hooks` or `webhooks` is masked where a part of it is as long as a token; but it may be a name.
_PART = r"[^/\s\"'<>\\?#]{1,255}"
_HOOK_PATH = re.compile(
    rf"((?i:https?)://{_PART}(?:/{_PART}){{0,8}}?/(?:web)?hooks?/)"
    rf"(?:{_PART}/){{0,8}}?[\w-]{{16,255}}(?![\w.-])[^\s\"'<>\\]*"
)
# A value may be quoted, and a name may end in brackets: those of a list.
_PARAMETER = re.compile(r"(?<=[?&;#])([\w.%-]+)(?:\[\w*\])?=((?:[\"'<\\]+(?=[\w%+/.~-]))?[^&;#\s\"'<>\\]+)")
_HOST = re.compile(r"[\w.-]+(?::\d+)?(?=/|$)")
_SCHEME = re.compile(r"([\w+.-]{1,32}):/{1,2}")
_WEB, _SIGNED = re.compile(r"(?i:https?)://"), re.compile(r"(?i)[?&;](x-\w+-signature|signature|sig|awsaccesskeyid)=")
# Signed links of S3, Google, Azure (SAS), CloudFront and Akamai, and tokens and keys by their usual names.
_SECRET_NAME = re.compile(
    r"sig|sign|sas|hmac|auth|bearer|jwt|pass|key-pair-id|hdn(ts|ea)|session([-_]?(id|key))?|"
    r".*(token|secret|passw(or)?d|pwd|signature|credentials?|access[-_]?key([-_]?id)?|accessid|authorization|"
    r"(api|app|auth|private|account|shared|subscription|functions)[-_]?key)(\[\w*\])?",
    re.IGNORECASE,
)
# What keys of Google's interfaces and Azure's functions are called, and names of objects and codes of languages, too.
_KEY_NAME = re.compile(r"key|code", re.IGNORECASE)
_KNOWN_KEY = re.compile(r"AIza[\w-]{30,}|(?i:(?=.*\d)(?=.*[a-f])[\da-f]{32,})")
_BASE64 = re.compile(r"[A-Za-z\d+/_-]{20,}={0,2}")
# How often a capital, a small letter and a digit follow another of the three: 0.62 in random ones, 0.3 in names.
_CHANGES = 0.4
_WORD = re.compile(r"\S+")
_BEFORE_HOST = "a name or password before the host"
NOTIFY_REMEDY = "name an environment variable that holds it in notify.url_env"


def redacted(text: str) -> str:
    """Return a text with `MASK` in place of names, passwords, tokens and signatures in URLs, and of webhooks' paths."""
    if ":/" not in text and "=" not in text:
        return text
    if "@" in text:
        text = _TOKEN.sub(rf"\1{MASK}@", _WORD.sub(lambda word: _without_password(word[0]), text))
    text = _HOOK_PATH.sub(rf"\1{MASK}", _HOOK.sub(rf"\1{MASK}", text))
    return _PARAMETER.sub(lambda found: _masked(found) if _is_secret(found) else found[0], text)


def secret_in(url: str) -> str:
    """Return in words what secret a URL, or what names one, holds; nothing if it holds none."""
    if ":/" not in url:
        return ""
    # A secret may hold a space, which in a text ends a URL.
    whole = re.sub(r"\s", "_", url)
    if _without_password(whole) != whole or _TOKEN.search(whole):
        return _BEFORE_HOST
    if _HOOK.search(whole):
        return "the path of a webhook"
    parameters = _PARAMETER.finditer(url) if "://" in url else ()
    return next((f"the parameter {found[1]}" for found in parameters if _is_secret(found)), "")


def refused_secret(where: str, url: str, remedy: str = "") -> str:
    """Return the line that refuses a URL that holds a secret, nothing if it holds none.

    `where` names its key or option; `remedy` is what to do where that is not the usual. Of the URL only its scheme and
    host are shown: where a secret ends in it is not certain.
    """
    if not (found := secret_in(url)):
        return ""
    return f"{where}: {_beginning(url, found)} holds credentials ({found}); {remedy or _remedy(url)}"


def _without_password(word: str) -> str:
    """Return a text without spaces with `MASK` from where a name and a password begin to the last @."""
    last = word.rfind("@")
    found = _NAMED.search(word) if last >= 0 else None
    if found is None or max(found.start(1), found.start(2)) > last:
        return word
    return f"{word[: found.end()]}{MASK}{word[last:]}"


def _beginning(url: str, found: str) -> str:
    """Return a URL's scheme and host, with `MASK` for what comes before or after; only what is surely the host."""
    scheme = _SCHEME.search(url)
    if scheme is None:
        return MASK
    address, _, rest = re.split(r"([?#])", url[scheme.end() :] + "?", maxsplit=1)
    _, at, place = address.rpartition("@")
    host = _HOST.match(place)
    if found != _BEFORE_HOST:
        return f"{scheme[1]}://{host[0]}/{MASK}" if host and not at else f"{scheme[1]}://{MASK}"
    return f"{scheme[1]}://{MASK}@{host[0]}" if host and at and "@" not in rest else f"{scheme[1]}://{MASK}"


def _masked(parameter: re.Match[str]) -> str:
    return f"{parameter[0][: parameter.start(2) - parameter.start()]}{MASK}"


def _remedy(url: str) -> str:
    if _HOOK.search(url):
        return NOTIFY_REMEDY
    if _SIGNED.search(url):
        return "a signed link expires, and would be in every manifest; name the object by its store's URL (s3://...)"
    web = " (~/.netrc, or FSSPEC_HTTPS for headers)" if _WEB.search(url) else ""
    return f"leave them out and use the environment{web}"


def _is_secret(parameter: re.Match[str]) -> bool:
    name = unquote(parameter[1])
    if parameter[2] != MASK and _SECRET_NAME.fullmatch(name):
        return True
    return _KEY_NAME.fullmatch(name) is not None and _looks_like_key(unquote(parameter[2]).strip("\"'"))


def _looks_like_key(value: str) -> bool:
    """Say whether a value looks random and is long enough for a key: Google's, hexadecimal digits, or base64."""
    if _KNOWN_KEY.fullmatch(value):
        return True
    kinds = [(one.isupper(), one.isdigit()) for one in value if one.isalnum()]
    changes = sum(one != other for one, other in pairwise(kinds))
    return _BASE64.fullmatch(value) is not None and len(set(kinds)) == 3 and changes >= _CHANGES * len(kinds)
