"""Secrets in URLs: found where a configuration is checked, and taken out of all that is printed or stored."""

import re
from urllib.parse import unquote

MASK = "***"
# A name and a secret before the host. A port is not a secret, and a secret may contain slashes.
_PASSWORD = re.compile(r"://[^/@:\s]*:(?!\d+(?:/|$))[^@\s]*@")
# A name alone is a token on the web and on the hub; elsewhere it is a user (ssh) or a container (abfs).
_TOKEN = re.compile(r"(?i:https?|hf)://[^/@:\s]+@")
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
_PARAMETER = re.compile(r"(?<=[?&;#])([\w.%-]+)=([^&;#\s\"'<>\\]+)")
_WEB, _SIGNED = re.compile(r"(?i:https?)://"), re.compile(r"(?i)[?&;](x-\w+-signature|signature|sig|awsaccesskeyid)=")
# Signed links of S3, Google, Azure (SAS), CloudFront and Akamai, and tokens and keys by their usual names.
_SECRET_NAME = re.compile(
    r"sig|auth|jwt|key-pair-id|hdn(ts|ea)|"
    r".*(token|secret|passw(or)?d|pwd|signature|credentials?|api[-_]?key|access[-_]?key([-_]?id)?|accessid|authorization)",
    re.IGNORECASE,
)


NOTIFY_REMEDY = "name an environment variable that holds it in notify.url_env"


def redacted(text: str) -> str:
    """Return a text with `MASK` in place of names, passwords, tokens and signatures in URLs, and of webhooks' paths."""
    if "://" not in text and "=" not in text:
        return text
    text = _PASSWORD.sub(f"://{MASK}@", text)
    text = _TOKEN.sub(lambda found: f"{found[0].partition('://')[0]}://{MASK}@", text)
    text = _HOOK_PATH.sub(rf"\1{MASK}", _HOOK.sub(rf"\1{MASK}", text))
    return _PARAMETER.sub(lambda found: f"{found[1]}={MASK}" if _is_secret(found) else found[0], text)


def secret_in(url: str) -> str:
    """Return in words what secret a URL, or what names one, holds; nothing if it holds none."""
    if "://" not in url:
        return ""
    # A secret may hold a space, which in a text ends a URL.
    if _PASSWORD.search(whole := re.sub(r"\s", "_", url)) or _TOKEN.search(whole):
        return "a name or password before the host"
    if _HOOK.search(whole):
        return "the path of a webhook"
    return next((f"the parameter {found[1]}" for found in _PARAMETER.finditer(url) if _is_secret(found)), "")


def refused_secret(where: str, url: str, remedy: str = "") -> str:
    """Return the line that refuses a URL that holds a secret, nothing if it holds none.

    `where` names its key or option; `remedy` is what to do where that is not the usual.
    """
    if not (found := secret_in(url)):
        return ""
    return f"{where}: {redacted(url)} holds credentials ({found}); {remedy or _remedy(url)}"


def _remedy(url: str) -> str:
    if _HOOK.search(url):
        return NOTIFY_REMEDY
    if _SIGNED.search(url):
        return "a signed link expires, and would be in every manifest; name the object by its store's URL (s3://...)"
    web = " (~/.netrc, or FSSPEC_HTTPS for headers)" if _WEB.search(url) else ""
    return f"leave them out and use the environment{web}"


def _is_secret(parameter: re.Match[str]) -> bool:
    return parameter[2] != MASK and _SECRET_NAME.fullmatch(unquote(parameter[1])) is not None
