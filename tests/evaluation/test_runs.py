import shutil

import polars as pl
import pytest

from napo.data.export import export_cases
from napo.errors import UserError
from napo.evaluation.runs import display_name, evaluate_run, open_run
from napo.plugins import names
from napo.training.run import train_recipe
from tests.tiny_world import Quiet, tiny_recipe, write_log

SHORT = {"sft": {"epochs": 0.5}, "preference": {"epochs": 0.5}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny_recipe(folder / "data", objective={"name": "dpo"}, evaluation={"ks": [1, 3]}, **SHORT)
    return train_recipe(recipe, folder / "runs" / "dpo", progress=Quiet())


def test_a_run_is_opened_from_its_folder_alone(run):
    recipe, prepared, language = open_run(run.folder)
    assert recipe == run.recipe
    assert prepared.key == run.prepared.key
    assert language.usage == run.language.usage


def test_a_runs_row_stands_among_the_baselines(run):
    (table,) = evaluate_run(run.folder)
    assert {row.name for row in table.rows} == {"chance", "popularity", "blind slot rule", "DPO"}
    said = str(table.to_json())
    assert "HR@3" in said
    assert "HR@10" not in said


def test_the_protocol_and_the_part_may_be_others(run):
    (table,) = evaluate_run(run.folder, protocol="full")
    assert {row.name for row in table.rows} == {"chance", "popularity", "DPO"}
    (table,) = evaluate_run(run.folder, part="valid")
    assert "valid" in str(table.to_json())


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """What another tool has made of the exported cases: the first candidate of each, and the first items of all."""
    folder = tmp_path_factory.mktemp("exported")
    export_cases(run.prepared, folder / "cases")
    lists = pl.read_parquet(folder / "cases" / "test_candidates.parquet")
    lists.with_columns(score=pl.lit(1.0)).write_csv(folder / "tied.csv")
    cases = pl.read_parquet(folder / "cases" / "test_cases.parquet")
    rows = [
        (user, f"i{item:02d}", rank)
        for user, history in zip(cases["user"], cases["history"], strict=True)
        for rank, item in enumerate([item for item in range(40) if f"i{item:02d}" not in history][:12], start=1)
    ]
    pl.DataFrame(rows, schema=["user", "item", "rank"], orient="row").write_parquet(folder / "first.parquet")
    return folder


def test_ranked_lists_stand_beside_the_run_and_files_of_one_name_are_seeds(run, exported):
    tied, first = exported / "tied.csv", exported / "first.parquet"
    (table,) = evaluate_run(run.folder, ranked=[("Tied", tied), ("Tied", tied)])
    rows = {row.name: row for row in table.rows}
    assert (rows["Tied"].seeds, rows["Tied"].metrics["HR@1"].value) == (2, 0.0)
    assert "DPO" in rows
    asked = {check.name: check for check in table.checks if check.scorer == "Tied"}
    assert {name: check.worst_of for name, check in asked.items()} == {"file": 2, "no_history": 2, "order": 2}
    assert asked["file"].verdict == "WARN"  # one score for all
    (table,) = evaluate_run(run.folder, protocol="full", ranked=[("first", first)], base="first")
    assert [row.name for row in table.rows] == ["chance", "popularity", "DPO", "first"]
    assert [row.against is None for row in table.rows] == [False, False, False, True]
    assert [check.name for check in table.checks if check.scorer == "first"] == ["file", "no_history"]


def test_a_recipe_alone_will_do_for_ranked_lists(run, exported):
    ranked = [("first", exported / "first.parquet")]
    (table,) = evaluate_run(run.folder / "recipe.yaml", protocol="full", ranked=ranked)
    assert [row.name for row in table.rows] == ["chance", "popularity", "first"]
    with pytest.raises(UserError, match="holds no run"):
        evaluate_run(run.folder / "recipe.yaml")


def test_ranked_lists_that_could_be_meant_otherwise_are_refused(run, exported, tmp_path):
    both = tmp_path / "both.yaml"
    text = (run.folder / "recipe.yaml").read_text()
    both.write_text(text.replace("- cand20\n", "- cand20\n  - full\n"))
    with pytest.raises(UserError, match="judges by cand20 and full") as unclear:
        evaluate_run(both, ranked=[("a", exported / "tied.csv")])
    assert "--protocol" in unclear.value.remedy
    with pytest.raises(UserError, match="a second row 'DPO'"):
        evaluate_run(run.folder, ranked=[("DPO", exported / "tied.csv")])


def test_a_folder_without_a_run_or_with_half_a_one_is_said(run, tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        open_run(tmp_path)
    shutil.copytree(run.folder, tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "model")
    with pytest.raises(UserError, match="has not ended") as stopped:
        open_run(tmp_path / "half")
    assert "--resume" in stopped.value.remedy


def test_a_run_whose_log_has_changed_is_not_judged(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "copy")
    data = run.recipe.data.interactions.parent
    try:
        write_log(data, chain=True)
        with pytest.raises(UserError, match="another split or other cases"):
            evaluate_run(tmp_path / "copy")
    finally:
        write_log(data)


def test_every_objective_has_a_name_in_tables(tmp_path):
    recipe = tiny_recipe(tmp_path)
    assert display_name(recipe) == "SFT"
    shown = [display_name(tiny_recipe(tmp_path, objective={"name": name})) for name in names("objectives")]
    assert len(set(shown)) == len(shown)
    assert "NAPO" in shown
    assert "SFT" not in shown  # the objective `sft` is more training of the same kind


def test_what_a_run_writes_freely_has_a_table_of_its_own(run):
    (table,) = evaluate_run(run.folder, protocol="gen20", match="substring")
    assert [row.name for row in table.rows] == ["DPO"]
    assert table.base is None
    assert "gen20" in table.heading
    assert "match substring" in table.heading
    assert "lists hold a title inside another" in str(table.footer)
    with pytest.raises(UserError, match="`gen20` judges what is written"):
        evaluate_run(run.folder, protocol="gen20", ranked=[("a", run.folder)])
