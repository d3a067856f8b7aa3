"""Bounds on connections that are alive and bring next to nothing: time-outs of a read begin anew with every byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# Slower connections are given up: 8 MiB take nine minutes at most, where a byte a second would take months.
SLOWEST_BYTES_PER_SECOND = 16 << 10
CHUNK_BYTES = 1 << 20


@asynccontextmanager
async def bounded(seconds: float, size: int = 0) -> AsyncIterator[None]:
    """Raise TimeoutError if the block, in which `size` bytes move, takes longer than the slowest connection may."""
    allowed = seconds + size / SLOWEST_BYTES_PER_SECOND
    try:
        async with asyncio.timeout(allowed):
            yield
    except TimeoutError as error:
        # Those of libraries say more.
        raise error if str(error) else TimeoutError(f"no whole answer within {allowed:,.0f} s") from None


class Steady:
    """What a connection brings; TimeoutError if that is less, for `seconds`, than the slowest one must bring.

    `read` returns at most as many bytes as it is asked for, none at the end. Time between reads does not count.
    """

    def __init__(self, read: Callable[[int], Awaitable[bytes]], seconds: float) -> None:
        self._read, self._seconds = read, seconds
        self._left, self._came = seconds, 0

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return at most `size` bytes, none at the end."""
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._left):
                data = await self._read(size)
        except TimeoutError as error:
            line = f"{self._came:,} bytes came within {self._seconds:,.0f} s"
            raise error if str(error) else TimeoutError(line) from None
        self._left -= asyncio.get_running_loop().time() - started
        self._came += len(data)
        if self._came >= self._seconds * SLOWEST_BYTES_PER_SECOND:
            self._left, self._came = self._seconds, 0
        return data

    async def read_all(self) -> bytes:
        """Return all bytes up to the end."""
        parts = list[bytes]()
        while data := await self.read():
            parts.append(data)
        return b"".join(parts)
