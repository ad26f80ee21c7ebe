"""Logs from a real PostgreSQL, started for these tests."""

import json

import pytest

from napo.data.database import open_query
from napo.data.source import DataSettings, load_source
from napo.errors import UserError
from tests import postgresql
from tests.tiny_world import Quiet, tiny_keys

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("adbc_driver_postgresql")
pytestmark = pytest.mark.slow

QUERY = "SELECT * FROM taken"


@pytest.fixture(scope="module")
def server():
    with postgresql.running() as running, psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute(
            'CREATE TABLE taken ("user" uuid, item integer, rating numeric(3, 1), time timestamptz, title text)'
        )
        connection.execute(
            "INSERT INTO taken SELECT ('00000000-0000-0000-0000-' || lpad((k / 8)::text, 12, '0'))::uuid, k * 7 % 40,"
            " 3.5, timestamptz '2024-01-01 12:00+01' + k * interval '1 minute', 'Title number ' || k * 7 % 40"
            " FROM generate_series(0, 239) k"
        )
        yield running


def settings_of(url: str, query: str = QUERY) -> DataSettings:
    return DataSettings(database=url, query=query)


def test_uuids_exact_numbers_and_zoned_times_are_read_as_what_they_are(server):
    log = load_source(settings_of(server.url))
    assert (len(log.user_keys), len(log.catalog), log.frame.height) == (30, 40, 240)
    assert log.user_keys[0] == "00000000-0000-0000-0000-000000000000"
    assert log.frame["rating"].unique().to_list() == [3.5]
    assert log.frame["time"].min() == 1_704_106_800_000  # 2024-01-01 11:00 UTC
    shuffled = load_source(settings_of(server.url, f"SELECT * FROM ({QUERY}) AS taken ORDER BY random()"))
    assert shuffled.digest == log.digest


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC", "syntax error"),
        ("SELECT nobody FROM taken", 'column "nobody" does not exist'),
        ("DROP TABLE taken", "read-only"),
        ("SELECT item AS artikel FROM taken", "no column 'user'"),
        ("SELECT 'a'::bytea AS user, item FROM taken", "holds bytes"),
        (None, "its tables: public.taken"),
    ],
)
def test_a_query_that_does_not_do_says_why_and_never_the_password(server, query, said):
    with pytest.raises(UserError) as caught:
        load_source(settings_of(server.url, query))
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_and_another_database_are_told_apart(server):
    with pytest.raises(UserError, match="password") as caught:
        open_query(server.url.replace("s3cret", "wr0ng"), QUERY)
    assert "PGPASSWORD" in caught.value.remedy
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(UserError, match='database "shop" does not exist'):
        open_query(server.url.replace("/postgres", "/shop"), QUERY)


def test_a_run_keeps_no_password_and_is_judged_with_the_environments(server, tmp_path, monkeypatch):
    from napo.evaluation.runs import open_data
    from napo.recipe import load_recipe
    from napo.training.report import write_run
    from napo.training.run import train_recipe

    keys = tiny_keys(tmp_path / "unused") | {"data": {"database": server.url, "query": QUERY}}
    keys["sft"]["epochs"] = 0.5
    (tmp_path / "recipe.yaml").write_text(json.dumps(keys))
    run = train_recipe(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run", progress=Quiet())
    write_run(run, command="napo train")
    kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(kept) > 5
    assert [path for path in kept if b"s3cret" in path.read_bytes()] == []
    with pytest.raises(UserError, match="password"):
        open_data(tmp_path / "run")
    monkeypatch.setenv("PGPASSWORD", postgresql.PASSWORD)
    _, prepared = open_data(tmp_path / "run")
    assert prepared.key == run.prepared.key
