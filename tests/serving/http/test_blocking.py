"""Calls that block have threads, room and time of their own, and no more than was said."""

import asyncio
import threading
import time

import pytest

from napo.serving.http.batcher import Full
from napo.serving.http.blocking import BlockingCalls


def run(test):
    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_call_gives_what_it_returns_and_raises_what_it_raises():
    async def test():
        calls = BlockingCalls("test", threads=1, room=1, patience=10, limit=10)
        assert await calls.ask(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await calls.ask(lambda: 1 // 0)
        calls.close()

    run(test)


def test_calls_that_wait_leave_the_threads_of_others_free_and_more_than_there_is_room_for_are_refused():
    async def test():
        gate = threading.Event()
        calls = BlockingCalls("test", threads=2, room=3, patience=10, limit=10)
        asked = [asyncio.ensure_future(calls.ask(lambda: gate.wait(10))) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(lambda: 1) == 1
        with pytest.raises(Full):
            await calls.ask(lambda: True)
        gate.set()
        assert await asyncio.gather(*asked) == [True] * 5
        assert await calls.ask(lambda: True)
        calls.close()

    run(test)


def test_a_call_that_never_got_a_thread_is_not_made_and_those_that_never_end_leave_no_backlog():
    async def test():
        gate, made = threading.Event(), []
        calls = BlockingCalls("test", threads=1, room=2, patience=0.02, limit=0.05)
        begun = time.monotonic()
        for number in range(5):  # the first keeps the thread, however often others ask
            with pytest.raises(Full) as refused:
                await calls.ask(lambda number=number: (gate.wait(10), made.append(number)))
            assert refused.value.after == 1
        assert time.monotonic() - begun < 5
        assert calls._threads._work_queue.qsize() == 0
        gate.set()
        while not made:
            await asyncio.sleep(0.001)
        await calls.ask(lambda: made.append("last"))  # and then it is free again
        assert made == [0, "last"]
        calls.close()

    run(test)


def test_a_client_that_leaves_while_it_waits_for_a_thread_frees_the_place():
    async def test():
        gate = threading.Event()
        calls = BlockingCalls("test", threads=1, room=1, patience=10, limit=10)
        first = asyncio.ensure_future(calls.ask(lambda: gate.wait(10)))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(calls.ask(lambda: True))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        third = asyncio.ensure_future(calls.ask(lambda: "third"))
        gate.set()
        assert await asyncio.gather(first, third) == [True, "third"]
        calls.close()

    run(test)
