"""Calls that block, in a few threads of their own: whoever waits there keeps nobody else waiting.

Path    serving.http.events -> [serving.http.blocking] -> events.store
Takes   functions that wait for a lock, a disk, a server that is away
Gives   what they return or raise; Full where they come to nothing in time, which is a 503

The event loop's own threads are for what needs a processor alone. Were a locked database asked from these, a handful of
calls would keep every list from being made.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from napo.serving.http.batcher import Full

T = TypeVar("T")


class BlockingCalls:
    """threads: calls at a time. room: calls that may wait for one. patience: seconds that they wait, at most.

    limit: seconds for a call, waiting included, after which it is given up; longer than those that end by themselves.
    """

    def __init__(self, name: str, *, threads: int, room: int, patience: float, limit: float) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = asyncio.Semaphore(threads)  # of threads: the pool's own queue would have no end
        self._room, self._patience, self._limit = room, patience, limit
        self._waiting = 0

    async def ask(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises Full: the call was not made, or is under way still and may yet succeed."""
        try:
            async with asyncio.timeout(self._limit):
                await self._thread()
                return await asyncio.wrap_future(self._begun(call))
        except TimeoutError:
            raise Full(self._after) from None

    def close(self) -> None:
        """Take no more, and wait for nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _thread(self) -> None:
        if self._waiting >= self._room:
            raise Full(self._after)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        finally:
            self._waiting -= 1

    def _begun(self, call: Callable[[], T]) -> "Future[T]":
        loop = asyncio.get_running_loop()
        begun = self._threads.submit(call)

        def over(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits for a thread any more
                loop.call_soon_threadsafe(self._free.release)

        begun.add_done_callback(over)  # not where it is awaited: a thread goes on when nobody waits for it any more
        return begun

    @property
    def _after(self) -> int:
        return max(1, round(self._patience))
