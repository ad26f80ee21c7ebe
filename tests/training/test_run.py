import json
from types import SimpleNamespace

import pytest
import torch

from napo.errors import UserError
from napo.evaluation.protocols import evaluate_candidates
from napo.evaluation.runs import display_name, evaluate_run
from napo.models.language import open_folder
from napo.recipe import Recipe, load_recipe
from napo.training import reference as reference_module
from napo.training import run as run_module
from napo.training.module import PreferenceModule
from napo.training.run import train_recipe
from napo.training.stage import run_stage
from tests.cases.gpt2_world import write_gpt2
from tests.commands import write_recipe
from tests.tiny_world import Quiet, largest_file, tiny_keys, tiny_recipe


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished NAPO run, its recipe, and what was said."""
    folder = tmp_path_factory.mktemp("done")
    recipe, quiet = tiny_recipe(folder / "data", objective={"name": "napo"}), Quiet()
    return train_recipe(recipe, folder / "runs" / "napo", progress=quiet), quiet


def test_a_run_leaves_a_folder_that_tells_it_all(done):
    run, _ = done
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "recipe.yaml",
        "run.json",
        "candidates-valid.npz",
        "candidates-test.npz",
        "preference",
        "model",
    }
    said = json.loads((run.folder / "run.json").read_text())
    assert said["split"] == run.prepared.split.digest
    assert said["counts"]["training_events"] == 180
    assert said["read"]["events"] == 240
    assert set(said["versions"]) >= {"napo", "torch", "transformers", "python"}
    assert load_recipe(run.folder / "recipe.yaml") == run.recipe
    assert list(run.outcomes) == ["sft", "preference"]
    assert set(run.stages) == {"sft", "preference"}
    assert all((stage / "metrics.jsonl").is_file() for stage in run.stages.values())


def test_the_models_folder_holds_the_delivered_model(done):
    run, _ = done
    back = open_folder(run.folder / "model")
    cases, lists = run.prepared.test, run.prepared.test_lists
    ranks, again = (evaluate_candidates(one.ranker(), cases, lists).ranks for one in (run.language, back))
    assert ranks.tolist() == again.tolist()
    assert (run.folder / "model" / "histories.parquet").is_file()


def test_progress_is_told_of_each_stage_and_its_verdict(done):
    run, quiet = done
    assert list(dict.fromkeys(name for name, _ in quiet.steps)) == ["SFT", "SASRec", "NAPO"]
    assert run.outcomes["sft"].verdict in quiet.said
    assert run.outcomes["preference"].verdict in quiet.said
    assert any("180 of 180 preference positives are SFT targets" in line for line in quiet.said)


def test_methods_start_from_the_very_same_supervised_model(done):
    first, _ = done
    quiet = Quiet()
    other = tiny_recipe(first.folder.parents[1] / "data", objective={"name": "dpo"})
    second = train_recipe(other, first.folder.parent / "dpo", progress=quiet)
    assert second.stages["sft"] == first.stages["sft"]
    assert second.outcomes["sft"] == first.outcomes["sft"]
    assert not any(name == "SFT" for name, _ in quiet.steps)
    assert second.outcomes["preference"].start["ndcg"] == first.outcomes["preference"].start["ndcg"]
    assert second.auxiliary is None


def stage_of(tmp_path, **sections) -> str:
    """The name of the supervised stage's folder."""
    recipe = tiny_recipe(tmp_path, **sections)
    bench = run_module.Workbench(recipe, run_module.prepare(recipe), tmp_path / "stages", Quiet())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "run_stage", lambda *_: SimpleNamespace(verdict=""))
        bench.supervised(bench.start())
    return bench.stages["sft"].name


def test_a_supervised_stage_is_shared_only_where_all_that_made_it_is_the_same(tmp_path):
    template = tmp_path / "mine.txt"
    template.write_text("They liked: {history}")
    mine = {"prompt": {"template": str(template)}}
    plain = stage_of(tmp_path)
    assert stage_of(tmp_path, objective={"name": "napo"}, preference={"lr": 0.5}) == plain
    assert stage_of(tmp_path, sft={"save_every": 7}) == plain  # changes nothing but what a kill costs
    changed = [
        {"seed": 1},
        {"sft": {"lr": 0.5}},
        {"model": {"width": 32}},
        {"model": {"dropout": {"embedding": 0.1}}},
        {"normalize": "vocabulary"},
        {"prompt": {"max_history": 7}},
        {"candidates": {"count": 10}},
        mine,
    ]
    names = {stage_of(tmp_path, **sections) for sections in changed}
    template.write_text("She liked: {history}")  # the same name, other words
    names.add(stage_of(tmp_path, **mine))
    assert len(names | {plain}) == len(changed) + 2


def test_a_folder_in_use_is_never_written_over(done, tmp_path):
    run, _ = done
    with pytest.raises(UserError, match="holds a run already") as stopped:
        train_recipe(run.recipe, run.folder, progress=Quiet())
    assert "--resume" in stopped.value.remedy
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        train_recipe(run.recipe, tmp_path / "other", progress=Quiet())
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_a_finished_run_is_resumed_to_the_same_model_without_a_step(done):
    run, _ = done
    before = (run.folder / "model" / "model.safetensors").read_bytes()
    quiet = Quiet()
    again = train_recipe(run.recipe, run.folder, resume=True, progress=quiet)
    assert quiet.steps == []
    assert again.outcomes == run.outcomes
    assert (run.folder / "model" / "model.safetensors").read_bytes() == before


def test_a_changed_recipe_is_not_resumed_and_the_keys_are_named(done):
    run, _ = done
    changed = tiny_recipe(
        run.folder.parents[1] / "data",
        objective={"name": "napo", "beta": 2.0},
        preference={"lr": 5e-4},
        seed=3,
    )
    with pytest.raises(UserError, match=r"objective\.beta.* differ") as stopped:
        train_recipe(changed, run.folder, resume=True, progress=Quiet())
    assert {"preference.lr", "objective.beta", "seed"} <= set(stopped.value.what.replace(",", "").split())
    assert stopped.value.where == str(run.folder / "recipe.yaml")


def test_defaults_left_out_and_written_out_are_the_same_recipe(done):
    run, _ = done
    keys = {**tiny_keys(run.folder.parents[1] / "data"), "objective": {"name": "napo"}}
    plain = Recipe.model_validate(keys)  # as someone writes it in Python
    assert plain != run.recipe
    train_recipe(plain, run.folder, resume=True, progress=Quiet())


def test_relative_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    keys = tiny_keys(tmp_path / "data")
    keys["data"] = {"interactions": "data/log.csv", "items": "data/items.csv"}
    keys["sft"]["epochs"] = 0.25
    monkeypatch.chdir(tmp_path)
    run = train_recipe(Recipe.model_validate(keys), tmp_path / "runs" / "sft", progress=Quiet())
    monkeypatch.chdir(tmp_path / "runs")
    assert load_recipe(run.folder / "recipe.yaml").data.interactions == tmp_path / "data" / "log.csv"
    monkeypatch.chdir(tmp_path)
    train_recipe(Recipe.model_validate(keys), tmp_path / "runs" / "sft", resume=True, progress=Quiet())


def test_a_recipe_without_a_preference_stage_delivers_the_supervised_model(tmp_path):
    run = train_recipe(tiny_recipe(tmp_path / "data"), tmp_path / "runs" / "sft", progress=Quiet())
    assert list(run.outcomes) == ["sft"]
    assert not (run.folder / "preference").exists()


def test_a_recipe_without_a_supervised_stage_starts_from_the_model_as_it_is(tmp_path):
    recipe = tiny_recipe(tmp_path / "data", sft=None, objective={"name": "sdpo"}, preference={"epochs": 0.5})
    quiet = Quiet()
    run = train_recipe(recipe, tmp_path / "runs" / "sdpo", progress=quiet)
    assert list(run.outcomes) == ["preference"]
    assert not any("are SFT targets" in line for line in quiet.said)


def test_dropout_is_on_in_the_supervised_stage_and_off_beside_a_reference(tmp_path, monkeypatch):
    noisy = {}

    def stage(inputs, folder, *_):
        language, batch = inputs.language, inputs.batches[0]
        module = PreferenceModule(language.policy, inputs.objective, language.tree, "catalog").train()
        with torch.no_grad():
            one, other = module.scored(batch).policy, module.scored(batch).policy
        noisy[inputs.name] = not torch.equal(one, other)
        return run_stage(inputs, folder)

    monkeypatch.setattr(run_module, "run_stage", stage)
    sections = {"objective": {"name": "sdpo"}, "sft": {"epochs": 0.25}, "preference": {"epochs": 0.25}}
    train_recipe(tiny_recipe(tmp_path / "data", **sections), tmp_path / "runs" / "a", progress=Quiet())
    assert noisy == {"SFT": True, "S-DPO": False}


@pytest.mark.parametrize("size", [2_000, 10_000, 40_000])
def test_a_disk_that_fills_up_is_one_message_and_the_run_goes_on_when_there_is_space(tmp_path, size):
    """The recipe takes 2.5 kB, the weights 34 kB, the optimizer's moments twice as much, SASRec's state between."""
    sections = {"sft": {"epochs": 0.5}, "preference": {"epochs": 0.5}, "objective": {"name": "napo"}}
    recipe = tiny_recipe(tmp_path / "data", **sections)
    out = tmp_path / "runs" / "napo"
    with largest_file(size), pytest.raises(UserError, match="cannot write"):
        train_recipe(recipe, out, progress=Quiet())
    run = train_recipe(recipe, out, resume=True, progress=Quiet())
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    assert open_folder(run.folder / "model").usage == run.language.usage


def test_what_would_stop_the_second_stage_is_said_before_the_first(tmp_path):
    recipe = tiny_recipe(tmp_path / "data", objective={"name": "sdpo"}, negatives={"name": "uniform", "count": 39})
    with pytest.raises(UserError, match="items left to reject"):
        train_recipe(recipe, tmp_path / "runs" / "a", progress=Quiet())
    assert not (tmp_path / "runs" / "stages").exists()


def test_a_model_is_ranked_at_the_temperature_it_was_trained_at(tmp_path):
    adaptive = {"name": "adaptive", "start": 3.0, "low": 0.5}
    recipe = tiny_recipe(tmp_path / "data", chain=True, sft={"temperature": adaptive, "epochs": 6.0})
    run = train_recipe(recipe, tmp_path / "runs" / "sft", progress=Quiet())
    temperature = run.language.usage.temperature
    assert temperature not in (1.0, 3.0)
    assert run.language.policy.temperature == temperature
    back = open_folder(run.folder / "model")
    assert back.usage.temperature == back.policy.temperature == temperature
    hidden = torch.ones(1, 16)
    torch.testing.assert_close(back.policy.head(hidden, None) * temperature, back.model.lm_head(hidden))


def test_a_model_from_elsewhere_can_be_judged_as_it_is(tmp_path):
    folder = write_gpt2(tmp_path / "gpt2", ["Title number 3, Title number 14"], 300)
    keys = tiny_keys(tmp_path / "data") | {"model": {"name": str(folder)}, "sft": None, "auxiliary": None}
    recipe = Recipe.model_validate({**keys, "preference": None, "prompt": {"max_tokens": 256}})
    assert display_name(recipe) == "zero-shot"
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    assert run.outcomes == {}
    (table,) = evaluate_run(run.folder, protocol="cand20")
    assert table.rows[-1].name == "zero-shot"
    write_recipe(tmp_path / "tiny.yaml", {**keys, "model": {"name": "tiny"}})
    with pytest.raises(UserError, match="knows nothing from elsewhere"):
        load_recipe(tmp_path / "tiny.yaml")


def test_methods_with_the_same_start_and_draws_share_one_reference(tmp_path, monkeypatch):
    made, make = [], reference_module._make
    monkeypatch.setattr(reference_module, "_make", lambda *words: made.append(1) or make(*words))
    sections = {"sft": {"epochs": 0.5}, "preference": {"epochs": 0.5}}
    for name in ("dpo", "sdpo", "napo"):
        objective = {"name": name, "reference": True}
        train_recipe(tiny_recipe(tmp_path, objective=objective, **sections), tmp_path / "runs" / name, progress=Quiet())
    assert made == [1]
    more = tiny_recipe(tmp_path, objective={"name": "sdpo"}, negatives={"name": "uniform", "count": 2}, **sections)
    train_recipe(more, tmp_path / "runs" / "more", progress=Quiet())
    assert made == [1, 1]
    assert len(list((tmp_path / "runs" / "stages").glob("reference-*"))) == 2
