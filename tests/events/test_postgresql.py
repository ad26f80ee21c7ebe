"""Events in a real PostgreSQL, started for these tests: the same promises as of a file."""

import traceback
from functools import partial

import pytest

from napo.events import store as module
from napo.events.store import Appended, EventStore, StoreUnavailable
from tests import postgresql
from tests.events import promises
from tests.events.stores import WriterProcess, event

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with postgresql.running() as running:
        yield running


@pytest.fixture
def store(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS napo_events, napo_forgotten")
    with EventStore.open(server.url, wait=2) as opened:
        yield opened


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.__name__)
def test_a_store(promise, store):
    promise(store)


def test_two_processes_write_one_store(server, store):
    promises.serves_processes(server.url, store)


def test_all_that_was_acknowledged_outlives_twenty_sigkills(server, store):
    promises.survives_sigkill(partial(WriterProcess, server.url), store)


def test_a_commit_is_on_the_disk_before_it_is_acknowledged_whatever_the_databases_default(server, store):
    with psycopg.connect(server.url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    try:
        with psycopg.connect(server.url) as plain:
            assert plain.execute("SHOW synchronous_commit").fetchone() == ("off",)
        store.close()  # the next connection is a new one
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')


def test_a_locked_table_is_unavailable_and_works_afterwards(server, store):
    with psycopg.connect(server.url) as other:
        other.execute("LOCK TABLE napo_events")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            store.append([event(1)])
        other.rollback()
    assert store.append([event(1)]) == Appended(1, 0)


def test_an_event_that_comes_again_while_its_user_is_forgotten_is_kept_anew(store, monkeypatch):
    store.append([event(1)])
    really = module._check_same

    def after_forgetting(*given):
        monkeypatch.undo()
        assert store.forget("u1") == 1
        really(*given)

    monkeypatch.setattr(module, "_check_same", after_forgetting)
    assert store.append([event(1), event(2)]) == Appended(2, 0)


def test_a_fault_that_nobody_has_foreseen_names_no_user(server, store):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE napo_events ADD CHECK (user_key = 'nobody')")
    with pytest.raises(RuntimeError, match="violates check constraint") as caught:
        store.append([event(1)])
    assert "u1" not in "".join(traceback.format_exception(caught.value))


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
