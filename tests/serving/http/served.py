"""Real `napo serve` processes on loopback: started, asked, killed.

Imports take Python many seconds, and these tests start dozens of servers. So they are forked from a process that has
imported all that a server needs and done nothing else; test_serve starts one from the command line itself.
"""

import json
import os
import queue
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2

from tests.processes import SOURCE

NEEDED = ("napo.cli", "napo.serving.http.serve", "napo.serving.http.events", "psycopg", "transformers")
SAYS = ("stdout", "stderr")
LISTENS = re.compile(r"http://127\.0\.0\.1:\d+")


class Served:
    """One server's process. address: where it says that it listens. client: asks it."""

    def __init__(self, starter: "Starter", pid: int, folder: Path) -> None:
        self._starter, self.pid, self._folder = starter, pid, folder

    @property
    def out(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "stderr").read_text()

    @cached_property
    def address(self) -> str:
        end = time.monotonic() + 60
        while (said := LISTENS.search(self.out)) is None:
            assert time.monotonic() < end, self.out + self.err
            assert self.ended(0) is None, self.out + self.err
            time.sleep(0.005)
        return said[0]

    @cached_property
    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, timeout=30)

    def ended(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None where it still runs after so many seconds."""
        return self._starter.ended(self.pid, seconds)

    def told(self, number: int) -> None:
        """Send a signal."""
        if self.ended(0) is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        self.told(signal.SIGKILL)
        assert self.ended(30) is not None
        if "client" in self.__dict__:
            self.client.close()


class Starter:
    """The process that servers are forked from; they end with it."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[3])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, root]), "OMP_NUM_THREADS": "1"}
        env |= {"COLUMNS": "200", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.http.served"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._codes: dict[int, int] = {}
        self._one_at_a_time = threading.Lock()

    def start(self, folder: Path, *words: str | Path, cwd: Path = Path("/"), **env: str) -> Served:
        """`napo serve WORDS`, typed in `cwd`, at a free port; what it says goes into a new folder in `folder`."""
        folder = folder / f"server-{len(list(folder.glob('server-*')))}"
        folder.mkdir(parents=True)
        for name in SAYS:
            (folder / name).touch()
        order = {
            "words": ["serve", *map(str, words), "--port", "0"],
            "folder": str(folder),
            "cwd": str(cwd),
            "env": env,
        }
        return Served(self, self._asked(order), folder)

    def ended(self, pid: int, seconds: float) -> int | None:
        if pid not in self._codes:
            alive = os.pidfd_open(pid)  # nobody else can have the number: it waits to be asked for
            try:
                if not select.select([alive], [], [], seconds)[0]:
                    return None
            finally:
                os.close(alive)
            self._codes[pid] = self._asked({"ended": pid})
        return self._codes[pid]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _asked(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@contextmanager
def served(starter: Starter, folder: Path, *words: str | Path, cwd: Path = Path("/"), **env: str) -> Iterator[Served]:
    """A server that is killed at the end, if it still runs."""
    one = starter.start(folder, *words, cwd=cwd, **env)
    try:
        assert one.address  # it listens
        yield one
    finally:
        one.end()


class ServedWriter:
    """Posts event after event to a server that can be killed; see promises.Writer."""

    def __init__(self, server: Served, first: int) -> None:
        self._server, self._next = server, first
        self._said: queue.SimpleQueue[int] = queue.SimpleQueue()
        assert server.address  # it listens
        self._stream = threading.Thread(target=self._post)
        self._stream.start()

    def heard(self) -> int:
        return self._said.get(timeout=30)

    def killed(self) -> list[int]:
        self._server.end()
        self._stream.join(30)
        assert not self._stream.is_alive()
        return [self._said.get() for _ in range(self._said.qsize())]

    def _post(self) -> None:
        with httpx2.Client(base_url=self._server.address, timeout=30) as client:
            while True:
                part = [event(number) for number in range(self._next, self._next + 3)]
                try:
                    answer = client.post("/v1/events", json={"events": part})
                except httpx2.TransportError:  # it was killed
                    return
                assert answer.status_code == 200, answer.text
                self._next += 3
                self._said.put(self._next - 1)


def event(number: int, **changes: Any) -> dict[str, Any]:
    """The event of a number, with an item of the small catalog; its key, user and time follow from the number."""
    said = {"user": f"u{number % 3}", "item": f"i{number % 40:02d}", "kind": "took", "key": f"k{number}"}
    return {**said, "time": 1_700_000_000_000 + number, **changes}


def _fork_as_told() -> None:
    """Read orders, one a line: start a server and say its number, or say how one ended."""
    for name in NEEDED:
        import_module(name)
    running = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "ended" in order:
            running.discard(order["ended"])
            said = os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1])
        elif (said := os.fork()) == 0:
            _become_server(order)
        else:
            running.add(said)
        print(said, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)  # Python's farewell to torch takes seconds


def _become_server(order: dict[str, Any]) -> None:
    from napo.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in enumerate(SAYS, start=1):
        os.dup2(os.open(Path(order["folder"]) / name, os.O_WRONLY), number)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    code = 1
    try:
        main(order["words"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _fork_as_told()
