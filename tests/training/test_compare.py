from pathlib import Path

import pytest

from napo.errors import UserError
from napo.evaluation.claims import accuracy_metrics
from napo.evaluation.comparison import Claim
from napo.evaluation.judge import LIST_LENGTH
from napo.training.compare import compare_recipes
from tests.tiny_world import SHORT, Quiet, tiny_recipe


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    recipes = {
        Path("sft.yaml"): tiny_recipe(folder / "data", **SHORT),
        Path("napo.yaml"): tiny_recipe(folder / "data", objective={"name": "napo"}, **SHORT),
    }
    quiet = Quiet()
    return compare_recipes(recipes, folder / "out", seeds=2, progress=quiet), quiet, folder


def test_every_recipe_and_seed_is_trained_and_judged_by_every_protocol(compared):
    comparison, _, folder = compared
    assert [(run.name, run.seed) for run in comparison.runs] == [("SFT", 0), ("NAPO", 0), ("SFT", 1), ("NAPO", 1)]
    assert (folder / "out" / "seed-1" / "napo" / "model").is_dir()
    assert set(comparison.tables) == {"cand20", "full"}
    for protocol, rows in comparison.results.items():
        trained = {name: len(results) for name, results in rows.items() if len(results) > 1}
        assert trained == {"SASRec": 2, "SFT": 2, "NAPO": 2}
        untrained = {"chance", "popularity"} | ({"blind slot rule"} if protocol == "cand20" else set())
        assert set(rows) == {*trained, *untrained}


def test_every_model_under_every_seed_is_asked_the_checks_of_models(compared):
    comparison, _, _ = compared
    asked = {check.title: check.worst_of for check in comparison.tables["cand20"].checks if check.scorer}
    models = ("SASRec", "SFT", "NAPO")
    assert asked == {f"{name}, {model}": 2 for model in models for name in ("no_history", "order")}
    assert len([check for check in comparison.tables["cand20"].checks if not check.scorer]) == 9


def test_claims_and_budgets_stand_in_the_tables_that_can_answer_them(compared):
    _, _, folder = compared
    recipes = {
        Path("sft.yaml"): tiny_recipe(folder / "data", **SHORT),
        Path("napo.yaml"): tiny_recipe(folder / "data", objective={"name": "napo"}, **SHORT),
    }
    claims = [Claim("NAPO", "SASRec", margin=0.01), Claim("NAPO", "SFT", metric="NDCG")]
    quiet = Quiet()
    found = compare_recipes(recipes, folder / "out", base="SASRec", claims=claims, tried={"NAPO": 8}, progress=quiet)
    assert quiet.steps == []  # all was trained before
    among, over_all = (found.tables[name] for name in ("cand20", "full"))
    assert (among.base, over_all.base) == ("SASRec", "SASRec")
    assert [len(table.claims) for table in (among, over_all)] == [2, 1]  # there is NDCG@10 over the catalog, no NDCG
    assert among.searched == {"SASRec": 1, "SFT": 1, "NAPO": 8}
    assert "NAPO better than SASRec: no verdict, unequal search budget: 8 settings tried against 1" in among.verdicts
    assert {one.row for one in over_all.spread} == {"SFT", "NAPO"}


def test_what_can_be_claimed_is_in_the_tables(compared):
    comparison, _, _ = compared
    for protocol, rows in comparison.results.items():
        known = accuracy_metrics(protocol, (1, 5, 10), LIST_LENGTH)
        assert set(known) <= rows["SFT"][0].metrics.keys()
        assert not {"popularity", "tail"} & set(known)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"base": "sft"},
            "no row 'sft' to compare with\n.*--against\n.*rows: chance, blind slot rule, popularity, SASRec, SFT",
        ),
        ({"claims": [Claim("NAPO", "SFT")]}, "no row 'NAPO'\n.*NAPO better than SFT.*\n.*rows: chance"),
        ({"claims": [Claim("SFT", "SASRec", metric="popularity")]}, "no metric 'popularity' to claim.*\n.*\n.*AUC"),
        (
            {"claims": [Claim("SFT", "blind slot rule", metric="NDCG@10")], "tried": {"popularity": 2}},
            "no row 'popularity' that is trained",
        ),
    ],
)
def test_a_question_that_no_table_can_answer_is_told_before_training(tmp_path, asked, message):
    recipes = {Path("sft.yaml"): tiny_recipe(tmp_path / "data", **SHORT)}
    with pytest.raises(UserError, match=message):
        compare_recipes(recipes, tmp_path / "out", progress=Quiet(), **asked)
    assert not (tmp_path / "out").exists()


def test_without_sft_the_first_recipe_is_the_base(tmp_path):
    recipes = {
        Path(f"{name}.yaml"): tiny_recipe(tmp_path / "data", objective={"name": name, **more}, **SHORT)
        for name, more in {"sdpo": {}, "napo": {}}.items()
    }
    found = compare_recipes(recipes, tmp_path / "out", progress=Quiet())
    assert found.tables["cand20"].base == "S-DPO"


def test_all_methods_are_judged_by_the_same_cases_and_lists(compared):
    comparison, _, _ = compared
    for rows in comparison.results.values():
        results = [result for row in rows.values() for result in row]
        assert len({str(result.conditions) for result in results}) == 1
        assert len({result.lists for result in results}) == 1
        assert len({len(result.users) for result in results}) == 1


def test_runs_of_one_seed_share_their_start_and_seeds_do_not(compared):
    comparison, _, _ = compared
    by_seed = [{run.stages["sft"] for run in comparison.runs if run.seed == seed} for seed in (0, 1)]
    assert [len(stages) for stages in by_seed] == [1, 1]
    assert by_seed[0] != by_seed[1]


def test_what_is_trained_already_is_not_trained_again(compared):
    comparison, _, folder = compared
    recipes = {Path("sft.yaml"): tiny_recipe(folder / "data", **SHORT)}
    quiet = Quiet()
    again = compare_recipes(recipes, folder / "out", seeds=1, progress=quiet)
    assert quiet.steps == []
    first, second = (found.results["cand20"]["SFT"][0].ranks.tolist() for found in (comparison, again))
    assert first == second


def test_a_comparison_in_json_names_runs_and_verdicts(compared):
    comparison, _, _ = compared
    said = comparison.to_json()
    assert set(said["tables"]) == {"cand20", "full"}
    assert [run["name"] for run in said["runs"]] == ["SFT", "NAPO", "SFT", "NAPO"]
    assert len(said["runs"][1]["verdicts"]) == 2


def test_the_recipes_ks_are_those_of_the_table(tmp_path):
    short = {**SHORT, "evaluation": {"ks": [3, 7]}}
    recipes = {Path("sft.yaml"): tiny_recipe(tmp_path / "data", **short)}
    found = compare_recipes(recipes, tmp_path / "out", progress=Quiet())
    for results in found.results["cand20"].values():
        # HR@1 is what rows are compared by
        assert [name for name in results[0].metrics if name.startswith("HR@")] == ["HR@1", "HR@3", "HR@7"]


def test_two_recipes_of_one_method_go_by_their_files(tmp_path):
    recipes = {
        Path(f"{name}.yaml"): tiny_recipe(tmp_path / "data", objective={"name": "sdpo", "reference": False}, **settings)
        for name, settings in {
            "slow": {**SHORT, "preference": {"epochs": 0.25, "lr": 1e-4}},
            "fast": {**SHORT, "preference": {"epochs": 0.25, "lr": 1e-2}},
        }.items()
    }
    found = compare_recipes(recipes, tmp_path / "out", progress=Quiet())
    assert {"slow", "fast"} < set(found.results["cand20"])
    assert "S-DPO" not in found.results["cand20"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"split": {"name": "leave_one_out", "min_history": 1}}, r"split\."),
        ({"candidates": {"count": 10}}, r"candidates\.count"),
        ({"evaluation": {"protocols": ["full"]}}, r"evaluation\.protocols"),
        ({"data": {"repeats": "last"}}, r"data\.repeats"),
    ],
)
def test_recipes_of_different_tasks_are_not_compared(tmp_path, changed, key):
    plain = {
        Path("sft.yaml"): tiny_recipe(tmp_path / "data"),
        Path("b.yaml"): tiny_recipe(tmp_path / "data", **changed),
    }
    with pytest.raises(UserError, match=rf"differ in .*{key}") as stopped:
        compare_recipes(plain, tmp_path / "out", progress=Quiet())
    assert stopped.value.where == "b.yaml"
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_would_share_a_folder(tmp_path):
    recipes = {
        Path("one/napo.yaml"): tiny_recipe(tmp_path / "data"),
        Path("two/napo.yaml"): tiny_recipe(tmp_path / "data", seed=1),
    }
    with pytest.raises(UserError, match="same name"):
        compare_recipes(recipes, tmp_path / "out", progress=Quiet())
