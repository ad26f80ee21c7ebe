"""Events for tests, and processes that write them: started from one that has imported all they need."""

import multiprocessing
import multiprocessing.forkserver
import os
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from napo.events import Event
from napo.events.store import EventStore
from tests.processes import SOURCE

T0 = 1_700_000_000_000


def event(number: int, **changes) -> Event:
    """The event of a number: its key, user, item and time follow from it."""
    said = {"user": f"u{number % 3}", "item": f"i{number}", "kind": "took", "time": T0 + number, "key": f"k{number}"}
    return Event(**(said | changes))


def processes() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.events.stores"])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join([SOURCE, str(Path(__file__).parents[2])])):
        multiprocessing.forkserver.ensure_running()  # it imports before it is told our path
    return context


def write(where: str, numbers: range, batch: int, said: Connection) -> None:
    """Append the events of these numbers, and say the last number of each batch once it is acknowledged."""
    with EventStore.open(where, wait=30) as store:
        for start in range(numbers.start, numbers.stop, batch):
            part = range(start, min(start + batch, numbers.stop))
            store.append([event(number) for number in part])
            said.send(part[-1])
    said.close()


class WriterProcess:
    """`write` in a process that can be killed; see promises.Writer."""

    def __init__(self, where: str, first: int) -> None:
        self._heard, said = processes().Pipe(duplex=False)
        self._process = processes().Process(target=write, args=(where, range(first, 100_000), 3, said))
        self._process.start()
        said.close()

    def heard(self) -> int:
        number: int = self._heard.recv()
        return number

    def killed(self) -> list[int]:
        self._process.kill()
        self._process.join(30)
        rest = []
        with self._heard, suppress(EOFError, OSError):
            while self._heard.poll():  # said before it died
                rest.append(self.heard())
        return rest
