"""Jobs that wait are worked on together; too many are refused; who goes away frees the place."""

import asyncio
import threading
import time

import pytest

from napo.serving.http import batcher
from napo.serving.http.batcher import Batcher, Full


def run(test):
    return asyncio.run(asyncio.wait_for(test(), 20))


class Gate:
    """Work that waits until it is let go, and remembers what came together."""

    def __init__(self):
        self.open, self.batches = threading.Event(), []

    def __call__(self, jobs):
        self.batches.append(list(jobs))
        assert self.open.wait(10)
        return [job * 10 for job in jobs]


async def begun(gate, batches=1):
    while len(gate.batches) < batches:
        await asyncio.sleep(0.001)


def test_what_arrives_while_a_batch_runs_is_the_next_batch():
    async def test():
        gate = Gate()
        batcher = Batcher(gate, most=3, room=10)
        first = asyncio.ensure_future(batcher.ask(1))
        await begun(gate)
        others = [asyncio.ensure_future(batcher.ask(job)) for job in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        assert batcher.waiting == 4
        gate.open.set()
        assert await asyncio.gather(first, *others) == [10, 20, 30, 40, 50]
        assert gate.batches == [[1], [2, 3, 4], [5]]

    run(test)


def test_a_job_waits_a_little_for_company():
    async def test():
        gate = Gate()
        gate.open.set()
        batcher = Batcher(gate, most=8, room=10, linger=0.2)
        first = asyncio.ensure_future(batcher.ask(1))
        await asyncio.sleep(0.02)
        assert await asyncio.gather(first, batcher.ask(2)) == [10, 20]
        assert gate.batches == [[1, 2]]

    run(test)


def test_who_keeps_coming_is_waited_for_but_no_longer_than_a_batch_takes(monkeypatch):
    monkeypatch.setattr(batcher, "MOST_WAIT", 10.0)

    async def test():
        gate = Gate()
        gate.open.set()
        desk = Batcher(gate, most=50, room=50, linger=0.3)

        async def come(jobs):
            asked = []
            for job in jobs:
                asked.append(asyncio.ensure_future(desk.ask(job)))
                await asyncio.sleep(0.1)
            await asyncio.gather(*asked)

        await come(range(6))  # for longer than 0.3 s, and no batch has said yet how long one takes
        assert gate.batches == [list(range(6))]
        await come(range(10))  # that batch took no time at all: the next one waits for 0.3 s and goes
        assert len(gate.batches) > 2

    run(test)


def test_two_halves_of_the_askers_become_one():
    async def test():
        sizes = []

        def work(jobs):
            sizes.append(len(jobs))
            time.sleep(0.1)
            return list(jobs)

        batcher = Batcher(work, most=8, room=9, linger=0.002)

        async def asks(late):
            await asyncio.sleep(late)
            for job in range(6):
                await batcher.ask(job)
                await asyncio.sleep(0.02)  # longer than `linger`: so long it takes to ask again

        await asyncio.gather(*(asks(0.05 * (number % 2)) for number in range(8)))  # a half comes during a batch
        assert sizes[0] == 4
        assert sizes[2:5] == [8, 8, 8]

    run(test)


def test_who_does_not_come_back_is_waited_for_once():
    async def test():
        gate = Gate()
        gate.open.set()
        batcher = Batcher(gate, most=8, room=9, linger=0.002)
        await asyncio.gather(*map(batcher.ask, range(8)))
        for job in range(3):
            await batcher.ask(job)
        assert gate.batches[1:] == [[0], [1], [2]]
        assert batcher._asking == 1

    run(test)


def test_who_comes_alone_after_a_long_batch_does_not_wait_for_as_long():
    async def test():
        def work(jobs):
            if len(jobs) > 1:
                time.sleep(1.5)
            return list(jobs)

        batcher = Batcher(work, most=8, room=9, linger=0.02)
        await asyncio.gather(*map(batcher.ask, range(4)))
        begun = time.monotonic()
        await batcher.ask(5)
        assert time.monotonic() - begun < 1.0

    run(test)


def test_where_there_is_no_room_a_job_is_refused_and_told_when_to_come_again():
    async def test():
        gate = Gate()
        batcher = Batcher(gate, most=1, room=2)
        tasks = [asyncio.ensure_future(batcher.ask(1))]
        await begun(gate)
        tasks += [asyncio.ensure_future(batcher.ask(job)) for job in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(Full) as refused:
            await batcher.ask(4)
        assert refused.value.after >= 1
        assert batcher.refused == 1
        gate.open.set()
        assert await asyncio.gather(*tasks) == [10, 20, 30]

    run(test)


def test_who_goes_away_frees_the_place_and_is_not_worked_for():
    async def test():
        gate = Gate()
        batcher = Batcher(gate, most=5, room=2)
        first = asyncio.ensure_future(batcher.ask(1))
        await begun(gate)
        gone, stays = (asyncio.ensure_future(batcher.ask(job)) for job in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        gate.open.set()
        assert await asyncio.gather(first, stays) == [10, 30]
        assert gate.batches == [[1], [3]]

    run(test)


def test_nobody_waits_for_longer_than_was_said():
    async def test():
        gate = Gate()
        batcher = Batcher(gate, most=1, room=9, patience=0.05)
        first = asyncio.ensure_future(batcher.ask(1))
        await begun(gate)
        begin = time.monotonic()
        with pytest.raises(Full):
            await batcher.ask(2)
        assert time.monotonic() - begin < 5
        assert batcher.waiting == 0
        gate.open.set()
        with pytest.raises(Full):
            await first

    run(test)


def test_one_jobs_fault_is_its_own_and_a_faulty_batch_is_not_the_end():
    async def test():
        def work(jobs):
            if 7 in jobs:
                raise RuntimeError("all of it")
            return [ValueError(job) if job == 2 else job for job in jobs]

        batcher = Batcher(work, most=5, room=9, linger=0.05)
        one, two, three = await asyncio.gather(*map(batcher.ask, (1, 2, 3)), return_exceptions=True)
        assert (one, type(two), three) == (1, ValueError, 3)
        with pytest.raises(RuntimeError, match="all of it"):
            await batcher.ask(7)
        assert await batcher.ask(1) == 1
        assert batcher.alive

    run(test)


def test_closing_answers_what_waits_and_refuses_what_comes():
    async def test():
        gate = Gate()
        batcher = Batcher(gate, most=1, room=9)
        tasks = [asyncio.ensure_future(batcher.ask(1))]
        await begun(gate)
        tasks.append(asyncio.ensure_future(batcher.ask(2)))
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await batcher.ask(3)
        assert not batcher.alive
        gate.open.set()
        await closing
        assert await asyncio.gather(*tasks) == [10, 20]

    run(test)
