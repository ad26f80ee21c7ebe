"""The tables of a store, and engines that are set up to keep them: SQLite with a log ahead, PostgreSQL.

Path    data.address -> [events._tables] -> events.store
"""

import sqlite3
import time
from importlib import import_module
from typing import Any

from napo.data.address import Address
from napo.errors import UserError

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.pool import ConnectionPoolEntry
except ImportError as error:
    raise UserError(
        "an event store needs SQLAlchemy, which is not installed", remedy="pip install 'napo[events]'"
    ) from error

# SQLAlchemy too: who takes it from here says the same where it is missing
__all__ = ["EVENTS", "FORGOTTEN", "engine_of", "make_tables", "postgresql", "sa", "sqlite"]

METADATA = sa.MetaData()
EVENTS = sa.Table(
    "napo_events",
    METADATA,
    # in SQLite only INTEGER counts up by itself, and there it has 64 bits
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("user_key", sa.Text, nullable=False),
    sa.Column("item_key", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("request", sa.Text),
    sa.Column("position", sa.Integer),
    sa.Column("propensity", sa.Double),
    sa.Index("napo_events_of_a_user", "user_key", "time"),
    sqlite_autoincrement=True,  # an id is never given twice, so who has read up to one can go on from there
)
FORGOTTEN = sa.Table(  # who asked to be forgotten and is still in a model, and when they first did
    "napo_forgotten",
    METADATA,
    sa.Column("user_key", sa.Text, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
)
_LOCK = 0x6E61706F  # "napo": whoever makes the tables in PostgreSQL holds this advisory lock


def engine_of(address: Address, wait: float) -> sa.Engine:
    """wait: seconds for a connection, a lock, or a writer before us; then it is an error."""
    if address.kind == "sqlite":
        assert address.path is not None
        url = sa.URL.create("sqlite", database=str(address.path))
        engine = sa.create_engine(url, connect_args={"timeout": wait}, pool_timeout=wait, hide_parameters=True)
        sa.event.listen(engine, "connect", _durable)
        return engine
    # on: where the database's default is off, a crash loses what was acknowledged
    durable = "-c synchronous_commit=on"
    options = f"{durable} -c lock_timeout={round(1000 * wait)} -c statement_timeout={round(10_000 * wait)}"

    def connect() -> Any:
        # libpq reads the URL; taken apart here it would lose what only libpq knows
        return import_module("psycopg").connect(address.url, connect_timeout=max(2, round(wait)), options=options)

    # pre_ping: connections from before a server's restart; hide_parameters: users' keys belong in no log
    return sa.create_engine(
        "postgresql+psycopg://", creator=connect, pool_pre_ping=True, pool_timeout=wait, hide_parameters=True
    )


def make_tables(engine: sa.Engine, address: Address, wait: float) -> None:
    """Make the tables where there are none. Raises UserError where a table of such a name is another one."""
    if address.kind == "sqlite":
        assert address.path is not None
        address.path.parent.mkdir(parents=True, exist_ok=True)
        _write_ahead(engine, wait)
    with engine.begin() as connection:
        if address.kind == "postgresql":  # IF NOT EXISTS alone fails where two make it at once
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        for table in (EVENTS, FORGOTTEN):
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
            there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
            if missing := set(table.columns.keys()) - there:
                raise UserError(
                    f"the table {table.name} is another napo's: it has no {', '.join(sorted(missing))}",
                    where=address.shown,
                    remedy="name another database",
                )


def _durable(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    # FULL: with a log ahead the default may lose what was acknowledged when the power goes
    connection.execute("PRAGMA synchronous=FULL")


def _write_ahead(engine: sa.Engine, wait: float) -> None:
    """WAL: who reads doesn't wait for who writes. Of two who set it at once, SQLite refuses one without a wait."""
    end = time.monotonic() + wait
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            return
        except sa.exc.OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > end:
                raise
            time.sleep(0.02)
