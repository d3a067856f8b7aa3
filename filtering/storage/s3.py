"""S3 that survives throttling, broken connections and lost answers; storage uses it for every s3:// URL.

Each request is retried on its own, body included, by one loop: s3fs and botocore make one attempt. So a listing goes
on at the page, an upload at the part and a download at the block that failed. Each attempt ends within a time.
"""

import asyncio
import contextlib
import io
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiobotocore.session import AioSession
from botocore import exceptions as boto
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from filtering.core.errors import RunError
from filtering.storage.checksums import MissingError
from filtering.storage.retries import Backoff, ShortBodyError, count
from filtering.storage.s3_answers import NO_RANGE, code_of, judged, time_of
from filtering.storage.stalls import Steady, bounded
from filtering.storage.upload_parts import Part, Range, copied

BLOCK_BYTES = 8 << 20
PART_BYTES = 16 << 20
PARTS_AT_ONCE = 4
MOST_PARTS = 10_000
# A copy takes a request and no bytes.
COPIES_AT_ONCE = 16
REQUESTS_IN_FLIGHT = 32
# Of answers that are no object: the largest is a page of a listing.
ANSWER_BYTES = 1 << 20


class RetryingS3(S3FileSystem):  # type: ignore[misc]
    """S3 with retries, bounded memory and errors in one line.

    Endpoint and credentials come from the usual chain: environment, configuration files, the machine's role. Requests
    raise InputError if the bucket is not there, credentials are missing or refused, or access is denied; RunError if
    they kept failing, or an object was replaced while it was read; FileNotFoundError if an object is not there.
    """

    session: Any
    retries = 1
    connect_timeout = 10
    read_timeout = 60
    default_block_size = BLOCK_BYTES

    def __init__(self, *args: Any, max_concurrency: int = PARTS_AT_ONCE, **kwargs: Any) -> None:
        super().__init__(*args, max_concurrency=max_concurrency, **kwargs)
        # Here, not in the pool of connections: the time of an attempt begins when it has one.
        self._connections = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        # The tasks that send the parts of an upload, by its id.
        self._parts = defaultdict[str, set[asyncio.Task[Any]]](set)

    async def _read_block(self, path: str, start: int, end: int, etag: str = "") -> bytes:
        """Return the bytes from `start` to `end`, if the object still has this etag."""
        return (await self._block(path, start, end, etag))[0]

    read_block = sync_wrapper(_read_block)

    async def _create(self, path: str, data: bytes) -> bool:
        """Create an object only if none is there and say whether it was created; one of several at once succeeds."""
        # An answer may be lost, and aiohttp may repeat a request by itself: then a writer is refused by its own object.
        mark = uuid.uuid4().hex
        try:
            await self._pipe_file(path, data, mode="create", Metadata={"writer": mark})
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                return bool((await self._metadata(path)).get("writer") == mark)
            return False
        return True

    create = sync_wrapper(_create)

    async def _assemble(self, path: str, parts: Sequence[Part]) -> None:
        """Write an object of parts (`upload_parts`), most of which S3 copies from other objects.

        MissingError if one of these is not there. What has arrived of an upload that fails is taken back.
        """
        bucket, key, _ = self.split_path(path)
        upload = await self._call_s3("create_multipart_upload", Bucket=bucket, Key=key)
        place, turns = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}, asyncio.Semaphore(COPIES_AT_ONCE)

        async def put(number: int, part: Part) -> dict[str, Any]:
            async with turns:
                return {"PartNumber": number, "ETag": await self._put_part(part, {**place, "PartNumber": number})}

        try:
            put_parts = await asyncio.gather(*(put(number, part) for number, part in enumerate(parts, 1)))
            await self._call_s3("complete_multipart_upload", **place, MultipartUpload={"Parts": put_parts})
        except BaseException:
            await self._call_s3("abort_multipart_upload", **place)
            raise
        self.invalidate_cache(path)

    assemble = sync_wrapper(_assemble)

    async def _put_part(self, part: Part, place: Mapping[str, Any]) -> str:
        """Copy or send a part of an upload; return its etag."""
        if source := copied(part):
            given = f"bytes={source.start}-{source.end - 1}"
            try:
                answer = await self._call_s3(
                    "upload_part_copy", **place, CopySource=self._strip_protocol(source.url), CopySourceRange=given
                )
            except FileNotFoundError:
                raise MissingError(source.url) from None
            return str(answer["CopyPartResult"]["ETag"])
        body = b"".join([piece if isinstance(piece, bytes) else await self._piece(piece) for piece in part])
        return str((await self._call_s3("upload_part", **place, Body=body))["ETag"])

    async def _piece(self, piece: Range) -> bytes:
        try:
            return await self._read_block(self._strip_protocol(piece.url), piece.start, piece.end)
        except FileNotFoundError:
            raise MissingError(piece.url) from None

    async def set_session(self, refresh: bool = False, kwargs: Mapping[str, object] | None = None) -> Any:
        """Return the client, made first where there is none, that reads times fast."""
        if self.session is None:
            self.session, self._session_is_owned = AioSession(**self.kwargs), True
            self.session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=time_of)
        return await super().set_session(refresh, dict(kwargs or {}))

    def _prepare_config_kwargs(self) -> dict[str, object]:
        retries = {"mode": "standard", "total_max_attempts": 1}
        return {"max_pool_connections": REQUESTS_IN_FLIGHT, "retries": retries, **super()._prepare_config_kwargs()}

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        if method == "abort_multipart_upload":
            await self._end_parts(kwargs["UploadId"])
        if method not in ("upload_part", "upload_part_copy"):
            return await self._persistently(method, *akwarglist, **kwargs)
        upload, task = kwargs["UploadId"], asyncio.current_task()
        assert task is not None
        self._parts[upload].add(task)
        try:
            return await self._persistently(method, *akwarglist, **kwargs)
        finally:
            self._parts[upload].discard(task)
            if not self._parts[upload]:
                del self._parts[upload]

    call_s3 = sync_wrapper(_call_s3)

    async def _end_parts(self, upload: str) -> None:
        """End what still sends parts of an upload: where one fails, s3fs lets the others go on, which are paid for."""
        others = [task for task in self._parts.get(upload, ()) if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _persistently(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        backoff = Backoff(lambda error: judged(error, method, _url(kwargs)))
        while True:
            try:
                return await self._attempt(method, *akwarglist, **kwargs)
            except Exception as error:
                if method == "complete_multipart_upload" and (done := await self._completed(error, **kwargs)):
                    return done
                pause = backoff.pause(error)
            await asyncio.sleep(pause)

    async def _attempt(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        async with self._connections:
            async with bounded(self.read_timeout, max(len(kwargs.get("Body", b"")), ANSWER_BYTES)):
                response = await super()._call_s3(method, *akwarglist, **kwargs)
            if method == "get_object" and ("Range" in kwargs or response["ContentLength"] <= BLOCK_BYTES):
                given = response["Body"], _promised(response), _url(kwargs), self.read_timeout
                response["Body"] = await _Body.of(*given)
        if method == "delete_objects" and response.get("Errors"):
            # s3fs would say nothing of what was not deleted; to delete all of it again does no harm.
            raise OSError("some objects were not deleted") from boto.ClientError(
                {"Error": response["Errors"][0]}, method
            )
        if response.get("IsTruncated"):
            _check_goes_on(response, kwargs)
        count("written_bytes", len(kwargs.get("Body", b"")))
        return response

    async def _completed(self, error: Exception, Bucket: str, Key: str, MultipartUpload: Any, **_: object) -> Any:
        """Return the object of an upload that is unknown because an attempt whose answer was lost completed it."""
        if code_of(error) != "NoSuchUpload":
            return None
        head = await self._call_s3("head_object", Bucket=Bucket, Key=Key)
        return head if head["ETag"].endswith(f'-{len(MultipartUpload["Parts"])}"') else None

    async def _cat_file(
        self, path: str, version_id: str | None = None, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        if version_id is not None or start is not None or end is not None:
            data: bytes = await super()._cat_file(path, version_id, start, end, **kwargs)
            return data
        # One request for a small object where s3fs makes two; a large one is read from one version of it.
        first, size, etag = await self._block(path, 0, BLOCK_BYTES, "")
        starts = range(BLOCK_BYTES, size, BLOCK_BYTES)
        rest = await asyncio.gather(*(self._read_block(path, at, min(at + BLOCK_BYTES, size), etag) for at in starts))
        return b"".join([first, *rest]) if rest else first

    async def _block(self, path: str, start: int, end: int, etag: str) -> tuple[bytes, int, str]:
        """Return some bytes of an object, its size and its etag."""
        bucket, key, _ = self.split_path(path)
        condition = {"IfMatch": etag} if etag else {}
        try:
            response = await self._call_s3(
                "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **condition
            )
        except OSError as error:
            if start == 0 and code_of(error) in NO_RANGE:
                return b"", 0, ""
            raise
        size = int(response["ContentRange"].rpartition("/")[2])
        return await response["Body"].read(), size, response["ETag"]

    async def _ls(self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False) -> Any:
        """List a folder; s3fs would list its parent as well, which may be huge, where nothing is in it."""
        path = self._strip_protocol(path).rstrip("/")
        if "/" not in path:
            return await super()._ls(path, detail, refresh, versions)
        found = await self._lsdir(path, refresh, versions=versions)
        if not found:
            entry = await self._info(path)
            found = [entry]
        return found if detail else sorted(entry["name"] for entry in found)

    async def _pipe_file(self, path: str, data: bytes, chunksize: int = PART_BYTES, **kwargs: Any) -> Any:
        return await super()._pipe_file(path, data, chunksize=max(chunksize, -(-len(data) // MOST_PARTS)), **kwargs)

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> Any:
        parts = max(PART_BYTES, -(-Path(lpath).stat().st_size // MOST_PARTS))
        return await super()._put_file(lpath, rpath, **{"chunksize": parts, **kwargs})


class _Body:
    """A body that has arrived, in place of aiobotocore's, which is read from the connection."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    @classmethod
    async def of(cls, body: Any, size: int, url: str, patience: float) -> "_Body":
        try:
            data = await Steady(body.read, patience).read_all()
        finally:
            body.close()
        count("read_bytes", len(data))
        if len(data) != size:
            raise ShortBodyError(f"{url}: {len(data):,} bytes came where {size:,} were promised")
        return cls(data)

    async def read(self, size: int = -1) -> bytes:
        return self._data.read(size)

    def close(self) -> None:
        self._data.close()


def _promised(response: Mapping[str, Any]) -> int:
    """Return how many bytes an answer says that it has: by its range, which a proxy that cuts bodies leaves."""
    if "ContentRange" in response:
        first, _, last = response["ContentRange"].removeprefix("bytes ").partition("/")[0].partition("-")
        return int(last) - int(first) + 1
    return int(response["ContentLength"])


def _check_goes_on(page: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a page of a list that names no next page, or itself: it would end in nothing, or never."""
    if page.get("NextContinuationToken") in (None, asked.get("ContinuationToken")):
        raise RunError(f"{_url(asked)}: the store says that its list goes on, but not where")


def _url(request: Mapping[str, object]) -> str:
    bucket, key = request.get("Bucket", ""), request.get("Key") or request.get("Prefix", "")
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"
