"""Data that can't be what was meant: file, line and way out are named, and no run's folder is begun."""

import gzip
import io
import json
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from napo.data import database
from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk
from tests.tiny_world import largest_file


@pytest.fixture
def desk(tmp_path) -> Path:
    write_desk(tmp_path)
    return tmp_path


HEAD = "user,item,rating,time\n"
ROWS = [f"u{user},i{item:02d},4,{1700000000 + 100 * user + item}\n" for user in range(3) for item in range(8)]
LOG = HEAD + "".join(ROWS)


def with_row(line: int, row: str) -> str:
    """The log with another row in the line, counted from 1."""
    lines = LOG.splitlines(keepends=True)
    return "".join([*lines[: line - 1], row + "\n", *lines[line:]])


# what lies there -> the file and line that is named, and the way out
TABLES: dict[str, tuple[dict[str, str | bytes], list[str], list[str]]] = {
    "an empty log": ({"log.csv": ""}, [], ["the file is empty", "log.csv"]),
    "a header alone": ({"log.csv": HEAD}, [], ["no rows", "log.csv"]),
    "a column twice": ({"log.csv": LOG.replace("rating", "user")}, [], ["a column twice: user", "log.csv, line 1"]),
    "a Parquet file that is none": ({"log.parquet": "user"}, ["data.interactions=log.parquet"], ["log.parquet"]),
    "no column of items": ({"log.csv": LOG.replace("item,", "film,")}, [], ["no column 'item'", "log.csv, line 1"]),
    "a row too wide": ({"log.csv": with_row(4, "u0,i01,4,1700000000,5")}, [], ["5 columns", "log.csv, line 4"]),
    "an open quote": ({"log.csv": with_row(5, '"u0,i01,4,1700000000')}, [], ["quotes", "log.csv, line 5"]),
    "a rating that is no number": (
        {"log.csv": with_row(6, "u0,i01,good,1700000000")},
        [],
        ["'good'", "log.csv, line 6"],
    ),
    "a time that is none": ({"log.csv": with_row(7, "u0,i01,4,yesterday")}, [], ["'yesterday'", "log.csv, line 7"]),
    "milliseconds among seconds": (
        {"log.csv": with_row(8, "u0,i01,4,1700000000000")},
        [],
        ["log.csv, line 8", "seconds"],
    ),
    "an impossible year": ({"log.csv": with_row(9, "u0,i01,4,9999999999999999")}, [], ["log.csv, line 9"]),
    "titles in Latin-1, called UTF-8": (
        {"items.csv": "item,title\ni00,Café Society\n".encode("latin-1")},
        ["data.encoding=utf-8"],
        ["items.csv, line 2", "0xe9", "latin-1"],
    ),
    "an encoding nobody knows": ({}, ["data.encoding=klingon"], ["unknown encoding 'klingon'", "latin-1"]),
    "items without a title": ({"items.csv": "item,title\ni00,Heat\n"}, [], ["7 items have no title", "untitled"]),
    "two titles for one item": (
        {"items.csv": "item,title\n" + "".join(f"i{item:02d},Film {item}\n" for item in range(8)) + "i03,Other\n"},
        [],
        ["i03", "items.csv", "one row for each item"],
    ),
    "no titles at all": ({}, ["data.items=null"], ["the log has no titles", "untitled: id"]),
    "too short a log": ({"log.csv": HEAD + "".join(ROWS[:3])}, [], ["min_history"]),
    "no times to cut by": (
        {"log.csv": "user,item\n" + "".join(row.rsplit(",", 2)[0] + "\n" for row in ROWS)},
        ["split.name=global_time"],
        ["global_time"],
    ),
    "no ratings to cut by": (
        {"log.csv": "user,item\n" + "".join(row.rsplit(",", 2)[0] + "\n" for row in ROWS)},
        ["split.min_rating=4"],
        ["min_rating"],
    ),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_a_data_files_mistake(desk, mistake):
    files, words, said = TABLES[mistake]
    (desk / "log.csv").write_text(LOG)
    (desk / "items.csv").write_text("item,title\n" + "".join(f"i{item:02d},Film {item}\n" for item in range(8)))
    for name, content in files.items():
        (desk / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with nothing_changes_in(desk):  # no run's folder either: the mended file can have its name
        ran = napo_in(desk)("train", "sft.yaml", *words)
    assert_said(ran, said)


def test_a_mended_file_can_have_the_folders_name(desk):
    good = (desk / "items.csv").read_text()
    (desk / "items.csv").write_text("item,title\ni00,Café Society\n")
    napo = napo_in(desk)
    assert napo("train", "sft.yaml").code == 2
    (desk / "items.csv").write_text(good)
    ran = napo("train", "sft.yaml")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("size", [100, 1000])
def test_a_disk_that_is_full_at_the_start_leaves_nothing(desk, size):
    with nothing_changes_in(desk), largest_file(size):
        ran = napo_in(desk)("train", "sft.yaml")
    assert_said(ran, ["cannot write", "free some space"])


# -- one log and nothing else, as `napo data inspect` is given it


def records(*rows: object) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def parquet(**columns: list[object]) -> bytes:
    packed = io.BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(packed)
    return packed.getvalue()


LOGS: dict[str, tuple[str, str | bytes, list[str]]] = {
    "blank lines": ("log.csv", "\n \n\n", ["the file is empty", "log.csv"]),
    "a gzip file cut short": (
        "log.csv.gz",
        gzip.compress(LOG.encode())[:-20],
        ["gzip file is damaged", "copy it anew"],
    ),
    "a gzip file of another sum": ("log.csv.gz", gzip.compress(LOG.encode())[:-8] + bytes(8), ["CRC check failed"]),
    "nothing, packed": ("log.csv.gz", gzip.compress(b""), ["the file is empty", "log.csv.gz"]),
    "a spreadsheet": ("log.xlsx", b"PK\3\4" + bytes(range(256)), ["it is no text", "save it as CSV"]),
    "a zero in the text": ("log.csv", LOG[:50] + "\0" + LOG[50:], ["holds zero bytes", "save it as CSV"]),
    "a web page": ("log.csv", "<!DOCTYPE html>\n<p>404\n", ["no column 'user'", "is `separator:` right", "line 1"]),
    "UTF-16 without its end": ("log.csv", LOG.encode("utf-16")[:-1], ["is not UTF-16", "log.csv, line 25"]),
    "Cyrillic of Windows": ("log.csv", (LOG + "u,Шурик,4,\n").encode("cp1251"), ["0xd8 is not UTF-8", "line 26"]),
    "a row too short": ("log.csv", with_row(5, "u0,i01"), ["2 columns where the header has 4", "log.csv, line 5"]),
    "two tables in one file": ("log.csv", LOG + "\na,b\n1,2\n", ["2 columns where", "log.csv, line 27"]),
    "a quote that takes all": ("log.csv", HEAD + f'u,"{"x" * 200_000}\n', ["more than 131,072 characters", "line 2"]),
    "nobody at all": ("log.csv", HEAD + ",i01,4,1700000000\n" * 8, ["no events are left", "events without user"]),
    "a rating of nan": (
        "log.csv",
        with_row(5, "u0,i01,nan,1700000000"),
        ["'nan'", "log.csv, line 5", "leave the field"],
    ),
    "an endless rating": ("log.csv", with_row(5, "u0,i01,inf,1700000000"), ["'inf'", "log.csv, line 5"]),
    "a rating too large": ("log.csv", with_row(5, "u0,i01,1e400,1700000000"), ["'1e400'", "log.csv, line 5"]),
    "a time of nan": ("log.csv", with_row(5, "u0,i01,4,nan"), ["nan is not a time", "log.csv, line 5"]),
    "a time without end": ("log.csv", with_row(5, "u0,i01,4,-inf"), ["-inf is not a time", "log.csv, line 5"]),
    "a time before all": ("log.csv", with_row(5, "u0,i01,4,-5"), ["-5 would be", "impossible year", "line 5"]),
    "a time of zero": ("log.csv", with_row(5, "u0,i01,4,0"), ["impossible year", "line 5", "leave the field empty"]),
    "a time of 300 digits": ("log.csv", with_row(5, "u0,i01,4,1e300"), ["... does not fit the other times", "line 5"]),
    "the thirtieth of February": (
        "log.csv",
        "user,item,time\nu,i,2024-02-28\nu,j,2024-02-30\n",
        ["'2024-02-30'", "line 3"],
    ),
    "the year nought": ("log.csv", "user,item,time\nu,i,0000-01-01\n", ["of an impossible year", "log.csv, line 2"]),
    "months and days": ("log.csv", "user,item,time\nu,i,13/02/2024\n", ["'13/02/2024' is not", "%d/%m/%Y"]),
    "ratings of u.data": ("u.data", "1\t2\tgood\t881250949\n", ["'good' in column 'rating'", "u.data, line 1"]),
    "a line of u.item": ("u.item", "1|Toy Story|1995\n", ["3 columns where the header has 24", "u.item, line 1"]),
    "RecBole without types": ("log.inter", "who\twhat\nu\ti\n", ["no column 'user'", "log.inter, line 1"]),
    "a line that is no JSON": (
        "log.jsonl",
        records({"user": "u", "item": "i"}) + '{"user": "u"\n',
        ["line is no record", "line 2"],
    ),
    "a JSON list": ("log.json", '[{"user": "u", "item": "i"}]', ["one JSON list", "jq -c"]),
    "numbers for records": ("log.jsonl", records(3, 4), ["the line is no record: '3'", "log.jsonl, line 1"]),
    "records without items": ("log.jsonl", records({"user": "u"}), ["no column 'item'", "the file has user"]),
    "records without fields": ("log.jsonl", records({}), ["the file is empty", "log.jsonl"]),
    "a JSON rating of NaN": ("log.jsonl", '{"user": "u", "item": "i", "rating": NaN}\n', ["'NaN' in column", "line 1"]),
    "JSON without a bottom": ("log.jsonl", '{"user": ' + "[" * 100_000 + "\n", ["the line is no record", "line 1"]),
    "deep JSON": ("log.jsonl", '{"user": ' + "[" * 100_000 + "]" * 100_000 + "}\n", ["the line is no record"]),
    "Parquet cut short": ("log.parquet", parquet(user=["u"], item=["i"])[:-9], ["the Parquet file can't be read"]),
    "Parquet without rows": ("log.parquet", parquet(user=[], item=[]), ["log.parquet"]),
    "broken numbers for ids": (
        "log.parquet",
        parquet(user=[1.5], item=[2.5]),
        ["ids are of type Float64", "whole numbers"],
    ),
    "lists for ids": ("log.parquet", parquet(user=[[1]], item=[[2]]), ["the user ids are of type List"]),
    "bytes for ids": ("log.parquet", parquet(user=[b"u"], item=[b"i"]), ["ids are of type Binary", "must be text"]),
    "lists for ratings": (
        "log.parquet",
        parquet(user=["u"], item=["i"], rating=[[4]]),
        ["ratings in column 'rating' are"],
    ),
    "truth for times": (
        "log.parquet",
        parquet(user=["u"], item=["i"], time=[True]),
        ["the time column is of type Bool"],
    ),
}


@pytest.mark.parametrize("mistake", LOGS)
def test_a_logs_mistake(tmp_path, mistake):
    name, content, said = LOGS[mistake]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with nothing_changes_in(tmp_path):
        ran = napo_in(tmp_path)("data", "inspect", name)
    assert_said(ran, said)


# -- rows of (history, next item), and what was shown


ROW = '{"history": ["i01", "i02"], "next": "i03"}\n'
BY_ROWS = "data: {train: train.jsonl, valid: held.jsonl, test: held.jsonl, items: items.csv}\nsplit: {name: files}\n"
SHOWN = "data: {interactions: log.csv, items: items.csv, exposures: shown.csv}\n"

PARTS: dict[str, tuple[str, str, str | None, list[str]]] = {
    "no training rows": (BY_ROWS, "train.jsonl", "", ["the file has no rows", "train.jsonl"]),
    "no file of rows": (BY_ROWS, "train.jsonl", None, ["`data.train`: no file"]),
    "a row cut short": (BY_ROWS, "train.jsonl", ROW + '{"history": [1', ["no valid JSON", "line 2", "a row a line"]),
    "rows without a next": (BY_ROWS, "train.jsonl", records({"history": ["i01"]}), ["with `next`, an id", "line 1"]),
    "a text for a history": (
        BY_ROWS,
        "train.jsonl",
        records({"history": "i01", "next": "i02"}),
        ["a list of item ids"],
    ),
    "half an item": (BY_ROWS, "train.jsonl", records({"history": [1.5], "next": "i02"}), ["1.5 is no id", "line 1"]),
    "an item of nowhere": (
        BY_ROWS,
        "train.jsonl",
        records({"history": ["i99"], "next": "i03"}),
        ["i99", "untitled: drop"],
    ),
    "users here and there": (BY_ROWS, "train.jsonl", ROW[:-2] + ', "user": "u"}\n', ["some rows carry a `user`"]),
    "histories too short": (BY_ROWS, "train.jsonl", ROW, ["windows of at least 3 items", "lower `min_history`"]),
    "rows without a bottom": (BY_ROWS, "train.jsonl", '{"history": ' + "[" * 100_000, ["no valid JSON", "line 1"]),
    "lists without a bottom": (BY_ROWS, "train.jsonl", "[" * 100_000, ["no valid JSON", "line 1"]),
    "nothing shown": (SHOWN, "shown.csv", "", ["the file is empty", "shown.csv"]),
    "shown without times": (
        SHOWN,
        "shown.csv",
        "user,item\nu00,i01\n",
        ["exposures need times", "name the time column"],
    ),
    "shown to strangers": (
        SHOWN,
        "shown.csv",
        "user,item,time\nx,y,1700000000\n",
        ["no exposure is of a user", "same keys"],
    ),
    "no place in a list": (
        SHOWN,
        "shown.csv",
        "user,item,time,position\nu00,i01,1700000000,0\n",
        ["no position", "line 2"],
    ),
    "more than certain": (
        SHOWN,
        "shown.csv",
        "user,item,time,propensity\nu00,i01,1700000000,2\n",
        ["no propensity", "line 2"],
    ),
}


@pytest.mark.parametrize("mistake", PARTS)
def test_a_mistake_in_rows_and_exposures(desk, mistake):
    recipe, name, content, said = PARTS[mistake]
    (desk / "bad.yaml").write_text(recipe)
    (desk / "held.jsonl").write_text(ROW)
    if content is not None:
        (desk / name).write_text(content)
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "bad.yaml")
    assert_said(ran, said)


# -- databases


GOOD = "SELECT user, item, time FROM orders"
QUERIES: dict[str, tuple[list[str], list[str]]] = {
    "no query": (["shop.db"], ["its tables: orders", "query: SELECT"]),
    "no SQL": (["shop.db", "--query", "SELEC * FROM orders"], ['near "SELEC"', "shop.db, `query`"]),
    "no such table": (["shop.db", "--query", "SELECT * FROM ordres"], ["no such table: ordres", "shop.db"]),
    "no such column": (["shop.db", "--query", "SELECT who FROM orders"], ["no such column: who", "own shell"]),
    "an empty query": (["shop.db", "--query", ""], ["`query` is empty", "--query", "write a value"]),
    "a blank query": (["shop.db", "--query", "  "], ["incomplete input", "shop.db"]),
    "two queries": (["shop.db", "--query", f"{GOOD}; DELETE FROM orders"], ["one statement at a time"]),
    "a query that writes": (["shop.db", "--query", "DELETE FROM orders"], ["no SELECT", "only reads"]),
    "a query that makes a file": (["shop.db", "--query", "ATTACH 'new.db' AS new"], ["no SELECT", "only reads"]),
    "a query that copies": (["shop.db", "--query", "VACUUM INTO 'new.db'"], ["not valid 'read' queries", "only reads"]),
    "a setting": (["shop.db", "--query", "PRAGMA journal_mode=wal"], ["no SELECT", "only reads"]),
    "no rows": (["shop.db", "--query", f"{GOOD} WHERE 0"], ["the query gives no rows", "shop.db"]),
    "other names": (["shop.db", "--query", "SELECT user AS who, time FROM orders"], ["no column 'user'", "AS user"]),
    "one name twice": (["shop.db", "--query", "SELECT user, user, item FROM orders"], ["more than once", "AS user"]),
    "a missing value": (["shop.db", "--query", f"{GOOD} WHERE user = ?"], ["bindings", "shop.db"]),
    "bytes for users": (["shop.db", "--query", "SELECT x'00' AS user, item FROM orders"], ["holds bytes", "CAST("]),
    "titles by a wrong query": (["shop.db", "--query", GOOD, "--items-query", "SELECT x FROM y"], ["`items_query`"]),
    "a database that is not there": (["none.db", "--query", GOOD], ["there is no database none.db"]),
    "a URL that is not there": (["sqlite:///none.db", "--query", GOOD], ["there is no database none.db"]),
    "a URL of no file": (["sqlite:///", "--query", GOOD], ["names no file", "sqlite:///shop.db"]),
    "a text called database": (["log.csv", "--query", GOOD], ["no database that napo can tell", "duckdb:///"]),
    "DuckDB without a query": (["shop.duckdb"], ["its tables: orders", "query: SELECT"]),
    "no table of DuckDB's": (["shop.duckdb", "--query", "SELECT * FROM ordres"], ["ordres does not exist"]),
    "a copy by DuckDB": (["shop.duckdb", "--query", "COPY orders TO 'new.csv'"], ["no SELECT", "only reads"]),
    "two queries of DuckDB's": (["shop.duckdb", "--query", f"{GOOD}; {GOOD}"], ["no SELECT", "only reads"]),
    "a text called DuckDB": (["text.duckdb", "--query", GOOD], ["not a valid DuckDB database", "text.duckdb"]),
    "no server": (
        ["postgresql://me:secret@127.0.0.1:9/shop", "--query", GOOD],
        ["127.0.0.1:9/shop, `query`", "see that the server runs"],
    ),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A desk with a shop's orders in SQLite and DuckDB."""
    duckdb = pytest.importorskip("duckdb")
    folder = tmp_path_factory.mktemp("shop")
    with sqlite3.connect(folder / "shop.db") as made:
        made.execute("CREATE TABLE orders AS SELECT 'u1' AS user, 'i1' AS item, 1700000000 AS time")
    made.close()
    with duckdb.connect(str(folder / "shop.duckdb")) as made:
        made.execute("CREATE TABLE orders AS SELECT 'u1' AS user, 'i1' AS item, 1700000000 AS time")
    (folder / "text.duckdb").write_text("no database " * 500)
    (folder / "log.csv").write_text(LOG)
    return folder


@pytest.mark.parametrize("mistake", QUERIES)
def test_a_querys_mistake(shop, mistake):
    words, said = QUERIES[mistake]
    with nothing_changes_in(shop):
        ran = napo_in(shop)("data", "inspect", *words)
    assert_said(ran, said)
    assert "secret" not in ran.err


def test_a_locked_database_says_how_it_can_be_read(shop, monkeypatch):
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    held = sqlite3.connect(shop / "shop.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    try:
        ran = napo_in(shop)("data", "inspect", "shop.db", "--query", GOOD)
    finally:
        held.close()
    assert_said(ran, ["database is locked", "read a copy"])
