"""Events in a real PostgreSQL, started for these tests: the same promises as of a file."""

import pytest

from napo.events.store import Appended, EventStore, StoreUnavailable
from tests import postgresql
from tests.events import promises
from tests.events.stores import event

psycopg = pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgresql.why_not() is not None, reason=str(postgresql.why_not())),
]


@pytest.fixture(scope="module")
def server():
    with postgresql.running() as running:
        yield running


@pytest.fixture
def store(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS napo_events")
    with EventStore.open(server.url, wait=2) as opened:
        yield opened


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.__name__)
def test_a_store(promise, store):
    promise(store)


def test_two_processes_write_one_store(server, store):
    promises.serves_processes(server.url, store)


def test_all_that_was_acknowledged_outlives_twenty_sigkills(server, store):
    promises.survives_sigkill(server.url, store)


def test_a_locked_table_is_unavailable_and_works_afterwards(server, store):
    with psycopg.connect(server.url) as other:
        other.execute("LOCK TABLE napo_events")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            store.append([event(1)])
        other.rollback()
    assert store.append([event(1)]) == Appended(1, 0)


def test_a_server_that_was_away_is_used_again(server, store):
    store.append([event(1)])
    server.stop()
    with pytest.raises(StoreUnavailable) as caught:
        store.append([event(2)])
    assert "s3cret" not in f"{caught.value} {caught.value!r}"
    with pytest.raises(StoreUnavailable):
        store.check()
    server.start()
    assert store.append([event(2)]) == Appended(1, 0)
    assert list(store) == [event(1), event(2)]
