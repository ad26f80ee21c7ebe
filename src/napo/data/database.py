"""Rows of a database by a query, handed on as those of a file are.

Path    an address and SQL -> [data.database] -> readers
Takes   Address; a SELECT; `sqlite3` reads SQLite, the extra `napo[sql]` brings DuckDB, and ADBC for PostgreSQL
Gives   OpenFile

Databases are opened to be read alone. Without ORDER BY a database may give its rows in any order, another one each
time: they are then put in the order of their columns, so that a log is the same whenever it is read.
"""

import importlib
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl, quote, urlsplit

import polars as pl

from napo.data.address import Address, address_of, url_of
from napo.data.formats._base import OpenFile, Place, category
from napo.errors import UserError

_BATCH = 100_000  # rows of SQLite that are held as Python objects at a time
_TABLES: dict[str, str] = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'",
    "duckdb": "SELECT table_name AS name FROM information_schema.tables",
    "postgresql": "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables"
    " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
}
LOCK_SECONDS = 5.0  # that a lock of SQLite's is waited for
ONLY_READS = "a query that only reads: SELECT ..."
_SHOWN = 10  # tables that a message names


class GivesNoRows(Exception):
    """A text that a database takes and that is no SELECT."""


def open_query(text: str, query: str | None, key: str = "query") -> OpenFile:
    """The rows of a query. text: the database's address; key: what the recipe calls the query.

    Raises UserError for a database that is not there or can't be read, for a query that is none, and without a query.
    """
    address = address_of(text)
    if query is None:
        tables = sorted(str(name) for name in _rows(address, _TABLES[address.kind], key)["name"])
        some = ", ".join(tables[:_SHOWN]) + (", ..." if len(tables) > _SHOWN else "")
        raise UserError(
            f"a database needs a query that says which rows are the log; its tables: {some or 'none'}",
            where=f"`{key}`, of {address.shown}",
            remedy=f"`{key}: SELECT user_id, product_id, bought_at FROM {tables[0] if tables else 'orders'}`",
        )
    frame = _plain(_rows(address, query, key), address, key)
    path = Path(address.shown)
    notes = [f"{path.name}: {address.kind}, {frame.height:,} rows of a query"]
    if not re.search(r"\border\s+by\b", query, re.IGNORECASE):
        frame = frame.sort(frame.columns, nulls_last=True)
        notes.append(f"{path.name}: the query has no ORDER BY, so its rows are put in the order of their columns")
    where = f"{address.shown}, `{key}`"
    if frame.height == 0:
        raise UserError("the query gives no rows", where=where, remedy="run it in the database's own shell")

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        chosen = frame if wanted is None else frame.select(wanted)
        texts = [name for name in keys if chosen.schema.get(name) == pl.String]
        return chosen.with_columns(
            pl.col(name).cast(category()) for name in texts
        ), lambda row: f"{where}, row {row + 1}"

    return OpenFile(path, address.kind, tuple(frame.columns), load, notes=tuple(notes), header=where)


def _rows(address: Address, query: str, key: str) -> pl.DataFrame:
    read: dict[str, Callable[[Address, str], pl.DataFrame]] = {
        "sqlite": _sqlite,
        "duckdb": _duckdb,
        "postgresql": _postgresql,
    }
    if address.path is not None and not address.path.is_file():
        raise UserError(f"there is no database {address.path}", remedy="paths start from the recipe's folder")
    try:
        return read[address.kind](address, query)
    except UserError:
        raise
    except GivesNoRows:
        what = "the query is no SELECT, and a database is only read"
        raise UserError(what, where=f"{address.shown}, `{key}`", remedy=ONLY_READS) from None
    except Exception as error:  # each library has errors of its own, and no base in common
        if not _is_theirs(error):
            raise
        raise UserError(
            f"the database says: {address.hide(_first_line(error))}",
            where=f"{address.shown}, `{key}`",
            remedy=_remedy(address, str(error)),
        ) from None  # what it came from may hold the password


def _sqlite(address: Address, query: str) -> pl.DataFrame:
    assert address.path is not None
    where = f"file:{quote(str(address.path))}?mode=ro"
    with closing(sqlite3.connect(where, uri=True, timeout=LOCK_SECONDS)) as connection:
        connection.set_authorizer(_only_reads)  # mode=ro alone lets ATTACH make another file
        try:
            connection.execute(f"EXPLAIN {query}")  # which is authorized as the query is, and reads nothing
        except sqlite3.DatabaseError as error:
            _check_gives_rows("not authorized" not in str(error))
            raise
        batches = list(
            pl.read_database(query, connection, iter_batches=True, batch_size=_BATCH, infer_schema_length=None)
        )
        if not batches:
            names = [one[0] for one in connection.execute(query).description or ()]
            return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return pl.concat(batches, how="vertical_relaxed")  # a column of SQLite may hold whole numbers here, others there


def _only_reads(action: int, *of_what: str | None) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY


def _check_gives_rows(gives: bool) -> None:
    if not gives:
        raise GivesNoRows


def _duckdb(address: Address, query: str) -> pl.DataFrame:
    duckdb = _library("duckdb", "DuckDB files")
    _library("pyarrow", "DuckDB files")
    with closing(duckdb.connect(str(address.path), read_only=True)) as connection:
        # read_only alone lets COPY write other files
        kinds = [statement.type for statement in connection.extract_statements(query)]
        _check_gives_rows(kinds == [duckdb.StatementType.SELECT])
        return pl.read_database(query, connection)


def _postgresql(address: Address, query: str) -> pl.DataFrame:
    for name in ("adbc_driver_manager", "adbc_driver_postgresql", "pyarrow"):
        _library(name, "PostgreSQL")
    return pl.read_database_uri(query, _read_only(address.url), engine="adbc")


def _read_only(url: str) -> str:
    """Of PostgreSQL: no query writes, and a server that is not there is given up after 10 seconds."""
    parts = urlsplit(url)
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    said.setdefault("connect_timeout", "10")
    said["options"] = f"{said.get('options', '')} -c default_transaction_read_only=on".strip()
    return url_of(parts.scheme, parts.netloc + parts.path, list(said.items()))


def _library(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = f"reading {what} needs {name}, which is not installed"
        raise UserError(missing, where="data.database", remedy="pip install 'napo[sql]'") from error


def _plain(frame: pl.DataFrame, address: Address, key: str) -> pl.DataFrame:
    """PostgreSQL's numbers of any length come as texts of a type of their own, its UUIDs as 16 bytes."""
    made = []
    for column in frame:
        kind = column.dtype
        if isinstance(kind, pl.BaseExtension):
            column = column.ext.storage()
        if column.dtype == pl.Binary:
            if not (column.bin.size() == 16).all():
                raise UserError(
                    f"column {column.name!r} holds bytes",
                    where=f"{address.shown}, `{key}`",
                    remedy=f"make it a text in the query, or leave it out: CAST({column.name} AS text)",
                )
            column = column.bin.encode("hex").str.replace(r"(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5")
        made.append(column)
    return pl.DataFrame(made)


def _is_theirs(error: Exception) -> bool:
    libraries = ("sqlite3", "duckdb", "_duckdb", "adbc_driver_manager", "polars")
    return type(error).__module__.partition(".")[0] in libraries


def _first_line(error: Exception) -> str:
    """Up to the copy of the query that some messages end with."""
    return re.split(r"\n\s*\n|\nQuery was:|\nquery:|\. SQLSTATE", str(error))[0].strip()


def _remedy(address: Address, message: str) -> str:
    if re.search(r"password|no pg_hba.conf entry", message):
        return "give the password in PGPASSWORD or ~/.pgpass; napo keeps none"
    if re.search(r"connect|translate host|timeout", message) and address.kind == "postgresql":
        return "see that the server runs and that this machine may reach it: psql with the same URL"
    if re.search(r"read.?only|'read'", message, re.IGNORECASE):
        return ONLY_READS
    if re.search(r"\block", message):
        return "end what writes to it, or read a copy of the file"
    if re.search(r"more than one|more than once", message):
        return "give each column a name of its own: SELECT a.id AS user, b.id AS item"
    return "try the query in the database's own shell"
