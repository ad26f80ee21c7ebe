import json
from typing import get_args

import pytest

from napo.cli import data, main
from napo.data.fetch import KNOWN
from napo.data.prepare import data_settings
from napo.data.source import load_source
from napo.recipe import load_recipe


@pytest.fixture
def log(tmp_path):
    """Four users with six events each, over six titled items."""
    rows = [
        f"u{user},i{(user + step) % 6},{3 + step % 3},{1_700_000_000 + step}" for user in range(4) for step in range(6)
    ]
    (tmp_path / "log.csv").write_text("user,item,rating,time\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"i{item},Title {item}\n" for item in range(6)))
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", *words])
    return ended.value.code


def test_the_command_line_knows_the_data_sets_that_can_be_fetched():
    assert set(get_args(data.DataSet)) == set(KNOWN)


def test_inspect_counts_what_a_log_holds(log, capsys):
    assert run("inspect", str(log / "log.csv"), "--items", str(log / "items.csv"), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["users"], shown["items"], shown["events"]) == (4, 6, 24)


def test_inspect_draws_a_table_and_a_picture(log, capsys):
    assert run("inspect", str(log / "log.csv"), "--items", str(log / "items.csv"), "--plot", str(log / "p.png")) == 0
    assert "events per user" in capsys.readouterr().out
    assert (log / "p.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_takes_the_files_own_column_names_and_separator(log, capsys):
    text = (log / "log.csv").read_text().replace(",", "\t").replace("user\t", "who\t", 1)
    (log / "log.csv").write_text(text)
    words = ("--items", str(log / "items.csv"), "--column", "user=who", "--json")
    assert run("inspect", str(log / "log.csv"), *words) == 0
    assert json.loads(capsys.readouterr().out)["users"] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--column", "user"], "`user` names no column"),
        (["--column", "usr=who"], "unknown key `columns.usr`"),
        (["--separator", ""], "`separator` is empty"),
        (["--format", "xlsx"], "'xlsx' is not one of"),
        (["--time-zone", "Mars/Olympus"], "no time zone 'Mars/Olympus'"),
    ],
)
def test_a_slip_in_the_options_is_a_users_mistake(log, words, said, capsys):
    assert run("inspect", str(log / "log.csv"), "--items", str(log / "items.csv"), *words) == 2
    assert said in capsys.readouterr().err


def test_convert_writes_a_folder_that_inspect_reads(log, capsys):
    words = (str(log / "log.csv"), "--items", str(log / "items.csv"), "--core", "4", "--out", str(log / "out"))
    assert run("convert", *words) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{log / 'out'}\n"
    assert "core 4, over the whole log" in shown.err
    assert run("inspect", str(log / "out"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["events"] == 24


def test_convert_leaves_a_folder_of_something_else_alone(log, capsys):
    assert run("convert", str(log / "log.csv"), "--out", str(log)) == 2
    assert "something else" in capsys.readouterr().err


def test_a_file_without_a_header_is_read_by_the_names_that_are_given(log, capsys):
    path = log / "log.csv"
    path.write_text(path.read_text().partition("\n")[2])
    assert run("inspect", str(path), "--header", "user,item,rating,time", "--json") == 0
    assert json.loads(capsys.readouterr().out)["events"] == 24
    assert run("inspect", str(path), "--json") == 0  # or as it is proposed
    shown = capsys.readouterr()
    assert json.loads(shown.out)["proposal"]["data"]["header"] == ["user", "item", "rating", "time"]
    assert json.loads(shown.out)["events"] == 24
    assert "the first line holds values, u0, i0, 3, 1700000000" in shown.err
    assert run("convert", str(path), "--out", str(log / "out")) == 2
    assert "header: [user, item, rating, time]" in capsys.readouterr().err


def test_a_log_that_is_not_there_is_a_users_mistake(tmp_path, capsys):
    assert run("inspect", str(tmp_path / "log.csv")) == 2
    assert "log.csv" in capsys.readouterr().err


def test_fetch_prints_the_folder_on_stdout_and_the_terms_on_stderr(monkeypatch, tmp_path, capsys):
    from napo.data import fetch

    monkeypatch.setattr(fetch, "fetch", lambda name, folder: fetch.Fetched(tmp_path / name, "research use", new=True))
    assert run("fetch", "ml-100k") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{tmp_path / 'ml-100k'}\n", "research use\n")


def test_an_unknown_data_set_is_refused(capsys):
    assert run("fetch", "ml-1m") == 2
    assert "ml-100k" in capsys.readouterr().err


def test_export_cases_takes_a_recipe_and_says_what_it_wrote(log, capsys):
    keys = {"interactions": "log.csv", "items": "items.csv"}
    recipe = {"data": keys, "split": {"min_history": 1}, "candidates": {"count": 2}, "evaluation": {"ks": [1]}}
    (log / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    rows = "".join(f"u{user},i{user},5,{1_700_000_000 + user}\n" for user in range(4, 8))
    (log / "log.csv").write_text((log / "log.csv").read_text() + rows)
    (log / "items.csv").write_text((log / "items.csv").read_text() + "i6,Title 6\ni7,Title 7\n")
    assert run("export-cases", str(log / "recipe.yaml"), "--out", str(log / "out"), "--format", "csv") == 0
    shown = capsys.readouterr()
    assert shown.out == f"{log / 'out'}\n"
    assert "test_cases: 4 rows" in shown.err
    assert (log / "out" / "test_candidates.csv").read_text().count("\n") == 9


def test_inspect_proposes_a_section_and_writes_a_recipe_that_reads_the_log(log, capsys):
    text = (log / "log.csv").read_text().replace("user,item,rating,time", "kunde,artikel,sterne,datum")
    (log / "my.csv").write_text(text)
    recipe = log / "recipes" / "mine.yaml"
    assert run("inspect", str(log / "my.csv"), "--items", str(log / "items.csv"), "--write", str(recipe)) == 0
    shown = capsys.readouterr()
    assert "proposed: user = 'kunde': it is called so" in shown.err
    assert "In a recipe:" in shown.out
    assert "min_rating: 4.0" in shown.out
    loaded = load_recipe(recipe)
    assert loaded.data.interactions == log / "my.csv"
    assert (loaded.data.columns.user, loaded.split.min_rating) == ("kunde", 4.0)
    assert len(load_source(data_settings(loaded)).user_keys) == 4
    assert run("inspect", str(log / "my.csv"), "--items", str(log / "items.csv"), "--write", str(recipe)) == 2
    assert "is there already" in capsys.readouterr().err


def test_inspect_proposes_to_drop_untitled_items_unless_it_is_told_to_stop(log, capsys):
    (log / "items.csv").write_text((log / "items.csv").read_text().replace("i3,Title 3\n", ""))
    words = ("inspect", str(log / "log.csv"), "--items", str(log / "items.csv"))
    assert run(*words, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["proposal"]["data"]["untitled"] == "drop"
    assert "1 items have no title" in shown.err
    assert run(*words, "--untitled", "stop") == 2
    assert run("convert", *words[1:], "--out", str(log / "out")) == 2
