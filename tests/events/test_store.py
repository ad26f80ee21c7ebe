"""Events in SQLite: what any store promises, and what happens to a file."""

import sqlite3
from contextlib import closing
from functools import partial

import pytest

from napo.errors import UserError
from napo.events.store import Appended, EventStore, StoreUnavailable
from tests.events import promises
from tests.events.stores import WriterProcess, event
from tests.processes import printed
from tests.tiny_world import largest_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "events.db"


@pytest.fixture
def store(path):
    with EventStore.open(path, wait=0.2) as opened:
        yield opened


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.__name__)
def test_a_store(promise, path):
    with EventStore.open(path) as store:
        promise(store)


def test_two_processes_write_one_store(path, store):
    promises.serves_processes(str(path), store)


def test_all_that_was_acknowledged_outlives_twenty_sigkills(path, store):
    promises.survives_sigkill(partial(WriterProcess, str(path)), store)


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(path, store):
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_a_path_and_a_url_open_the_same_store(path, store):
    store.append([event(1)])
    with EventStore.open(str(path)) as again, EventStore.open(f"sqlite:///{path}") as third:
        assert list(again) == list(third) == [event(1)]


def test_a_locked_database_is_unavailable_and_works_afterwards(path, store):
    store.append([event(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            store.append([event(2)])
        assert [one.item for one in store] == ["i1"]  # readers don't wait
        other.execute("ROLLBACK")
    assert "u2" not in f"{caught.value} {caught.value!r}"
    assert store.append([event(2)]) == Appended(1, 0)


def test_a_full_disk_is_unavailable_and_works_afterwards(path, store):
    store.append([event(1)])
    large = [event(number, request="r" * 400) for number in range(2, 400)]
    with largest_file(path.stat().st_size + 4096), pytest.raises(StoreUnavailable):
        store.append(large)
    assert len(store) == 1
    assert store.append(large) == Appended(398, 0)


def test_a_user_is_forgotten_and_noted_or_neither(path, store):
    store.append([event(1)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON napo_forgotten BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(RuntimeError, match="no"):
        store.forget("u1", learnt=True)
    assert list(store) == [event(1)]
    assert store.forgotten() == {}


def test_a_store_of_before_the_note_gets_its_table(path, store):
    store.append([event(1)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE napo_forgotten")
    with EventStore.open(path) as again:
        assert again.forget("u1", learnt=True) == 1
        assert list(again.forgotten()) == ["u1"]


def test_a_file_that_is_no_database_is_refused_and_stays(tmp_path):
    path = tmp_path / "events.db"
    path.write_text("user,item\n" * 500)
    with pytest.raises(UserError, match="no event store"):
        EventStore.open(path)
    assert path.read_text() == "user,item\n" * 500


def test_another_table_of_that_name_is_refused(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE napo_events (id INTEGER, user_key TEXT, time INTEGER)")
    with pytest.raises(UserError, match="another napo's") as caught:
        EventStore.open(path)
    assert "item_key" in caught.value.what


def test_a_folder_that_can_not_be_made_is_said(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreUnavailable, match="can't be made"):
        EventStore.open(tmp_path / "run" / "events.db")


def test_addresses_that_hold_no_events_are_refused():
    with pytest.raises(UserError, match="not kept in DuckDB"):
        EventStore.open("duckdb:///x.duckdb")
    with pytest.raises(UserError, match="does not read mysql"):
        EventStore.open("mysql://h/x")
    with pytest.raises(StoreUnavailable) as caught:
        EventStore.open("postgresql://ann:s3cret@127.0.0.1:1/shop", wait=1)
    assert "s3cret" not in str(caught.value)


def test_without_the_extra_the_extra_is_named():
    code = """
import sys
sys.modules["sqlalchemy"] = None
from napo.errors import UserError
try:
    import napo.events.store
except UserError as error:
    print(error.remedy)
"""
    assert printed(code) == "pip install 'napo[events]'"


def test_an_event_can_be_made_without_sqlalchemy():
    code = "import sys, napo.events; print({'sqlalchemy', 'polars', 'torch'} & set(sys.modules))"
    assert printed(code) == "set()"
