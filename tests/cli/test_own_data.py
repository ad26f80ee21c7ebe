"""`napo train --data`: from a log with odd columns to a run."""

import pytest

from napo.cli._own_data import own_recipe
from napo.errors import UserError
from napo.recipe import load_recipe
from tests.commands import napo_in
from tests.tiny_world import write_log


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a log whose columns go by other names, and its items."""
    write_log(tmp_path)
    text = (tmp_path / "log.csv").read_text().replace("user,item,rating,time", "kunde;artikel;sterne;datum")
    (tmp_path / "my.csv").write_text(text.replace(",", ";"))
    (tmp_path / "log.csv").unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_made_with_reasons_and_what_it_takes_is_said(desk, capsys):
    words = ["sft.epochs=1", "preference.epochs=0.5", "auxiliary.epochs=1", "data.columns.time=datum"]
    path, left = own_recipe("my.csv", desk / "items.csv", words, 3.0, None, resume=False)
    assert str(path) == "runs/my.yaml"
    assert left == words[:3]
    said = capsys.readouterr().err
    assert "proposed: user = 'kunde'" in said
    assert "240 events are few" in said
    assert "training will take about" in said
    assert "GB on" in said
    recipe = load_recipe(path, left, methods=True)
    assert recipe.data.interactions == desk / "my.csv"
    assert (recipe.data.columns.user, recipe.data.columns.time) == ("kunde", "datum")
    assert recipe.split.min_rating == 4.0
    assert "# 240 events are few" in path.read_text()
    with pytest.raises(UserError, match="is there already"):
        own_recipe("my.csv", desk / "items.csv", [], 3.0, None, resume=False)
    assert own_recipe("my.csv", desk / "items.csv", words, 3.0, None, resume=True) == (path, left)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "name a YAML file, or a log of your own"),
        (["train", "--data", "none.csv"], "there is no file none.csv"),
        (["train", "--data", "my.csv", "data.colums.user=kunde"], "unknown key"),
        (["train", "--data", "my.csv", "--items", "items.csv", "sft.epoch=1"], "unknown key `sft.epoch`"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(desk, words, said):
    ran = napo_in(desk)(*words)
    assert ran.code == 2
    assert said in ran.err
    assert not list(desk.glob("runs/*"))


@pytest.mark.slow
def test_a_log_is_all_that_a_run_needs(desk):
    small = ("sft.epochs=1", "preference.epochs=0.5", "auxiliary.epochs=1")
    ran = napo_in(desk)("train", *small, "--data", "my.csv", "--items", "items.csv", "--out", "runs/mine")
    assert ran.code == 0, ran.err
    assert (desk / "runs" / "mine.yaml").is_file()
    assert (desk / "runs" / "mine" / "report.html").is_file()
    ran = napo_in(desk)("recommend", "runs/mine", "--user", "u00", "-k", "3")
    assert ran.code == 0, ran.err
