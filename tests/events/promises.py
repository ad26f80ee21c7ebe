"""What an event store promises, whichever database it is in; test_store and test_postgresql ask it of both."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import pytest

from napo.events.store import Appended, EventStore, KeyTaken
from tests.events.stores import event, processes, write


def keeps_what_it_is_given(store: EventStore) -> None:
    given = event(1, kind="shown", request="r 7 / ü", position=3, propensity=0.25)
    assert store.append([given, event(2)]) == Appended(2, 0)
    assert list(store) == [given, event(2)]
    assert len(store) == 2
    assert store.counts() == {"took": 1, "skipped": 0, "shown": 1}
    store.check()


def keeps_an_event_once(store: EventStore) -> None:
    assert store.append([event(1)]) == Appended(1, 0)
    assert store.append([event(1), event(2), event(2)]) == Appended(1, 2)
    assert list(store) == [event(1), event(2)]


def refuses_a_key_for_another_event_and_keeps_nothing_of_the_call(store: EventStore) -> None:
    store.append([event(1)])
    for other in (event(1, item="i9"), event(1, user="u9"), event(1, kind="shown")):
        with pytest.raises(KeyTaken):
            store.append([event(2), other])
    with pytest.raises(KeyTaken):
        store.append([event(3), event(3, item="i9")])
    assert list(store) == [event(1)]


def gives_a_history_in_the_order_of_time(store: EventStore) -> None:
    store.append([event(6), event(3, kind="skipped"), event(0), event(1)])
    assert [one.item for one in store.history("u0")] == ["i0", "i6"]
    assert [one.item for one in store.history("u0", kinds=("took", "skipped"))] == ["i0", "i3", "i6"]
    assert [one.item for one in store.history("u0", newest=1)] == ["i6"]
    assert store.history("nobody") == []


def forgets_a_user(store: EventStore) -> None:
    store.append([event(number) for number in range(6)])
    assert store.forget("u1") == 2
    assert {one.user for one in store} == {"u0", "u2"}
    assert store.forget("u1") == 0


def notes_whom_a_model_has_to_unlearn_and_nobody_else(store: EventStore) -> None:
    store.append([event(number) for number in range(6)])
    before = int(time.time() * 1000)
    assert store.forget("u1") == 2
    assert store.forget("u0", learnt=True) == 2
    assert store.forget("zoe", learnt=True) == 0  # in the log alone
    noted = store.forgotten()
    assert list(noted) == ["u0", "zoe"]
    assert before <= noted["u0"] <= noted["zoe"] <= int(time.time() * 1000)
    store.append([event(0)])
    assert store.forget("u0", learnt=True) == 1
    assert store.forgotten() == noted  # who asks again asked then
    assert store.unlearnt(["u0", "u1"]) == 1
    assert store.forgotten() == {"zoe": noted["zoe"]}
    assert [one.user for one in store] == ["u2", "u2"]


def gives_events_without_a_time_the_present(store: EventStore) -> None:
    before = int(time.time() * 1000)
    store.append([event(1, time=None)])
    (kept,) = store
    assert before <= kept.time <= int(time.time() * 1000)
    assert store.append([event(1, time=None)]) == Appended(0, 1)  # sent again a little later


def serves_threads(store: EventStore) -> None:
    """Eight threads, each event sent by two of them, which begin at different ends of a call."""
    with ThreadPoolExecutor(8) as pool:
        calls = [[event(number) for number in range(start, start + 5)] for start in range(0, 100, 5)]
        came = list(pool.map(store.append, [one for call in calls for one in (call, call[::-1])]))
    assert sum(one.stored for one in came) == 100
    assert sorted(one.item for one in store) == sorted(f"i{number}" for number in range(100))


def serves_processes(where: str, store: EventStore) -> None:
    """Two write at once, a third of the events both; what is read is all of them once."""
    context = processes()
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    writers = [
        context.Process(target=write, args=(where, numbers, 4, said))
        for numbers, (_, said) in zip((range(0, 80), range(40, 120)), pipes, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert sorted(one.item for one in store) == sorted(f"i{number}" for number in range(120))


class Writer(Protocol):
    """Keeps event after event, by number; acknowledged are all up to the number that it says."""

    def heard(self) -> int:
        """The next number that it says; waits for it."""
        ...

    def killed(self) -> list[int]:
        """Kill it with SIGKILL; the numbers that it said before and that were not heard yet."""
        ...


def survives_sigkill(
    writer_from: Callable[[int], Writer], store: EventStore, *, kills: int = 20, within: float = 0.01
) -> None:
    """A writer is killed again and again; its successor sends again what was not acknowledged.

    writer_from: starts one at a number. within: seconds after an acknowledgement, at most, that the kill comes.
    """
    acknowledged, chance = -1, np.random.default_rng(0)
    for _ in range(kills):
        # it goes on from the last acknowledged event, so that one too comes twice
        writer = writer_from(max(acknowledged, 0))
        for _ in range(chance.integers(1, 6)):
            acknowledged = writer.heard()
        time.sleep(chance.uniform(0, within))
        acknowledged = max([acknowledged, *writer.killed()])
    keys = [one.key for one in store]
    assert len(keys) == len(set(keys))
    assert {f"k{number}" for number in range(acknowledged + 1)} <= set(keys)
    assert acknowledged >= kills


PROMISES = [
    keeps_what_it_is_given,
    keeps_an_event_once,
    refuses_a_key_for_another_event_and_keeps_nothing_of_the_call,
    gives_a_history_in_the_order_of_time,
    forgets_a_user,
    notes_whom_a_model_has_to_unlearn_and_nobody_else,
    gives_events_without_a_time_the_present,
    serves_threads,
]
