"""Searches that really train: what trials share, what they never see, and what is left of one that was killed."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from napo.experiments import search as search_module
from napo.experiments.search import run_search
from napo.recipe import load_recipe
from napo.training import run as run_module
from napo.training import stage as stage_module
from tests.experiments.search_desk import write_search
from tests.processes import SOURCE, python
from tests.tiny_world import Quiet

SHORT = ["sft.epochs=0.25", "preference.epochs=0.5", "preference.evaluate_every=0.25"]
# a rate at which every loss soon is no number, and one value of beta
OWN = {"sdpo": {"preference.lr": [1e30]}, "napo": {"objective.beta": [0.5]}}


class Unseen:
    """In the place of the test cases."""

    def __len__(self) -> int:
        raise AssertionError("the test part was counted")

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the test part was asked for its {name}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two trials of two methods, on data whose test part can't be looked at."""
    folder = tmp_path_factory.mktemp("search")
    parts = []

    def without_test(recipe, out=None):
        prepared = prepare(recipe, out)
        return replace(prepared, test=Unseen(), test_lists=SimpleNamespace(digest=prepared.test_lists.digest))

    def judged(ranker, cases, lists):
        parts.append(cases.part)
        return evaluate(ranker, cases, lists)

    prepare, evaluate = run_module.prepare, stage_module.evaluate_candidates
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "prepare", without_test)
        patch.setattr(search_module, "prepare", without_test)
        patch.setattr(stage_module, "evaluate_candidates", judged)
        file = write_search(folder, trials=2, space=None, own=OWN, set=SHORT)
        result = run_search(file, folder / "out", progress=Quiet())
    return SimpleNamespace(result=result, out=folder / "out", parts=parts)


def test_the_test_part_is_never_looked_at(trained):
    # the start of SFT and its end, and the start and looks of four preference stages, of which one broke
    assert len(trained.parts) >= 2 + 3 * 3
    assert set(trained.parts) == {"valid"}


def test_the_start_and_the_auxiliary_model_are_trained_once_for_all(trained):
    names = sorted(path.name.split("-")[0] for path in (trained.out / "stages").iterdir())
    assert names == ["auxiliary", "reference", "sft"]  # one reference too: all have the same draws


def test_a_trials_value_is_its_best_look_and_all_looks_are_kept(trained):
    for method, number in (("sdpo", 0), ("napo", 0), ("napo", 1)):
        (found,) = (one for one in trained.result.methods if one.name == method)
        tried = found.trials[number]
        outcome = json.loads((trained.out / method / f"trial-{number}" / "preference" / "outcome.json").read_text())
        assert tried.value == outcome["best"]["ndcg"] == max(tried.looks)
        assert (tried.looks[0], tried.looks[-1]) == (outcome["start"]["ndcg"], outcome["last"]["ndcg"])
        assert len(tried.looks) == 3


def test_a_loss_that_is_no_number_fails_the_trial(trained):
    sdpo, napo = trained.result.methods
    assert [tried.state for tried in sdpo.trials] == ["done", "failed"]
    assert "not finite" in sdpo.trials[1].reason or " is nan at step " in sdpo.trials[1].reason
    assert [tried.state for tried in napo.trials] == ["done", "done"]


def test_the_trials_recipe_is_kept_and_the_best_can_be_trained(trained):
    recipe = load_recipe(trained.out / "napo" / "trial-1" / "recipe.yaml", methods=True)
    assert recipe.objective.settings["beta"] == 0.5
    assert load_recipe(trained.out / "sdpo.best.yaml", methods=True) == load_recipe(
        trained.out / "sdpo" / "trial-0" / "recipe.yaml", methods=True
    )


@pytest.mark.slow
def test_a_killed_search_ends_as_one_that_was_not_whatever_the_jobs(tmp_path):
    own = {"sft": {"sft.lr": {"log": [1e-3, 1e-1]}}, "sdpo": {"preference.lr": {"log": [1e-4, 1e-1]}}}
    file = write_search(tmp_path, recipes=["sft.yaml", "sdpo.yaml"], space=None, own=own, trials=6)
    keys = yaml.safe_load((tmp_path / "sdpo.yaml").read_text())
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump({key: keys[key] for key in keys if key != "objective"}))
    command = ["-m", "napo", "search", file.name, "--out"]
    whole = python(*command, "whole", "--jobs", "2", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert whole.returncode == 0, whole.stderr

    for begun in ("sft/trial-1", "sdpo/trial-3/preference/metrics.jsonl"):
        search = subprocess.Popen(
            [sys.executable, *command, "broken"],
            cwd=tmp_path,
            env={"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "PATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (tmp_path / "broken" / begun).exists():
            assert search.poll() is None
            time.sleep(0.02)
        search.send_signal(signal.SIGKILL)
        search.wait()
    again = python(*command, "broken", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr

    found, expected = (json.loads((tmp_path / out / "search.json").read_text()) for out in ("broken", "whole"))
    assert found == expected
    assert [len(method["trials"]) for method in found["methods"].values()] == [6, 6]
    assert again.stdout == whole.stdout
    assert "as written" in again.stdout
    for name in ("sft", "sdpo"):
        best = load_recipe(tmp_path / "broken" / f"{name}.best.yaml", methods=True)
        assert (
            best.resolved_yaml() == load_recipe(tmp_path / "whole" / f"{name}.best.yaml", methods=True).resolved_yaml()
        )
