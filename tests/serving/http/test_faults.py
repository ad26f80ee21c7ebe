"""A real server whose events can't be kept for a while: 503 for what needs them, the rest goes on, and no restart."""

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress

import pytest

from napo.events.store import EventStore
from tests import postgresql
from tests.needs import missing
from tests.serving.http.served import event, served

pytestmark = pytest.mark.slow
SOON = 4  # seconds, on a busy machine: less than whoever waits for a lock does


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the file of events lies: on a small disk of its own, where this machine lets us make one."""
    path = tmp_path_factory.mktemp("disk")
    small = os.getuid() == 0 and _ran("mount", "-t", "tmpfs", "-o", "size=4m", "napo-test", path)
    yield path
    if small:
        assert _ran("umount", "-l", path)


def _ran(*words):
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def server(folder, starter, run, tmp_path_factory):
    with served(starter, tmp_path_factory.mktemp("servers"), run, "--events", folder / "events.db") as one:
        yield one


@pytest.fixture
def store(folder, server):
    with EventStore.open(folder / "events.db") as opened:
        for user in {one.user for one in opened}:
            opened.forget(user)
        yield opened


def post(server, *events):
    return server.client.post("/v1/events", json={"events": list(events)})


def says_later(answer):
    return answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


def listed(server, **who):
    """The keys and the notes of a list, which has to come soon."""
    begun = time.monotonic()
    answer = server.client.post("/v1/recommend", json=who or {"history": ["i08", "i09"]})
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - begun < SOON
    return [item["key"] for item in answer.json()["items"]], answer.json()["notes"]


def many(first):
    """As many events as a disk of four megabytes holds a few times."""
    return [event(number, request="r" * 450) for number in range(first, first + 1_000)]


@contextmanager
def full_disk(server, folder) -> Iterator[None]:
    if not os.path.ismount(folder):
        missing("no disk can be mounted here: run as root")
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # no space left
        while True:
            file.write(b"\0" * 4096)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def largest_file_of_the_server(server, folder) -> Iterator[None]:
    size = max(path.stat().st_size for path in folder.glob("events.db*"))
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 4096, most))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("no_room", [full_disk, largest_file_of_the_server])
def test_a_full_disk_is_told_lists_go_on_and_events_are_kept_again_afterwards(no_room, server, folder, store):
    assert post(server, event(8, user="ann")).json() == {"stored": 1, "repeated": 0}
    before = listed(server, user="ann", k=30)
    with no_room(server, folder):
        kept, refused = 0, False
        for first in range(1_000, 20_000, 1_000):
            answer = post(server, *many(first))
            if refused := says_later(answer):
                break
            assert answer.status_code == 200, answer.text
            kept += 1_000
        assert refused
        assert listed(server, user="ann", k=30) == before  # the disk can be read
        assert len(server.client.get("/v1/users/ann/history").json()["events"]) == 1
        assert server.client.get("/readyz").status_code == 200
        assert len(store) == 1 + kept  # all of a call or none
    store.forget("u0"), store.forget("u1"), store.forget("u2")
    assert post(server, event(9)).json() == {"stored": 1, "repeated": 0}


def test_a_locked_file_is_told_after_a_while_and_lists_do_not_wait_for_it(server, folder, store):
    """More clients post than the server has threads: none of those that make lists may be among those that wait."""
    with closing(sqlite3.connect(folder / "events.db", isolation_level=None)) as other, ThreadPoolExecutor(40) as pool:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        posts = [pool.submit(post, server, event(number)) for number in range(40)]
        time.sleep(0.5)
        while not any(one.done() for one in posts):
            listed(server)
            listed(server, user="ann")
        assert time.monotonic() - begun > 2  # a lock that is soon gone is waited for
        assert all(says_later(one.result()) for one in as_completed(posts))
        assert time.monotonic() - begun < 20
        other.execute("ROLLBACK")
    assert len(store) == 0
    assert post(server, event(1)).json() == {"stored": 1, "repeated": 0}


def test_it_stops_in_time_while_the_file_is_locked(starter, run, tmp_path):
    path = tmp_path / "events.db"
    with (
        served(starter, tmp_path, run, "--events", path) as server,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        ThreadPoolExecutor(20) as pool,
    ):
        other.execute("BEGIN EXCLUSIVE")
        posts = [pool.submit(post, server, event(number)) for number in range(20)]
        time.sleep(4)  # some have waited for most of their time, and some for their turn
        begun = time.monotonic()
        server.told(signal.SIGTERM)
        assert server.ended(15) == 0
        assert time.monotonic() - begun < 10
        assert "Traceback" not in server.err
        for one in posts:  # an answer, or none: never that it was kept
            assert one.exception() is not None or says_later(one.result())
        other.execute("ROLLBACK")
    with EventStore.open(path) as store:
        assert len(store) == 0


def test_a_database_server_that_was_away_is_used_again(starter, run, tmp_path):
    pytest.importorskip("psycopg")
    with postgresql.running() as database, served(starter, tmp_path, run, NAPO_EVENTS_URL=database.url) as server:
        assert post(server, event(8, user="ann"), event(9, user="dan"), event(10)).json()["stored"] == 3
        by_log, said = listed(server, user="cay", exclude_seen=False)
        for _ in range(2):
            database.stop()
            assert says_later(post(server, event(11)))
            assert says_later(server.client.delete("/v1/users/ann"))
            assert says_later(server.client.get("/v1/users/ann/history"))
            listed(server)
            # whom the log knows gets what it knows, and is told so
            found, notes = listed(server, user="cay", exclude_seen=False)
            assert (found, notes[1:]) == (by_log, said)
            assert "events can't be read now" in notes[0]
            assert says_later(server.client.post("/v1/recommend", json={"user": "dan"}))
            database.start()
            assert listed(server, user="cay", exclude_seen=False) == (by_log, said)
            listed(server, user="dan")
        assert post(server, event(10), event(11)).json() == {"stored": 1, "repeated": 1}
        assert "s3cret" not in server.out + server.err
