"""What people get wrong as they type a command: every command of `napo --help` has its rows."""

from pathlib import Path

import pytest

from napo.serving.http import serve
from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """One for all rows: each of them has to leave it as it was."""
    desk = tmp_path_factory.mktemp("desk")
    write_desk(desk)
    ran = napo_in(desk)("train", "sft.yaml", "--out", "run")
    assert ran.code == 0, ran.err
    (desk / "new.csv").write_text("item,title\nx1,New\n")
    (desk / "twice.csv").write_text("item,title\nx1,New\nx1,Other\n")
    (desk / "renamed.csv").write_text("item,title\ni00,New\n")
    (desk / "untitled.csv").write_text("item,year\nx1,1999\n")
    (desk / "small.csv").write_text("user,item\nu1,i1\n")
    (desk / "token").write_text("abc\n")
    (desk / "text.db").write_text("no database at all, but a text that is long enough to be one" * 20)
    (desk / "empty.db").write_text("")
    (desk / "sweeps").mkdir()
    (desk / "sweeps" / "napo.yaml").write_text("seeds: 1\n")
    return desk


WORDS = {
    "no command of ours": (["trian", "sft.yaml"], ["trian"]),
    "no recipe": (["train"], ["no recipe", "name a YAML file"]),
    "no option of ours": (["train", "sft.yaml", "--fast"], ["--fast"]),
    "a folder for a recipe": (["train", "."], ["cannot read .", "a YAML file"]),
    "an override without a value": (["train", "sft.yaml", "sft.lr"], ["`sft.lr` is no override", "key=value"]),
    "an override of nothing": (["train", "sft.yaml", "sft.lr="], ["`sft.lr`", "command line"]),
    "an override without a key": (["train", "sft.yaml", "=3"], ["`=3` is no override"]),
    "an override with an open bracket": (["train", "sft.yaml", "evaluation.ks=[1"], ["value of `evaluation.ks`"]),
    "an override that is no number": (["train", "sft.yaml", "sft.lr=fast"], ['`sft.lr` is "fast"', "a number"]),
    "an override of a key nobody knows": (["train", "sft.yaml", "sft.rate=1"], ["unknown key `sft.rate`"]),
    "a folder inside a file": (["train", "sft.yaml", "--out", "log.csv/run"], ["cannot write", "log.csv"]),
    "a file for a folder": (["train", "sft.yaml", "--out", "log.csv"], ["log.csv", "--out another folder"]),
    "a folder that holds other things": (["train", "sft.yaml", "--out", "."], ["is not empty and holds no run"]),
    "nothing to go on with": (["evaluate", "runs/none"], ["holds no run", "napo train"]),
    "a file for a run": (["evaluate", "log.csv"], ["log.csv holds no run"]),
    "an unknown protocol": (["evaluate", "run", "--protocol", "cand50"], ["cand50", "cand20"]),
    "an unknown part": (["evaluate", "run", "--part", "all"], ["all", "valid"]),
    "nothing to compare": (["compare", "sft.lr=1"], ["no recipes to compare", "YAML files"]),
    "no seeds": (["compare", "sft.yaml", "--seeds", "0"], ["'--seeds'", "greater than or equal to 1"]),
    "one recipe twice": (["compare", "sft.yaml", "./sft.yaml"], ["sft.yaml is named twice"]),
    "a recipe that is not there": (["compare", "sft.yaml", "stf.yaml"], ["no recipe stf.yaml", "sft.yaml"]),
    "no model": (["recommend", "runs/none", "--user", "u00"], ["runs/none", "a run's folder"]),
    "nobody": (["recommend", "run"], ["whom to recommend to?", "--user KEY"]),
    "two of them": (["recommend", "run", "--user", "u00", "--history", "x"], ["both a user and a history"]),
    "no items": (["recommend", "run", "--user", "u00", "-k", "0"], ["'-k'", "greater than or equal to 1"]),
    "an unknown data set": (["data", "fetch", "ml-1m"], ["ml-1m", "ml-100k"]),
    "no such log": (["data", "inspect", "logg.csv"], ["logg.csv", "log.csv"]),
    "no such titles": (["data", "inspect", "log.csv", "--items", "item.csv"], ["item.csv", "items.csv"]),
    "a column without a name": (["data", "inspect", "log.csv", "--column", "uid"], ["`uid` names no column"]),
    "a column that we don't have": (
        ["data", "inspect", "log.csv", "--column", "who=user"],
        ["unknown key `columns.who`"],
    ),
    "a column that the file doesn't have": (
        ["data", "inspect", "log.csv", "--column", "user=uid"],
        ["'uid'", "line 1"],
    ),
    "another separator": (["data", "inspect", "log.csv", "--separator", "::"], ["is `separator:` right", "line 1"]),
    "no history at all": (["data", "inspect", "log.csv", "--min-history", "0"], ["--min-history"]),
    "a picture inside a file": (
        ["data", "inspect", "log.csv", "--items", "items.csv", "--plot", "log.csv/a.png"],
        ["cannot write", "a.png"],
    ),
    "a recipe and a log": (
        ["train", "sft.yaml", "--data", "log.csv"],
        ["both a recipe and a log", "leave sft.yaml out"],
    ),
    "no such log to train on": (["train", "--data", "none.csv"], ["there is no file none.csv", "log.csv"]),
    "a folder to train on": (["train", "--data", "."], ["holds no converted log", "napo data convert"]),
    "no time at all": (["train", "--data", "log.csv", "--hours", "nan"], ["'--hours'"]),
    "too small a log": (["train", "--data", "small.csv"], ["no test case is left", "lower `min_history`"]),
    "a key of the log's": (
        ["train", "--data", "log.csv", "data.colour=1"],
        ["unknown key `data.colour`", "command line"],
    ),
    "a key of the recipe's": (["train", "--data", "log.csv", "sft.rate=1"], ["unknown key `sft.rate`", "command line"]),
    "a row to compare with": (["evaluate", "run", "--against", "nobody"], ["no row 'nobody'", "popularity"]),
    "a rule for titles that are not written": (["evaluate", "run", "--match", "equal"], ["--match", "gen20"]),
    "lists that nobody asked for": (["evaluate", "run", "--protocol", "legacy"], ["lists that came with the data"]),
    "ranked lists that are not there": (["evaluate", "run", "--ranked", "none.csv"], ["there is no file none.csv"]),
    "a folder of ranked lists": (["evaluate", "run", "--ranked", "."], ["there is no file ."]),
    "ranked lists without ranks": (["evaluate", "run", "--ranked", "log.csv"], ["need a column `score` or `rank`"]),
    "a claim that is none": (["compare", "sft.yaml", "--claim", "A beats B"], ["'A beats B' is no claim", "--claim"]),
    "a claim of strangers": (["compare", "sft.yaml", "--claim", "A > B"], ["no row 'A' and 'B'", "rows: chance"]),
    "a claim on another metric": (
        ["compare", "sft.yaml", "--claim", "SFT > popularity on hr@7"],
        ["no metric 'hr@7'", "HR@1"],
    ),
    "a budget without a number": (["compare", "sft.yaml", "--tried", "SFT"], ["'SFT' is no search budget", "--tried"]),
    "a stranger's budget": (["compare", "sft.yaml", "--tried", "S=3"], ["no row 'S' that is trained", "SFT"]),
    "comparing into a file": (["compare", "sft.yaml", "--out", "log.csv"], ["log.csv is a file, not a folder"]),
    "a text for how many": (["recommend", "run", "--user", "u00", "-k", "ten"], ["'-k'"]),
    "a condition that is none": (
        ["recommend", "run", "--user", "u00", "--where", "x"],
        ["'x' is no condition", "year>="],
    ),
    "a column nobody has": (["recommend", "run", "--user", "u00", "--show", "year"], ["no column 'year'", "--show"]),
    "a cap without a number": (["recommend", "run", "--user", "u00", "--cap", "year"], ["'year' is no cap", "--cap"]),
    "a cap on no column": (
        ["recommend", "run", "--user", "u00", "--cap", "year=2"],
        ["no column 'year'", "in    caps"],
    ),
    "a title that nobody allows": (
        ["recommend", "run", "--user", "u00", "--allow", "x"],
        ["'x' is not a title", "allow"],
    ),
    "nothing allowed": (["recommend", "run", "--user", "u00", "--allow", ""], ["no item is left by the allow list"]),
    "a title of control characters": (["recommend", "run", "--history", "a\0\x1b[31m"], ["'a\\x00\\x1b[31m' is not"]),
    "a title of a page": (["recommend", "run", "--history", "x" * 5000], ["xxx...' is not a title", "item 1"]),
    "half a character": (["recommend", "run", "--user", "a\udcff"], ["no user 'a\\udcff'", "--history"]),
    "nothing to explain": (["explain", "run", "--history", "x"], ["Missing option '--title'"]),
    "nobody to explain to": (["explain", "run", "--title", "x"], ["whom to recommend to?", "history, user"]),
    "an unknown title to explain": (
        ["explain", "run", "--title", "Titel number 3", "--user", "u00"],
        ["'Titel number 3' is not a title", "Title number 3"],
    ),
    "nowhere to export to": (["export", "run"], ["Missing option '--out'"]),
    "exporting over other things": (["export", "run", "--out", "."], ["holds other things", "a new folder"]),
    "exporting into a file": (["export", "run", "--out", "log.csv/x"], ["log.csv is a file, not a folder"]),
    "exporting nothing": (["export", "nowhere", "--out", "x"], ["no model that napo saved", "a run's folder"]),
    "nothing to serve": (["serve", "nowhere", "--no-events"], ["no model that napo saved", "nowhere"]),
    "two runs of one name": (["serve", "run", "./run"], ["two runs would be served as 'run'", "other=run"]),
    "a port that is none": (["serve", "run", "--port", "99999"], ["'--port'", "65535"]),
    "open to anybody": (["serve", "run", "--host", "0.0.0.0"], ["anybody could write", "NAPO_TOKEN"]),
    "a token that could be guessed": (["serve", "run", "--token-file", "token"], ["3 characters", "--token-file"]),
    "a token's file that is not there": (["serve", "run", "--token-file", "no"], ["no token can be read", "one line"]),
    "events in MySQL": (
        ["serve", "run", "--events", "mysql://me:secret@shop/x"],
        ["does not read mysql:// databases", "postgresql://"],
    ),
    "events in DuckDB": (["serve", "run", "--events", "e.duckdb"], ["events are not kept in DuckDB", "SQLite"]),
    "events in a text": (["serve", "run", "--events", "text.db"], ["no event store", "text.db"]),
    "events inside a file": (["serve", "run", "--events", "log.csv/e.db"], ["can't be made", "log.csv/e.db"]),
    "new items that are not there": (["catalog", "add", "run", "none.csv"], ["there is no file none.csv", "new.csv"]),
    "new items for nothing": (["catalog", "add", "nowhere", "new.csv"], ["no model that napo saved", "nowhere"]),
    "one item twice": (["catalog", "add", "run", "twice.csv"], ["more than one title: x1", "one row for each"]),
    "an item under another title": (["catalog", "add", "run", "renamed.csv"], ["another title (i00", "new ids"]),
    "new items without titles": (["catalog", "add", "run", "untitled.csv"], ["no column 'title'", "--column title="]),
    "a column of no item": (
        ["catalog", "add", "run", "new.csv", "--column", "user=x"],
        ["no column 'user'", "item, title"],
    ),
    "a zone that is none": (
        ["data", "inspect", "log.csv", "--time-zone", "Mars"],
        ["no time zone 'Mars'", "--time-zone"],
    ),
    "times of another form": (["data", "inspect", "log.csv", "--time-format", "%Y"], ["'1700000000' is not a time"]),
    "a column alone": (["data", "inspect", "log.csv", "--header", "user"], ["`header` has 1", "--header"]),
    "a core of one": (["data", "inspect", "log.csv", "--core", "1"], ["'--core'", "equal to 2"]),
    "a core of nobody": (["data", "inspect", "log.csv", "--core", "999"], ["no events are left", "outside core"]),
    "a format nobody knows": (["data", "inspect", "log.csv", "--format", "xls"], ["'--format'", "'parquet'"]),
    "a query of a file": (["data", "inspect", "log.csv", "--query", "SELECT 1"], ["no database that napo can tell"]),
    "titles from two places": (
        ["data", "inspect", "x.db", "--items", "items.csv", "--items-query", "SELECT 1"],
        ["give either `items` or `items_query`"],
    ),
    "a web page for a log": (["data", "inspect", "https://example.com/log.csv"], ["does not read https://", "LOG"]),
    "a name that no file has": (["data", "inspect", "a" * 5000], ["no file has so long a name: aaa", "a path"]),
    "a picture that is a folder": (
        ["data", "inspect", "log.csv", "--items", "items.csv", "--plot", "."],
        ["cannot write .: it is a folder"],
    ),
    "a recipe that is there": (
        ["data", "inspect", "log.csv", "--items", "items.csv", "--write", "sft.yaml"],
        ["sft.yaml is there already", "--write"],
    ),
    "converting over other things": (["data", "convert", "log.csv", "--out", "."], ["holds something else", "--out"]),
    "converting a set nobody knows": (
        ["data", "convert", "ml-1m", "--out", "c"],
        ["there is no file ml-1m", "docs/data.md"],
    ),
    "fetching from nowhere": (["data", "fetch", "ml-100k", "--from", "no"], ["no copy of the data set", "u.data"]),
    "events that are not there": (["data", "from-events", "no.db", "--out", "t"], ["no event store no.db", "server"]),
    "events of an empty file": (["data", "from-events", "empty.db", "--out", "t"], ["nothing is in empty.db"]),
    "events of a log": (["data", "from-events", "log.csv", "--out", "t"], ["no database that napo can tell"]),
    "events of no run": (["data", "from-events", "no.db", "--out", "t", "--run", "no"], ["no holds no run", "--run"]),
    "a run and other items": (
        ["data", "from-events", "no.db", "--out", "t", "--run", "run", "--items", "items.csv"],
        ["a run has its own items", "leave --items or --run out"],
    ),
    "cases over other things": (["data", "export-cases", "sft.yaml", "--out", "."], ["holds no export", "new folder"]),
    "cases of nothing": (["data", "export-cases", "no.yaml", "--out", "t"], ["no recipe no.yaml", "sft.yaml"]),
    "a report on nothing": (["report", "nowhere"], ["no folder nowhere", "runs/sweep"]),
    "a report on a run": (["report", "run"], ["holds no results of a sweep", "napo sweep"]),
    "nothing of that name to reproduce": (["reproduce", "npao"], ["nothing to reproduce is called 'npao'", "`napo`"]),
    "a sweep of ours that was changed": (["reproduce", "napo"], ["`methods` is missing", "sweeps/napo.yaml"]),
    "a demo far from the recipes": (["demo", "--out", "x"], ["no recipes/ml100k here", "a clone"]),
    "a demo without seeds": (["demo", "--seeds", "0"], ["'--seeds'"]),
}


@pytest.fixture(autouse=True)
def nothing_is_served(monkeypatch) -> None:
    """A row that is wrongly content would wait for requests for ever."""

    def served(*given: object, **more: object) -> None:
        raise AssertionError("the server was started")

    monkeypatch.setattr(serve._Server, "run", served)


@pytest.mark.parametrize("mistake", WORDS)
def test_a_commands_mistake(desk, mistake):
    words, said = WORDS[mistake]
    with nothing_changes_in(desk):
        ran = napo_in(desk)(*words)
    assert_said(ran, said)


def test_a_password_of_a_mistyped_address_is_not_repeated(desk):
    for word in ("postgresql://me:se@cret@shop/x", "mysql://me:secret@shop/x"):
        ran = napo_in(desk)("data", "inspect", word, "--query", "SELECT 1")
        assert ran.code == 2
        assert "cret" not in ran.err
