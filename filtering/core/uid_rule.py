"""Uids of samples that bring none: what of a shard's URL they follow from."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from filtering.core.errors import InputError

Uids = Literal["url", "name"]

LOCAL = re.compile(r"(?:file|local):(?://)?")
# Several names of one storage; a cache in front of one changes nothing.
ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs"}
CACHES = {"blockcache", "cached", "filecache", "simplecache"}
WEB = ("http", "https")
# Where what precedes an @ is a login; elsewhere it may be a container or a repository.
LOGINS = (*WEB, "s3", "gs", "ftp", "ftps", "sftp", "ssh", "smb", "hdfs", "webhdfs", "webdav", "webdavs")
# Percent-encoded, these mean the same (RFC 3986, 2.3).
UNRESERVED = re.compile(r"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)
RESERVED = re.compile(r"%[0-9A-F]{2}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UidRule:
    """What a derived uid follows from: the shard's URL, below `root` where that is given, or its base name alone.

    The root is spelled as `canonical_url` spells it.
    """

    uids: Uids = "url"
    root: str | None = None

    def place(self, url: str) -> str:
        """Return what of a shard's URL is hashed with a sample's key; InputError if the shard is not below the root."""
        if self.uids == "name":
            return posixpath.basename(urlsplit(url).path if urlsplit(url).scheme in WEB else url)
        place = canonical_url(url)
        if self.root is None:
            return place
        if not place.startswith(inside := self.root.rstrip("/") + "/"):
            raise InputError(f"input.root: {place} is not below {self.root}; give a folder that holds every shard")
        return place.removeprefix(inside)

    @classmethod
    def recorded(cls, record: Mapping[str, object]) -> "UidRule":
        """Return the rule of a finished run by its run.json; what says nothing of it is older, and took the name."""
        config = record.get("config")
        source = config.get("input") if isinstance(config, dict) else None
        found = source if isinstance(source, dict) else {}
        root = found.get("root")
        return cls("url", root if isinstance(root, str) else None) if found.get("uids") == "url" else cls("name")

    def __str__(self) -> str:
        """Name the keys that ask for this rule."""
        return f"input.uids: {self.uids}" + (f", input.root: {self.root}" if self.root is not None else "")


BY_URL = UidRule()
"""The rule of a run that says nothing of it."""


def canonical_url(url: str) -> str:
    """Return one spelling of a URL, without credentials and, where it has one, without its query.

    A path on a disk is absolute and plain, without scheme, links as they are. Keys of object stores are taken to the
    letter, of the web's URLs the escapes are alike. A chain (``zip://a.tar::s3://pool/b.zip``) begins with its storage.
    """
    *inner, storage = url.split("::")
    parts = [link for link in inner if link.partition("://")[0] not in CACHES]
    return "::".join([_storage(storage), *reversed(parts)])


def _storage(url: str) -> str:
    scheme, _, rest = url.partition("://")
    local = LOCAL.match(url)
    if local or not rest or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        path = posixpath.expanduser(url[local.end() :] if local else url)
        # Links stay as they are; POSIX keeps two slashes in front apart, and no disk here does.
        return re.sub("^//", "/", posixpath.abspath(path))
    name = ALIASES.get(scheme.lower(), scheme.lower())
    host, slash, path = rest.partition("/")
    if name in LOGINS:
        host = host.rpartition("@")[2]
    if name in WEB:
        return f"{name}://{host.lower()}{_web_path(url)}"
    return f"{name}://{host}{slash}{path}"


def _web_path(url: str) -> str:
    plain = UNRESERVED.sub(lambda found: unquote(found[0]), re.sub(r"/(\./)+", "/", urlsplit(url).path))
    escaped = quote(plain, safe="%/:@!$&'()*+,;=~")
    return RESERVED.sub(lambda found: found[0].upper(), escaped)
