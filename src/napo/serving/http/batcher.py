"""Requests that arrive together are worked on together, and no more wait than there is room for.

Path    app -> [serving.http.batcher] -> the model, in a thread of its own
Takes   jobs, one by one; a function that works on several at once
Gives   each job's answer; Full where too many wait already, which is a 503
"""

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
MOST_WAIT = (
    0.1  # seconds that a batch waits for those who may ask again: a client in the same house needs a tenth of it
)

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Full(Exception):
    """No room, or no answer in time. after: seconds after which trying again makes sense."""

    def __init__(self, after: int) -> None:
        super().__init__(f"try again in {after} s")
        self.after = after


@dataclass(eq=False)
class _Place(Generic[Job, Answer]):
    job: Job
    answer: "asyncio.Future[Answer]"


class Batcher(Generic[Job, Answer]):
    """One batch at a time, of the jobs that wait; whoever stops waiting frees the place.

    work: gives an answer, or the exception to raise, for each job. most: jobs in a batch. room: jobs that may wait.
    linger: a batch begins when as many wait as asked last time; the first one when none has come for so many seconds;
    each at the latest when a batch's time has gone by, or MOST_WAIT; 0: none waits. patience: seconds after which a job
    that still waits is given up.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Answer | Exception]],
        *,
        most: int,
        room: int,
        linger: float = 0.0,
        patience: float = math.inf,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        """seen: is told the size of each batch."""
        self._work, self._most, self._room = work, most, room
        self._linger, self._patience, self._seen = linger, patience, seen
        self._waiting: deque[_Place[Job, Answer]] = deque()
        self._arrived = asyncio.Event()
        self._batches: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._seconds = 1.0  # of a batch, lately
        self._asking = 0  # how many were answered by the last batch, or waited when it ended
        self._closing = self._at_work = False
        self.refused = 0
        # daemon: a batch that does not end can't keep the process from ending
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._running = asyncio.get_running_loop().create_task(self._run())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken on."""
        return not self._closing and not self._running.done() and self._thread.is_alive()

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._at_work

    async def ask(self, job: Job) -> Answer:
        """The job's answer. Raises Full, and what the work raised for this job."""
        if self._closing or len(self._waiting) >= self._room:
            self.refused += 1
            raise Full(self._after())
        place: _Place[Job, Answer] = _Place(job, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        self._arrived.set()
        try:
            async with asyncio.timeout(None if math.isinf(self._patience) else self._patience):
                return await place.answer
        except TimeoutError:
            self.refused += 1
            raise Full(self._after()) from None
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    async def close(self) -> None:
        """Take nothing on any more, and end when all that waits is answered."""
        self._closing = True
        self._arrived.set()
        await self._running
        self._batches.put(None)

    def _after(self) -> int:
        """Seconds until those that wait now are through, by the time that batches take."""
        return max(1, math.ceil(self._seconds * len(self._waiting) / self._most))

    async def _run(self) -> None:
        while not self._closing or self._waiting:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            if batch:
                await self._answer(batch)

    async def _gather(self) -> None:
        """Let those come who are on their way: whoever is answered together asks again together.

        Those whom the last batch answered are waited for, or they and those who waited meanwhile would take turns.
        When they are back it begins: to look whether still others come would let the processor stand idle.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + min(self._seconds, MOST_WAIT) if self._linger else 0.0  # as long as a batch takes, or less
        while len(self._waiting) < self._most and not self._closing and clock() < until:
            if self._asking:
                if len(self._waiting) >= self._asking:
                    break
                self._arrived.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(until - clock()):
                        await self._arrived.wait()
                continue
            before, worked = len(self._waiting), time.thread_time()
            await asyncio.sleep(self._linger)
            # not only by the clock: while the loop reads others, or writes to them, they may be about to ask
            if len(self._waiting) <= before and time.thread_time() - worked < self._linger / 4:
                break

    async def _answer(self, batch: Sequence[_Place[Job, Answer]]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Sequence[Answer | Exception]] = loop.create_future()

        def work() -> None:
            try:
                answers = self._work([place.job for place in batch])
            except Exception as error:
                log.exception("a batch of %d failed", len(batch))
                answers = [error] * len(batch)
            with suppress(RuntimeError):  # the loop has ended: nobody is left to be told
                loop.call_soon_threadsafe(done.set_result, answers)

        self._seen(len(batch))
        begun = time.monotonic()
        self._batches.put(work)
        answers = await done
        self._seconds, self._asking = time.monotonic() - begun, len(batch) + len(self._waiting)
        for place, answer in zip(batch, answers, strict=True):
            if place.answer.done():  # the client went away meanwhile
                continue
            if isinstance(answer, Exception):
                place.answer.set_exception(answer)
            else:
                place.answer.set_result(answer)

    def _serve(self) -> None:
        while (work := self._batches.get()) is not None:
            self._at_work = True
            work()
            self._at_work = False
