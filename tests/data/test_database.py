"""Logs from databases: the same log as from a file, and what goes wrong in words."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from napo.data.database import open_query
from napo.data.source import DataSettings, load_source
from napo.errors import UserError
from napo.recipe import load_recipe

duckdb = pytest.importorskip("duckdb")

EVENTS = "SELECT who AS user, what AS item, stars AS rating, bought AS time FROM taken"
TITLES = "SELECT what AS item, name AS title FROM things"
TABLES = [
    "CREATE TABLE taken (who TEXT, what TEXT, stars REAL, bought TEXT)",
    "CREATE TABLE things (what TEXT, name TEXT)",
]


def rows():
    """Five users who take six items each."""
    for user in range(5):
        for step in range(6):
            item = (2 * user + step) % 8
            yield f"u{user}", f"i{item}", 3.5 + step % 2, f"2024-01-0{user + 1} 10:0{step}:00"


def titles():
    return [(f"i{item}", f"Title {item}") for item in range(8)]


@pytest.fixture(params=["sqlite", "duckdb"])
def database(request, tmp_path) -> Path:
    path = tmp_path / f"shop.{request.param}"
    library = {"sqlite": sqlite3, "duckdb": duckdb}[request.param]
    with closing(library.connect(str(path))) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.executemany("INSERT INTO taken VALUES (?, ?, ?, ?)", list(rows()))
        connection.executemany("INSERT INTO things VALUES (?, ?)", titles())
        connection.commit()
    return path


def settings_of(database: Path, **keys) -> DataSettings:
    return DataSettings(**{"database": str(database), "query": EVENTS, "items_query": TITLES, **keys})


def test_a_database_gives_the_log_that_a_file_of_the_same_rows_gives(database, tmp_path):
    lines = [",".join(map(str, row)) for row in rows()]
    (tmp_path / "log.csv").write_text("user,item,rating,time\n" + "\n".join(lines) + "\n")
    (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"{item},{title}\n" for item, title in titles()))
    expected = load_source(DataSettings(interactions=tmp_path / "log.csv", items=tmp_path / "items.csv"))
    assert load_source(settings_of(database)).digest == expected.digest
    beside = settings_of(database, items_query=None, items=tmp_path / "items.csv")
    assert load_source(beside).digest == expected.digest


def test_rows_in_another_order_give_the_same_log_unless_the_query_orders_them(database):
    log = load_source(settings_of(database))
    assert "the query has no ORDER BY" in " ".join(log.notes)
    shuffled = EVENTS.replace("FROM taken", "FROM (SELECT * FROM taken ORDER BY stars, bought DESC) AS shuffled")
    ordered = EVENTS.replace(", bought AS time", "") + " ORDER BY who, bought DESC"
    assert load_source(settings_of(database, query=shuffled)).digest == log.digest
    backwards = load_source(settings_of(database, query=ordered)).frame
    last = [item for user, item, _, _ in rows() if user == "u0"][-1]
    assert backwards["item"][0] == int(last[1:])


def test_a_recipes_database_lies_beside_it(database):
    recipe = database.parent / "recipe.yaml"
    recipe.write_text(f"data: {{database: {database.name}, query: SELECT 1, items_query: SELECT 1}}\n")
    assert load_recipe(recipe).data.database == str(database)


def test_without_a_query_the_tables_are_named(database):
    with pytest.raises(UserError) as caught:
        load_source(settings_of(database, query=None))
    assert "its tables: taken, things" in caught.value.what
    assert "`query: SELECT user_id, product_id, bought_at FROM taken`" in caught.value.remedy


@pytest.mark.parametrize(
    ("query", "said", "remedy"),
    [
        ("SELEC who", "SELEC", "shell"),
        ("SELECT nobody FROM taken", "nobody", "shell"),
        ("DROP TABLE taken", "read", "SELECT ..."),
        ("SELECT who, who FROM taken", "who", "AS user"),
        ("SELECT who AS user, what AS item FROM taken WHERE who = 'x'", "gives no rows", "shell"),
        ("SELECT who AS user, what AS artikel FROM taken", "no column 'item'", "SELECT ... AS item"),
    ],
)
def test_a_query_that_does_not_do_says_why_and_where(database, query, said, remedy):
    with pytest.raises(UserError) as caught:
        load_source(settings_of(database, query=query))
    assert said in str(caught.value)
    assert remedy in str(caught.value)
    assert f"{database}" in str(caught.value)
    assert load_source(settings_of(database)).frame.height == 30  # nothing was dropped


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(UserError, match="there is no database"):
        open_query(str(tmp_path / "shop.db"), EVENTS)
    assert not (tmp_path / "shop.db").exists()


@pytest.mark.parametrize("ending", ["db", "duckdb"])
def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path, ending):
    path = tmp_path / f"shop.{ending}"
    path.write_text("user,item\n" * 1000)
    with pytest.raises(UserError, match=r"not a (valid DuckDB )?database"):
        open_query(str(path), EVENTS)


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    (tmp_path / "shop.duckdb").write_bytes(bytes(8) + b"DUCK")
    with pytest.raises(UserError, match="needs duckdb") as caught:
        open_query(str(tmp_path / "shop.duckdb"), EVENTS)
    assert caught.value.remedy == "pip install 'napo[sql]'"
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(UserError, match="needs adbc_driver_postgresql"):
        open_query("postgresql://ann@localhost/shop", EVENTS)


def test_columns_of_sqlite_that_mix_kinds_are_numbers_where_they_can_be_and_else_text(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE taken (who, stars)")
        connection.executemany("INSERT INTO taken VALUES (?, ?)", [(7, 4), ("007", 4.5), (None, None)])
        connection.commit()
    file = open_query(str(tmp_path / "shop.db"), "SELECT who, stars FROM taken ORDER BY rowid")
    frame, place = file.load(None, ["who"])
    assert frame["who"].to_list() == ["7", "007", None]
    assert frame["stars"].to_list() == [4.0, 4.5, None]
    assert place(1).endswith("`query`, row 2")


def test_a_server_that_nobody_runs_is_unreachable_and_the_password_stays_unsaid():
    pytest.importorskip("adbc_driver_postgresql")
    with pytest.raises(UserError) as caught:
        open_query("postgresql://ann:s3cret@127.0.0.1:1/shop", EVENTS)
    assert "127.0.0.1" in caught.value.what
    assert "psql" in caught.value.remedy
    assert "s3cret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


def test_what_a_recipe_keeps_and_says_has_no_password(tmp_path, capsys):
    url = "postgresql://ann:s3cret@db.example/shop"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{database: '{url}', query: SELECT 1}}\n")
    loaded = load_recipe(recipe)
    assert loaded.data.database == url  # that it is used with
    assert "postgresql://ann@db.example/shop" in loaded.resolved_yaml()
    assert "s3cret" not in f"{loaded.resolved_yaml()} {loaded!r}"
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, [f"data.database={url}", f"data.databse={url}", "seed=x"])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"query": "SELECT 1"}, "`query` and `items_query` ask a `database`"),
        (
            {"database": "shop.db", "items": "items.csv", "items_query": "SELECT 1"},
            "give either `items` or `items_query`",
        ),
        ({"database": "shop.xls"}, "no database that napo can tell"),
        ({"database": "mysql://u:s3cret@h/x"}, "does not read mysql://"),
    ],
)
def test_keys_that_do_not_go_together(keys, said, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    own = {} if "database" in keys else {"interactions": "log.csv"}
    (tmp_path / "log.csv").write_text("user,item\n")
    recipe.write_text("data:\n" + "".join(f"  {name}: {value}\n" for name, value in {**own, **keys}.items()))
    with pytest.raises(UserError) as caught:
        load_recipe(recipe)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
