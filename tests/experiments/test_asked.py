from pathlib import Path

import pytest

from napo.errors import UserError
from napo.experiments.asked import Asked
from napo.experiments.plan import load_plan
from tests.experiments.world import write_recipes, write_sweep
from tests.test_plugins import WHOLE

SWEEP = """
methods:
  SFT: {recipe: sft.yaml}
  S-DPO: {recipe: sdpo.yaml}
data:
  toy: {}
  other: {data: {interactions: log.csv, items: items.csv}}
bring: [other]
baselines: false
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_recipes(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in ("log.csv", "items.csv"):
        (tmp_path / "elsewhere" / name).write_text((tmp_path / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(folder, **asked):
    return load_plan(write_sweep(folder, SWEEP), asked=Asked(**asked)).cells


def test_data_sets_that_the_user_brings_are_left_out_unless_asked_for(folder):
    assert {cell.data for cell in cells(folder)} == {"toy"}
    asked = cells(folder, data={"toy": None, "other": Path("elsewhere")})
    assert [cell.data for cell in asked] == ["toy", "toy", "other", "other"]
    assert asked[-1].recipe.data.interactions == folder / "elsewhere" / "log.csv"


def test_an_own_log_takes_the_place_of_all_data_sets(folder):
    found = cells(folder, interactions=Path("elsewhere/log.csv"), items=Path("elsewhere/items.csv"))
    assert [cell.data for cell in found] == ["log", "log"]
    assert {cell.recipe.data.interactions for cell in found} == {folder / "elsewhere" / "log.csv"}


def test_a_recipe_more_is_a_row_more(folder):
    (folder / "mine.yaml").write_text("extends: base.yaml\nobjective: {name: simpo}\n")
    assert [cell.row for cell in cells(folder, methods=(Path("mine.yaml"),))] == ["SFT", "S-DPO", "mine"]


def test_an_own_objective_is_a_row_whose_content_counts_and_whose_start_is_the_others(folder):
    path = folder / "mine.py"
    path.write_text(WHOLE)
    found = cells(folder, objectives=(path,))
    assert [cell.row for cell in found] == ["SFT", "S-DPO", "mine"]
    assert found[2].recipe.objective.file == path
    assert found[2].start == found[1].start
    path.write_text(f"{WHOLE}\nCHANGED = True\n")
    again = cells(folder, objectives=(path,))
    assert [one.key == other.key for one, other in zip(found, again, strict=True)] == [True, True, False]


def test_seeds_are_as_many_as_asked_for(folder):
    assert [cell.seed for cell in cells(folder, seeds=3)] == [0, 1, 2, 0, 1, 2]


MISTAKES = {
    "a data set nobody knows": ({"data": {"tyo": None}}, ["no data set 'tyo'", "`toy`"]),
    "a data set without its folder": ({"data": {"other": None}}, ["yours to bring", "`--data other=FOLDER`"]),
    "a folder that is not there": ({"data": {"other": Path("nowhere")}}, ["no folder nowhere"]),
    "a log without titles": ({"interactions": Path("log.csv")}, ["needs titles", "--items"]),
    "a log that is not there": ({"interactions": Path("lgo.csv"), "items": Path("items.csv")}, ["no file lgo.csv"]),
    "a method that is not there": ({"methods": (Path("mine.yaml"),)}, ["no file mine.yaml"]),
    "a name twice": ({"methods": (Path("SFT"),)}, ["a row 'SFT' already"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_done_is_said(mistake, folder):
    asked, said = MISTAKES[mistake]
    (folder / "SFT").write_text("extends: base.yaml\n")
    with pytest.raises(UserError) as caught:
        cells(folder, **asked)
    assert [part for part in said if part not in str(caught.value)] == []


def test_a_sweep_of_nothing_but_brought_data_says_how_to_bring_it(folder):
    text = SWEEP.replace("bring: [other]", "bring: [toy, other]")
    with pytest.raises(UserError, match="yours to bring") as caught:
        load_plan(write_sweep(folder, text))
    assert "--data toy=FOLDER" in caught.value.remedy
