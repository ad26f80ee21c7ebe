import json
import os

import pytest
import yaml

from napo.errors import UserError
from napo.evaluation.runs import MODEL
from napo.experiments.search import run_search
from napo.experiments.search_file import SEARCHABLE, load_search
from napo.files import WriteFailed
from napo.recipe import load_recipe
from napo.training.compare import MAY_DIFFER
from tests.experiments.search_desk import KilledError, nearness, refuses, trained, write_search
from tests.tiny_world import Quiet

__all__ = ["trained"]  # a fixture


TRIALS = [f"trial-{number}" for number in range(5)]


def searched(folder, file=None, **keys):
    return run_search(file or write_search(folder, **keys), folder / "out", progress=Quiet())


def told(result):
    """All that two searches must have alike."""
    return [(method.name, method.trials) for method in result.methods]


def test_every_method_has_the_same_budget_and_begins_with_the_recipe_as_written(tmp_path, trained):
    result = searched(tmp_path)
    assert [(method.name, len(method.trials)) for method in result.methods] == [("sdpo", 5), ("napo", 5)]
    assert result.searched == {"S-DPO": 5, "NAPO": 5}
    for name in ("sdpo", "napo"):
        assert trained.recipes[f"{name}/trial-0"] == load_recipe(tmp_path / f"{name}.yaml", methods=True)
    written = {"preference.lr": 1e-3, "objective.margin.sensitivity": 0.3, "objective.beta": 1.0}
    assert result.methods[1].written.settings == written
    assert result.methods[1].written.value == 1.0


def test_the_drawn_values_lie_in_their_spaces_and_are_what_is_trained(tmp_path, trained):
    result = searched(tmp_path, trials=8)
    napo = result.methods[1]
    for tried in napo.trials[1:]:
        recipe = trained.recipes[f"napo/trial-{tried.number}"]
        assert recipe.preference.lr == tried.settings["preference.lr"]
        assert recipe.objective.settings["beta"] == tried.settings["objective.beta"]
        assert recipe.objective.settings["margin"]["sensitivity"] == tried.settings["objective.margin.sensitivity"]
        assert 1e-4 <= tried.settings["preference.lr"] <= 1e-2
        assert 0.3 <= tried.settings["objective.beta"] <= 3.0
        assert tried.settings["objective.margin.sensitivity"] in (0, 0.1, 0.3)
    assert len({json.dumps(tried.settings) for tried in napo.trials}) == 8


def test_the_same_search_gives_the_same_trials_and_another_seed_gives_others(tmp_path, trained):
    one, same, other = (
        searched(tmp_path / name, seed=seed, trials=7) for name, seed in (("one", 3), ("same", 3), ("other", 4))
    )
    assert told(one) == told(same)
    assert [tried.settings for tried in one.methods[0].trials[1:]] != [
        tried.settings for tried in other.methods[0].trials[1:]
    ]


def test_what_is_set_for_all_recipes_is_part_of_the_recipe_as_written(tmp_path, trained):
    searched(tmp_path, set=["sft.epochs=7", "preference.epochs=3"], trials=2)
    assert {recipe.sft.epochs for recipe in trained.recipes.values()} == {7}
    assert {recipe.preference.epochs for recipe in trained.recipes.values()} == {3}


def test_a_recipe_outside_the_space_is_the_first_trial_all_the_same(tmp_path, trained):
    result = searched(tmp_path, own=None, space={"preference.lr": {"log": [2e-3, 1e-2]}, "negatives.count": [5, 7]})
    first, *others = result.methods[0].trials
    assert first.settings == {"preference.lr": 1e-3, "negatives.count": 3}
    assert first.value == 1.0
    assert all(2e-3 <= tried.settings["preference.lr"] <= 1e-2 for tried in others)


def test_whole_sections_null_and_lists_can_be_choices(tmp_path, trained):
    choices = [None, {"base": 2.0, "sensitivity": 0.0}]
    result = searched(tmp_path, own={"napo": {"objective.margin": choices}}, trials=6)
    margins = {json.dumps(trial.settings["objective.margin"]) for trial in result.methods[1].trials[1:]}
    assert margins == {json.dumps(choice) for choice in choices}
    for tried in result.methods[1].trials[1:]:
        margin = trained.recipes[f"napo/trial-{tried.number}"].objective.settings["margin"]
        assert margin is None if tried.settings["objective.margin"] is None else margin["base"] == 2.0


def test_a_trial_below_the_median_of_the_others_is_pruned_and_counts(tmp_path, trained):
    trained.figure = lambda recipe, out: dict(zip(TRIALS, [0.5, 0.6, 0.7, 0.1, 0.9], strict=True))[out.name]
    result = searched(tmp_path, recipes=["sdpo.yaml"], own=None)
    (sdpo,) = result.methods
    # the median of the second looks is 0.6 * 2/3; 0.1 * 2/3 lies below it, and the start alone prunes nobody
    assert [tried.state for tried in sdpo.trials] == ["done", "done", "done", "pruned", "done"]
    pruned = sdpo.trials[3]
    assert trained.watched["sdpo/trial-3"] == 1
    assert pruned.value is None
    assert pruned.looks == pytest.approx([0.1 / 3, 0.2 / 3])
    assert sdpo.best.number == 4


def test_the_last_look_prunes_nobody_since_all_is_paid_by_then(tmp_path, trained):
    trained.looks = 2
    trained.figure = lambda recipe, out: dict(zip(TRIALS, [0.5, 0.6, 0.7, 0.1, 0.9], strict=True))[out.name]
    result = searched(tmp_path, recipes=["sdpo.yaml"], own=None)
    assert [tried.state for tried in result.methods[0].trials] == ["done"] * 5


def test_a_trial_that_fails_is_recorded_with_its_reason_counts_and_the_search_goes_on(tmp_path, trained):
    def before(out):
        if (out.parent.name, out.name) == ("sdpo", "trial-2"):
            raise refuses("the loss is nan at step 3")

    trained.before = before
    result = searched(tmp_path)
    sdpo, napo = result.methods
    assert [tried.state for tried in sdpo.trials] == ["done", "done", "failed", "done", "done"]
    assert sdpo.trials[2].reason == "the loss is nan at step 3"
    assert napo.count("failed") == 0
    assert result.searched == {"S-DPO": 5, "NAPO": 5}
    assert len(result.failures()) == 1
    assert "S-DPO, trial 2 failed: the loss is nan at step 3 (preference.lr=" in result.failures()[0]
    said = json.loads((tmp_path / "out" / "search.json").read_text())
    assert said["methods"]["sdpo"]["trials"][2]["reason"] == "the loss is nan at step 3"


def test_values_that_do_not_go_together_fail_their_trial_alone(tmp_path, trained):
    together = {"preference.positives": ["kept_back", "all"], "sft.keep_back": [0.3, 0.0]}
    result = searched(tmp_path, recipes=["sdpo.yaml"], own=None, space=together, trials=4)
    (sdpo,) = result.methods
    (clash,) = (tried for tried in sdpo.trials if tried.state == "failed")
    assert clash.settings == {"preference.positives": "kept_back", "sft.keep_back": 0.0}
    assert "`sft.keep_back` is 0" in clash.reason
    assert sdpo.count("done") == 3


def test_no_setting_is_tried_twice(tmp_path, trained):
    few = {"preference.positives": ["all", "kept_back"], "negatives.count": {"int": [3, 6]}}
    result = searched(tmp_path, recipes=["sdpo.yaml"], own=None, space=few, set=["sft.keep_back=0.3"], trials=8)
    assert len({json.dumps(tried.settings) for tried in result.methods[0].trials}) == 8


def test_a_full_disk_is_no_fault_of_the_settings(tmp_path, trained):
    def before(out):
        if out.name == "trial-1":
            raise WriteFailed("cannot write")

    trained.before = before
    with pytest.raises(WriteFailed):
        searched(tmp_path)
    trained.before = lambda out: None
    result = searched(tmp_path)
    assert [(len(method.trials), method.count("failed")) for method in result.methods] == [(5, 0), (5, 0)]


def test_where_every_trial_fails_there_is_no_best_recipe(tmp_path, trained):
    def before(out):
        raise refuses("no")

    trained.before = before
    result = searched(tmp_path)
    assert [method.best for method in result.methods] == [None, None]
    assert list((tmp_path / "out").glob("*.best.yaml")) == []
    assert result.table().row_count == 2


@pytest.mark.parametrize(("number", "look"), [(0, 1), (3, 0)])
def test_a_search_that_is_broken_off_and_gone_on_with_is_the_unbroken_one(tmp_path, trained, number, look):
    whole = searched(tmp_path / "whole", trials=6)

    def at_look(out, seen):
        if (out.parent.name, out.name, seen) == ("sdpo", f"trial-{number}", look):
            raise KilledError

    trained.at_look = at_look
    file = write_search(tmp_path / "broken", trials=6)
    with pytest.raises(KilledError):
        searched(tmp_path / "broken", file)
    trained.at_look = lambda out, look: None
    trained.recipes.clear()
    result = searched(tmp_path / "broken", file)
    assert told(result) == told(whole)
    # what was finished is not run again, what was broken off goes on under its number
    assert [name for name in trained.recipes if name.startswith("sdpo")] == [
        f"sdpo/trial-{left}" for left in range(number, 6)
    ]


def test_a_line_that_a_kill_has_cut_short_is_no_obstacle(tmp_path, trained):
    five = searched(tmp_path)
    with (tmp_path / "out" / "sdpo" / "trials.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"')
    seven = searched(tmp_path, trials=7)
    assert seven.methods[0].trials[:5] == five.methods[0].trials
    assert told(searched(tmp_path, trials=7)) == told(seven)


def test_a_finished_search_trains_nothing_more_and_a_larger_budget_goes_on(tmp_path, trained):
    five = searched(tmp_path)
    trained.recipes.clear()
    assert told(searched(tmp_path)) == told(five)
    assert trained.recipes == {}
    seven = searched(tmp_path, trials=7)
    assert [method.trials[:5] for method in seven.methods] == [method.trials for method in five.methods]
    assert list(trained.recipes) == [f"{name}/trial-{number}" for name in ("sdpo", "napo") for number in (5, 6)]


def test_another_search_in_the_folder_is_a_mistake(tmp_path, trained):
    searched(tmp_path)
    with pytest.raises(UserError, match="has had 5 trials already, and the budget is 4"):
        searched(tmp_path, trials=4)
    with pytest.raises(UserError, match=r"begun with other settings: space\.preference\.lr differ"):
        searched(tmp_path, space={"preference.lr": {"log": [1e-4, 2e-2]}})
    with pytest.raises(UserError, match=r"other settings: recipe\.sft differ"):
        searched(tmp_path, set=["sft.epochs=3"])
    with (tmp_path / "items.csv").open("a") as items:
        items.write("i99,Another title\n")
    with pytest.raises(UserError, match=r"what .*items\.csv holds differ"):
        run_search(tmp_path / "search.yaml", tmp_path / "out", progress=Quiet())


def test_a_method_can_be_added_later(tmp_path, trained):
    searched(tmp_path, recipes=["sdpo.yaml"], own=None)
    trained.recipes.clear()
    result = searched(tmp_path)
    assert {name.split("/")[0] for name in trained.recipes} == {"napo"}
    assert result.searched == {"S-DPO": 5, "NAPO": 5}


def test_the_best_recipe_stands_alone_and_says_what_was_searched(tmp_path, trained):
    trained.figure = lambda recipe, out: 1 - nearness(recipe, out) / 2  # the recipe as written is the worst
    result = searched(tmp_path, trials=3)
    napo = result.methods[1]
    path = tmp_path / "out" / "napo.best.yaml"
    assert load_recipe(path, methods=True) == trained.recipes[f"napo/trial-{napo.best.number}"]
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert head[0] == "# The best of 3 trials of napo on validation (3 done, 0 pruned, 0 failed); seed 0"
    assert head[2] == f"# NDCG {napo.best.value:.4f} in trial {napo.best.number}; the recipe as written: 0.5000"
    assert any(line.startswith("# objective.margin.sensitivity: ") for line in head)
    assert any(line.endswith("of {log: [0.0001, 0.01]}") for line in head)


def test_the_result_holds_what_a_table_needs_and_every_trial(tmp_path, trained):
    result = searched(tmp_path)
    said = json.loads((tmp_path / "out" / "search.json").read_text())
    assert said == json.loads(json.dumps(result.to_json()))
    assert said["searched"] == {"S-DPO": 5, "NAPO": 5}
    assert said["budget"] == 5
    assert [trial["number"] for trial in said["methods"]["napo"]["trials"]] == [0, 1, 2, 3, 4]
    assert said["methods"]["napo"]["space"]["objective.margin.sensitivity"] == "[0, 0.1, 0.3]"


def test_only_the_best_trial_keeps_its_model(tmp_path, trained):
    result = searched(tmp_path)
    for method in result.methods:
        folder = tmp_path / "out" / method.name
        kept = [path.parent.name for path in folder.glob(f"trial-*/{MODEL}")]
        assert kept == [path.parents[1].name for path in folder.glob("trial-*/preference/best")]
        assert kept == [f"trial-{method.best.number}"]
        assert list(folder.glob("trial-*/preference/checkpoint-*")) == []
        assert len(list(folder.glob("trial-*/preference/metrics.jsonl"))) == 5


def test_a_search_may_change_the_method_and_never_the_task():
    assert set(SEARCHABLE) == set(MAY_DIFFER) - {"seed"}


def test_recipes_lie_beside_the_search_file(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    file = write_search(tmp_path / "searches")
    monkeypatch.chdir(tmp_path / "elsewhere")
    search = load_search(file)
    assert [method.name for method in search.methods] == ["sdpo", "napo"]
    relative = load_search(type(file)(os.path.relpath(file)))
    assert [method.recipe for method in relative.methods] == [method.recipe for method in search.methods]


def test_without_optuna_the_remedy_is_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match="needs Optuna") as stopped:
        searched(tmp_path)
    assert stopped.value.remedy == "pip install 'napo[search]'"
    assert yaml.safe_load((tmp_path / "search.yaml").read_text())["trials"] == 5
