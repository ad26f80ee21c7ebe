import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from napo.cli import main


@dataclass
class Trained:
    """What `train_recipe` was called with."""

    recipe: object = None
    out: Path | None = None
    resume: bool | None = None
    error: BaseException | None = None


@pytest.fixture
def trained(monkeypatch):
    calls = Trained()

    def train_recipe(recipe, out, *, resume, progress):
        calls.recipe, calls.out, calls.resume = recipe, out, resume
        progress.say("reading the log")
        if calls.error is not None:
            raise calls.error
        return SimpleNamespace(folder=out, outcomes={"sft": SimpleNamespace(verdict="SFT [went] well")})

    module = ModuleType("napo.training.run")
    module.train_recipe = train_recipe
    monkeypatch.setitem(sys.modules, "napo.training.run", module)
    reports = ModuleType("napo.training.report")
    reports.write_run = lambda run, command: (SimpleNamespace(tables={}), f"report of {command}")
    monkeypatch.setitem(sys.modules, "napo.training.report", reports)
    return calls


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "napo.yaml").write_text("data: {source: ml-100k}\n")
    return "napo.yaml"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_training_gets_the_recipe_with_its_overrides_and_a_folder(trained, recipe, capsys):
    assert run("train", recipe, "sft.epochs=2", "seed=3") == 0
    assert (trained.recipe.sft.epochs, trained.recipe.seed) == (2.0, 3)
    assert (trained.out, trained.resume) == (Path("runs/napo"), False)
    shown = capsys.readouterr()
    command = "napo train napo.yaml sft.epochs=2 seed=3 --out runs/napo"
    assert shown.out == f"SFT [went] well\nThe report is report of {command}\nThe model is in runs/napo\n"
    assert shown.err == "reading the log\n"


def test_options_may_stand_between_overrides(trained, recipe):
    assert run("train", recipe, "sft.epochs=2", "--out", "there", "--resume", "seed=3") == 0
    assert (trained.out, trained.resume, trained.recipe.seed) == (Path("there"), True, 3)


def test_the_methods_settings_are_checked_before_training_begins(trained, recipe, capsys):
    assert run("train", recipe, "objective={name: sdpo, btea: 1}") == 2
    assert "unknown key `objective.btea`" in capsys.readouterr().err
    assert trained.recipe is None


def test_ctrl_c_says_how_to_go_on(trained, recipe, capsys):
    trained.error = KeyboardInterrupt()
    assert run("train", recipe, "objective={name: dpo}", "--out", "there") == 130
    assert "napo train napo.yaml 'objective={name: dpo}' --out there --resume\n" in capsys.readouterr().err


def test_ctrl_c_in_a_resumed_run_asks_for_resuming_once(trained, recipe, capsys):
    trained.error = KeyboardInterrupt()
    run("train", recipe, "--resume")
    assert capsys.readouterr().err.endswith("try   napo train napo.yaml --resume\n")
