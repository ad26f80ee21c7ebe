"""Events in a database: acknowledged is kept, and what comes twice is kept once.

Path    events.event -> [events.store] -> `napo data from-events`, users' histories
Takes   Events; the path of an SQLite file, or a PostgreSQL's URL
Gives   EventStore; StoreUnavailable where the disk is full, the database locked or the server gone: the same call does
        it later. SQLAlchemy comes with the extra `napo[events]`
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from napo.data.address import Address, address_of
from napo.errors import UserError
from napo.events._tables import EVENTS, FORGOTTEN, engine_of, make_tables, postgresql, sa, sqlite
from napo.events.event import KINDS, Event, Kind

WAIT = 5.0  # seconds for a lock before it is an error
PAGE = 5_000  # events read at a time
FILE = "events.db"  # of a run's folder
DEADLOCK = "40P01"  # PostgreSQL's name for it


class StoreUnavailable(UserError):
    """The store can't do it now, and the same call may well do later (a server's 503). Nothing was kept, unless the
    connection broke during the commit itself; events that come again under their keys are kept once either way.
    """


class KeyTaken(UserError):
    """The key is that of another event; nothing of the call was kept (a server's 409)."""


@dataclass(frozen=True)
class Appended:
    """What a call of `append` came to. stored: new events. repeated: those that were there already, by their keys."""

    stored: int
    repeated: int


def holds_events(address: Address) -> bool:
    """Whether a database has a table of events; nothing is made there. Raises UserError where it can't be reached."""
    if address.kind == "duckdb" or (address.path is not None and not address.path.is_file()):
        return False
    if address.kind == "postgresql":
        _check_driver()
    store = EventStore(engine_of(address, WAIT), address)
    try:
        with store._asked():
            return bool(sa.inspect(store._engine).has_table(EVENTS.name))
    finally:
        store.close()


class EventStore:
    """Events by the order in which they came. Threads may share one; any number of processes may open one database."""

    def __init__(self, engine: sa.Engine, address: Address) -> None:
        """Use `open`."""
        self._engine, self.address = engine, address

    @classmethod
    def open(cls, where: str | Path, *, wait: float = WAIT, new: bool = True) -> "EventStore":
        """The store of an SQLite file, made where there is none, or of a PostgreSQL database.

        wait: seconds that a call waits for a lock or a connection. new: False: a file has to be there.
        Raises UserError for what is no such database, StoreUnavailable where it can't be reached or written.
        """
        address = _of_file(where) if isinstance(where, Path) else address_of(where)
        if address.kind == "duckdb":  # one process at a time
            raise UserError("events are not kept in DuckDB", where=address.shown, remedy="SQLite or PostgreSQL")
        if not new and address.path is not None and not (address.path.is_file() and address.path.stat().st_size):
            missing = "there is no event store" if not address.path.is_file() else "nothing is in"
            raise UserError(f"{missing} {address.path}", remedy="the file that the server was given")
        if address.kind == "postgresql":
            _check_driver()
        if address.path is not None:  # a link may lead elsewhere later; the store stays the one that was opened
            address = Address("sqlite", address.path.resolve())
        store = cls(engine_of(address, wait), address)
        try:
            with store._asked():
                make_tables(store._engine, address, wait)
        except BaseException:
            store.close()
            raise
        return store

    def append(self, events: Iterable[Event]) -> Appended:
        """Keep all of the events or none; when this returns, they are on the disk.

        An event whose key is there already is not kept again. Raises KeyTaken where its user, item or kind differs
        from those that are kept, StoreUnavailable where the database can't write now.
        """
        given = list(events)
        if not given:
            return Appended(0, 0)
        now = _now()
        insert = self._insert_new(EVENTS, "key").returning(EVENTS.c.key)
        while True:
            with suppress(_Again), self._asked(), self._engine.begin() as connection, _deadlocks():
                new = set(connection.execute(insert, [_row(event, now) for event in given]).scalars())
                if len(new) < len(given):
                    for start in range(0, len(given), PAGE):
                        _check_same(connection, given[start : start + PAGE])
                return Appended(len(new), len(given) - len(new))

    def history(self, user: str, *, kinds: Sequence[Kind] = ("took",), newest: int | None = None) -> list[Event]:
        """A user's events of these kinds, oldest first; the `newest` so many of them."""
        last_first = (
            sa.select(EVENTS)
            .where(EVENTS.c.user_key == user, EVENTS.c.kind.in_(kinds))
            .order_by(EVENTS.c.time.desc(), EVENTS.c.id.desc())
            .limit(newest)
        )
        with self._asked(), self._engine.connect() as connection:
            return [_event(row) for row in connection.execute(last_first)][::-1]

    def forget(self, user: str, *, learnt: bool = False) -> int:
        """Delete all events of a user; how many there were. What a client sends again after that is kept again.

        learnt: a model was trained on the user. Then the key is noted in the same transaction, once, until `unlearnt`.
        """
        with self._asked(), self._engine.begin() as connection:
            deleted = connection.execute(sa.delete(EVENTS).where(EVENTS.c.user_key == user)).rowcount
            if learnt:
                connection.execute(self._insert_new(FORGOTTEN, "user_key"), {"user_key": user, "time": _now()})
        return deleted

    def forgotten(self) -> dict[str, int]:
        """Whom a model has yet to unlearn: when they first asked, milliseconds since 1970, by key, the oldest first."""
        oldest_first = sa.select(FORGOTTEN).order_by(FORGOTTEN.c.time, FORGOTTEN.c.user_key)
        with self._asked(), self._engine.connect() as connection:
            return {row.user_key: row.time for row in connection.execute(oldest_first)}

    def unlearnt(self, users: Iterable[str]) -> int:
        """No model knows these users any more: their keys are deleted here too. How many had been noted."""
        with self._asked(), self._engine.begin() as connection:
            gone = (sa.delete(FORGOTTEN).where(FORGOTTEN.c.user_key == user) for user in users)
            return sum(connection.execute(one).rowcount for one in gone)

    def __iter__(self) -> Iterator[Event]:
        """All events, in the order in which they came; those that come meanwhile may be among them."""
        last = 0
        while True:
            page = sa.select(EVENTS).where(EVENTS.c.id > last).order_by(EVENTS.c.id).limit(PAGE)
            with (
                self._asked(),
                self._engine.connect() as connection,
            ):  # not one long read: it would keep the log growing
                rows = connection.execute(page).all()
            if not rows:
                return
            yield from map(_event, rows)
            last = rows[-1].id

    def __len__(self) -> int:
        with self._asked(), self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(EVENTS)).scalar_one()

    def counts(self) -> dict[Kind, int]:
        """How many events of each kind."""
        by_kind = sa.select(EVENTS.c.kind, sa.func.count()).group_by(EVENTS.c.kind)
        with self._asked(), self._engine.connect() as connection:
            found: dict[str, int] = dict(connection.execute(by_kind).all())
        return {kind: found.get(kind, 0) for kind in KINDS}

    def check(self) -> None:
        """Raises StoreUnavailable where the database can't be read now."""
        with self._asked(), self._engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Give the connections back; the store can be used again, and opens new ones then."""
        self._engine.dispose()

    def __enter__(self) -> "EventStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _insert_new(self, table: sa.Table, key: str) -> Any:
        dialect: Any = postgresql if self.address.kind == "postgresql" else sqlite
        return dialect.insert(table).on_conflict_do_nothing(index_elements=[key])

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """What goes wrong while the database is asked, in words; neither statements nor users' keys are in them."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError) as error:
            raise StoreUnavailable(
                f"the event store can't be used now: {self._said(error)}",
                where=self.address.shown,
                remedy="free the disk or the lock, or start the server; the same call works then",
            ) from None
        except sa.exc.DatabaseError as error:
            if type(error) is not sa.exc.DatabaseError:  # one of its kinds, such as a statement of ours that is wrong
                # without the driver's further lines: PostgreSQL's name the row, with the user's key
                raise RuntimeError(f"{type(error).__name__}: {self._said(error)}") from None
            remedy = "name another file; one that is damaged: sqlite3 FILE .recover"
            raise UserError(
                f"the file is no event store: {self._said(error)}", where=self.address.shown, remedy=remedy
            ) from None
        except OSError as error:
            raise StoreUnavailable(
                f"the event store can't be made: {error.strerror or error}",
                where=self.address.shown,
                remedy="name a folder that can be written",
            ) from error

    def _said(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        return self.address.hide(str(cause).strip().partition("\n")[0])


class _Again(Exception):
    """Another call came between: nothing was kept, and the same statements do it now."""


@contextmanager
def _deadlocks() -> Iterator[None]:
    """Two calls with the same keys in different orders wait for each other; PostgreSQL ends one, which tries again."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == DEADLOCK:
            raise _Again from None
        raise


def _of_file(path: Path) -> Address:
    """A store's file may have any name, but for those of databases of another kind."""
    return address_of(str(path)) if path.suffix in (".duckdb", ".ddb") else Address("sqlite", path)


def _check_driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        what = "events in PostgreSQL need psycopg, which is not installed"
        raise UserError(what, remedy="pip install 'napo[events]'") from error


def _now() -> int:
    return int(time.time() * 1000)


def _row(event: Event, now: int) -> dict[str, Any]:
    return {
        "key": event.key,
        "user_key": event.user,
        "item_key": event.item,
        "kind": event.kind,
        "time": now if event.time is None else event.time,
        "request": event.request,
        "position": event.position,
        "propensity": event.propensity,
    }


def _event(row: Any) -> Event:
    return Event(row.user_key, row.item_key, row.kind, row.time, row.request, row.position, row.propensity, row.key)


def _check_same(connection: sa.Connection, events: Sequence[Event]) -> None:
    keys = EVENTS.c.key.in_([event.key for event in events])
    kept = {row.key: row for row in connection.execute(sa.select(EVENTS).where(keys))}
    for event in events:
        if (row := kept.get(event.key)) is None:  # its user was forgotten between the two statements
            raise _Again
        if (event.user, event.item, event.kind) != (row.user_key, row.item_key, row.kind):
            what, remedy = "the key is that of another event", "a new key for each event"
            raise KeyTaken(what, where=f"key {event.key}", remedy=remedy)
