"""`napo recommend` as a person types it: lists on stdout, mistakes on stderr with exit code 2."""

import json

import pytest

from napo import cli
from tests.recommenders import TITLES, small_recommender


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder: its model, saved where a run saves it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    small_recommender(max_history=20).save(folder / "model")
    return folder


@pytest.fixture
def napo(run, capsys):
    """Runs `napo recommend` in this process; gives the exit code, stdout, stderr."""

    def ran(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["recommend", str(run), *words])
        return end.value.code or 0, *capsys.readouterr()

    return ran


def listed(out: str) -> list[str]:
    return [item["title"] for item in json.loads(out)["items"]]


def test_a_history_at_once_and_title_by_title_are_the_same(napo):
    code, out, _ = napo("--history", "Alien; title NUMBER 7 ", "-k", "5", "--json")
    assert code == 0
    assert len(listed(out)) == 5
    assert not {"Alien", "Title number 7"} & set(listed(out))
    assert set(listed(out)) <= set(TITLES)
    assert napo("--history", "Alien", "--history", "i07", "-k", "5", "--json")[1] == out


def test_a_title_with_a_semicolon_is_one_title(napo):
    code, out, _ = napo("--history", "Me; Myself", "-k", "39", "--json")
    assert code == 0
    assert "Me; Myself" not in listed(out)


def test_the_table_shows_ranks_titles_ties_and_notes(napo):
    code, out, _ = napo("--history", "", "-k", "4")
    assert code == 0
    assert "Alien" in out
    assert "3=" in out
    assert "no history: the most popular items" in out


def test_a_user_of_the_log_is_asked_for_by_key(napo):
    code, out, _ = napo("--user", "ann", "-k", "40", "--json")
    assert code == 0
    assert len(listed(out)) == 37
    assert "Alien" not in listed(out)


def test_500_titles_are_cut_at_the_old_end_and_it_is_said(napo):
    code, out, _ = napo("--history", "; ".join(["Title number 8", "Title number 9"] * 250), "--json")
    assert code == 0
    assert json.loads(out)["notes"] == ["history cut to the newest 20 of 500 items"]


def test_only_what_meets_every_condition_is_named_and_its_columns_are_shown(napo):
    code, out, _ = napo("--history", "Alien", "--where", "genre=Drama", "--where", "year>1990", "--show", "genre")
    assert code == 0
    assert "Crime|Drama" in out
    assert "2004" in out
    assert "Title number" not in out
    _, out, _ = napo("--history", "Alien", "--where", "genre in Drama, War", "--json")
    genres = [item["columns"]["genre"] for item in json.loads(out)["items"]]
    assert len(genres) == 10
    assert all("Drama" in genre or "War" in genre for genre in genres)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--history", "Alien", "--where", "gnere=War"], ["no column 'gnere'", "`genre`"]),
        (["--history", "Alien", "--where", "genre=Wra"], ["no item has genre=Wra", "War"]),
        (["--history", "Alien", "--show", "colour"], ["no column 'colour'", "genre"]),
        (["--history", "Alien; Titel number 31"], ["'Titel number 31'", "history, item 2", "Title number 31"]),
        (["--history", "Alien; Aliens;", "--history", "nothing"], ["history, item 3"]),
        (["--user", "nobody"], ["'nobody'", "--history"]),
        (["--user", "cay"], ["seen the whole catalog", "--include-seen"]),
        (["--user", "ann", "--history", "Alien"], ["both a user and a history"]),
        ([], ["whom to recommend to?", "--user"]),
    ],
)
def test_a_mistake_is_a_message_with_its_remedy_and_exit_code_2(napo, words, said):
    code, out, err = napo(*words)
    assert (code, out) == (2, "")
    assert err.count("napo: ") == 1
    assert "Traceback" not in err
    assert all(part in err for part in said)


def test_a_user_who_has_seen_everything_can_be_asked_for_nonetheless(napo):
    code, out, _ = napo("--user", "cay", "--include-seen", "-k", "3", "--json")
    assert (code, len(listed(out))) == (0, 3)


def test_a_folder_that_is_no_run_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["recommend", str(tmp_path), "--history", "Alien"])
    assert end.value.code == 2
    assert "no model that napo saved" in capsys.readouterr().err
