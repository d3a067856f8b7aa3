"""URLs and paths: the filesystem that each is on, and what its characters mean there."""

import re
import tarfile
import zipfile
import zlib

import fsspec
from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import InputError, first_line
from filtering.core.places import as_text
from filtering.core.uid_rule import CACHES

# By name: boto is imported, which takes a second, when the first URL of S3 is opened.
for _scheme, _class in (("s3", "s3.RetryingS3"), ("s3a", "s3.RetryingS3"), ("http", "http.Web"), ("https", "http.Web")):
    fsspec.register_implementation(_scheme, f"filtering.storage.{_class}", clobber=True)

REMOTE = ("s3://", "s3a://", "http://", "https://")
NOT_WRITTEN = "nothing can be written to a web server; give a path, or a store's URL such as s3://bucket/run"
_HTTP = re.compile(r"https?://", re.IGNORECASE)
# Slashes that follow one another, and folders called `.`: names of the same file on a disk, of another object on S3.
_REPEATED = re.compile(r"/(?:\.?/)+")
# It holds no state: fsspec, asked for it by every path, would spend a tenth of a small run on finding it.
_LOCAL = LocalFileSystem()
# Filesystems over another one, which follows `::`. Anything else before `::` is not a chain. Caches are passed by: they
# hand out what they hold of an object, also after it was written again, and describe the object as it is now.
ARCHIVES = {"dir", "libarchive", "reference", "tar", "zip"}
# The packages of filesystems that are no part of this one.
INSTALL = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "oss": "ossfs",
    "hf": "huggingface_hub",
    "ssh": "paramiko",
    "sftp": "paramiko",
    "dvc": "dvc",
}


def filesystem_of(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a URL and the path on it; InputError if there is no such filesystem here."""
    if as_text(url).startswith("data:"):
        # Its filesystem neither lists nor writes, and says so without the URL.
        raise InputError(f"{url}: is no place of files; give a path, or a store's URL such as s3://bucket/x")
    source = without_caches(url)
    if "://" not in source and not _is_chain(source):
        # A path, also one with `::` in it, which to fsspec is a chain of filesystems.
        return _LOCAL, _REPEATED.sub("/", _LOCAL._strip_protocol(source))
    try:
        # Listings are never cached: other processes write what this one reads.
        filesystem, path = fsspec.core.url_to_fs(source, use_listings_cache=False)
    except ImportError as error:
        package = INSTALL.get(scheme(url))
        remedy = f"install it on every node: pip install {package}" if package else first_line(error)
        raise InputError(f"{url}: {scheme(url)}:// needs a package that is not here; {remedy}") from None
    except (TypeError, ValueError) as error:
        # TypeError: a filesystem that wants more than a URL, such as reference://.
        raise InputError(f"{url}: cannot be opened ({first_line(error)})") from None
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        # Filesystems that connect when they are made, such as ftp and hdfs, and archives that are missing or none.
        raise InputError(f"{url}: cannot be opened ({type(error).__name__}: {first_line(error)})") from None
    return filesystem, _REPEATED.sub("/", path) if isinstance(filesystem, LocalFileSystem) else path


def without_caches(url: str) -> str:
    """Return a chain without the caches in it, such as s3://bucket/x of simplecache::s3://bucket/x; others as is."""
    if not _is_chain(url):
        return url
    *links, storage = url.split("::")
    return "::".join([*(link for link in links if link.partition("://")[0] not in CACHES), storage])


def scheme(url: str) -> str:
    """Return what a URL begins with, in lower case; of a chain the first one, of a path nothing."""
    return url.partition("://")[0].rpartition("::")[2].lower() if "://" in url else ""


def _is_chain(url: str) -> bool:
    return "::" in url and ("://" in url or url.partition("::")[0] in CACHES | ARCHIVES)


def last_link(url: str) -> str:
    """Return the URL of the object that a chain reads, such as an archive; other URLs as they are."""
    return url.rpartition("::")[2] if _is_chain(url) else url


def is_local(url: str) -> bool:
    """Say whether a URL is on this machine's disk."""
    if "::" not in url and url.startswith(REMOTE):
        # Known without making a filesystem: a pool has many URLs.
        return False
    return isinstance(filesystem_of(url)[0], LocalFileSystem)


def is_http(url: str) -> bool:
    """Say whether a URL is one of the web."""
    return _HTTP.match(without_caches(url)) is not None


def absolute(url: str) -> str:
    """Return a local path made absolute, so that workers elsewhere in the tree find it; other URLs as is."""
    return filesystem_of(url)[1] if is_local(url) else url


def is_pattern(path: str) -> bool:
    """Say whether filesystems take a path for a pattern."""
    return any(character in path for character in ("*[" if is_http(path) else "*?["))


def without_query(url: str) -> str:
    """Return a URL of the web without its query, such as ?download=true; other URLs as they are."""
    return re.split(r"[?#]", url, maxsplit=1)[0] if is_http(url) else url


def beside(url: str, suffix: str, other: str) -> str:
    """Return the URL of the object beside one, named like it but for its suffix; a query stays."""
    path = without_query(url)
    return path.removesuffix(suffix) + other + url[len(path) :]
