"""Folders of runs and checkpoints that are damaged, foreign, or not what was meant, through the command itself.

As in the other tables: exit code 2, what and where and the way out, nothing half-written.
"""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from napo.models.tiny import make_tokenizer
from napo.training.trainer import whole_checkpoints
from tests.commands import assert_said, brought, files_in, napo_in, nothing_changes_in, power_cut_after, write_desk


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A desk with a finished run in `run`, and one in `begun` that was cut off after its seventh step."""
    desk = tmp_path_factory.mktemp("runs")
    write_desk(desk)
    (desk / "begun.yaml").write_text("extends: sft.yaml\nsft: {epochs: 2.0, save_every: 2}\n")
    napo = napo_in(desk)
    ran = napo("train", "sft.yaml", "--out", "done/run")
    assert ran.code == 0, ran.err

    with power_cut_after(7):
        napo("train", "begun.yaml", "--out", "cut/begun")
    return desk


@pytest.fixture
def copied(runs, tmp_path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "desk"))


def model(desk: Path) -> Path:
    return desk / "done" / "run" / "model"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def other_tokenizer(desk: Path) -> None:
    make_tokenizer(["Alien"], [], 300).save_pretrained(model(desk))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": 1}))


def fewer_items(desk: Path) -> None:
    pl.DataFrame({"events": [1, 2, 3]}).write_parquet(model(desk) / "popularity.parquet")


def changed_log(desk: Path) -> None:
    lines = (desk / "log.csv").read_text().splitlines(keepends=True)
    (desk / "log.csv").write_text("".join(lines[:-9]))


RECOMMEND = ["recommend", "done/run", "--user", "u00"]
EVALUATE = ["evaluate", "done/run"]
Damage = Callable[[Path], object]


def nothing(desk: Path) -> None:
    """It lies there as it should: the mistake is in the words."""


FOLDERS: dict[str, tuple[Damage, list[str], list[str]]] = {
    "a user nobody knows": (nothing, ["recommend", "done/run", "--user", "nobody"], ["no user 'nobody'", "--history"]),
    "a title with a slip": (
        nothing,
        ["recommend", "done/run", "--history", "Titel number 3"],
        ["'Titel number 3'", "item 1", "Title number 3"],
    ),
    "a folder in use": (nothing, ["train", "sft.yaml", "--out", "done/run"], ["holds a run already", "--resume"]),
    "another recipe": (
        nothing,
        ["train", "sft.yaml", "sft.lr=0.5", "seed=3", "--out", "done/run", "--resume"],
        ["sft.lr, seed differ", "recipe.yaml"],
    ),
    "a run that has not ended, judged": (nothing, ["evaluate", "cut/begun"], ["has not ended", "--resume"]),
    "a run that has not ended, asked": (
        nothing,
        ["recommend", "cut/begun", "--user", "u00"],
        ["has not ended", "--resume"],
    ),
    "a log that has gone": (lambda desk: (desk / "log.csv").unlink(), EVALUATE, ["`data.interactions`: no file"]),
    "a log that has changed": (changed_log, EVALUATE, ["candidate lists", "candidates-valid.npz"]),
    "a run's recipe": (lambda desk: (desk / "done/run/recipe.yaml").write_text("seed: ["), EVALUATE, ["no valid YAML"]),
    "candidate lists that are none": (
        lambda desk: (desk / "done/run/candidates-test.npz").write_text("none"),
        EVALUATE,
        ["no candidate lists can be read", "candidates-test.npz"],
    ),
    "weights that were cut short": (
        lambda desk: cut_short(model(desk) / "model.safetensors"),
        RECOMMEND,
        ["the model can't be loaded", "done/run/model"],
    ),
    "weights that are pickled": (
        lambda desk: pickled(model(desk) / "model.safetensors"),
        RECOMMEND,
        ["the model can't be loaded", "safetensors"],
    ),
    "no weights": (lambda desk: (model(desk) / "model.safetensors").unlink(), EVALUATE, ["the model can't be loaded"]),
    "another tokenizer": (other_tokenizer, RECOMMEND, ["the tokenizer (", "is not the one", "put the model's own"]),
    "no tokenizer": (
        lambda desk: (model(desk) / "tokenizer.json").unlink(),
        RECOMMEND,
        ["the tokenizer can't be loaded", "done/run/model"],
    ),
    "napo.json cut short": (lambda desk: cut_short(model(desk) / "napo.json"), RECOMMEND, ["napo.json can't be read"]),
    "napo.json of the future": (
        lambda desk: (model(desk) / "napo.json").write_text('{"format": 9}'),
        RECOMMEND,
        ["format 9", "this napo reads 1"],
    ),
    "no catalog": (lambda desk: (model(desk) / "catalog.parquet").unlink(), RECOMMEND, ["no catalog can be read"]),
    "a catalog that is none": (
        lambda desk: (model(desk) / "catalog.parquet").write_text("none"),
        RECOMMEND,
        ["no catalog can be read", "catalog.parquet"],
    ),
    "no histories": (
        lambda desk: (model(desk) / "histories.parquet").unlink(),
        RECOMMEND,
        ["histories.parquet is missing"],
    ),
    "histories of another catalog": (fewer_items, RECOMMEND, ["a catalog of", "the model's has 40"]),
}


@pytest.mark.parametrize("mistake", FOLDERS)
def test_a_run_folders_mistake(copied, mistake):
    damage, words, said = FOLDERS[mistake]
    brought(copied, "done/run")
    damage(copied)
    with nothing_changes_in(copied):
        ran = napo_in(copied)(*words)
    assert_said(ran, said)


def stage(desk: Path) -> Path:
    (found,) = (desk / "cut" / "stages").glob("sft-*")
    return found


CHECKPOINTS: dict[str, tuple[str, Damage]] = {
    "weights cut short": ("model.safetensors", cut_short),
    "weights pickled": ("model.safetensors", pickled),
    "no weights": ("model.safetensors", Path.unlink),
    "an objective's state that is none": ("objective.safetensors", lambda path: path.write_text("none")),
    "an optimizer cut short": ("optimizer.pt", cut_short),
    "an optimizer of something else": ("optimizer.pt", lambda path: torch.save([1, 2], path)),
    "no rate": ("scheduler.pt", lambda path: path.write_text("none")),
    "chance that is none": ("rng_state.pth", lambda path: path.write_text("none")),
    "a state that is no JSON": ("trainer_state.json", cut_short),
    "figures that are no JSON": ("figures.json", cut_short),
}


@pytest.mark.parametrize("mistake", CHECKPOINTS)
def test_a_checkpoints_mistake(copied, mistake):
    name, damage = CHECKPOINTS[mistake]
    brought(copied, "cut/begun")
    checkpoint = whole_checkpoints(stage(copied))[-1]
    damage(checkpoint / name)
    before = files_in(copied)
    ran = napo_in(copied)("train", "begun.yaml", "--out", "cut/begun", "--resume")
    after = files_in(copied)
    # lines of metrics that lie behind the checkpoint go as soon as it is taken up
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} <= {
        str((stage(copied) / "metrics.jsonl").relative_to(copied))
    }
    assert_said(ran, ["can't be read", checkpoint.name, "delete the folder"])
