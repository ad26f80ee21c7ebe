"""An objective that is one file of the user's: the guide's own example, from the recipe to the judged run."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from napo.errors import UserError
from napo.evaluation.runs import evaluate_run
from napo.objectives import sdpo
from napo.recipe import load_recipe
from napo.training.compare import compare_recipes
from napo.training.run import train_recipe
from tests.tiny_world import Quiet, tiny_keys

GUIDE = Path(__file__).parents[2] / "docs" / "own-objective.md"


def example() -> str:
    """The file that the guide shows."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return code


def write(folder: Path, name: str, objective: dict[str, object], code: str | None = None) -> Path:
    """A recipe of the tiny world, and the objective's file beside it."""
    keys = tiny_keys(folder / "data") | {"objective": objective}
    keys["sft"]["epochs"] = keys["preference"]["epochs"] = 0.5
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(keys))
    if code is not None:
        (folder / Path(str(objective["name"])).name).write_text(code)
    return path


def train(recipe: Path, out: Path, **options: bool):
    return train_recipe(load_recipe(recipe, methods=True), out, progress=Quiet(), **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of the guide's example, and the recipe's file."""
    folder = tmp_path_factory.mktemp("own")
    path = write(folder, "mine", {"name": "./hinge.py", "margin": 2.0}, example())
    return train(path, folder / "runs" / "mine"), path


def test_the_guides_example_is_short():
    assert len([line for line in example().splitlines() if line.strip()]) <= 20


def test_the_guides_example_trains_and_is_called_by_its_files_name(done):
    run, _ = done
    assert run.recipe.objective.settings == {"margin": 2.0}
    lines = [json.loads(line) for line in (run.stages["preference"] / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert losses
    assert all("reward_margin" in line for line in losses)
    # margins are small after half an epoch: the hinge is near its margin
    assert losses[0]["loss"] == pytest.approx(2.0, abs=1.0)
    assert run.outcomes["preference"].stage == "hinge"


def test_the_run_keeps_the_file_and_is_judged_after_the_users_own_is_gone(done, tmp_path):
    run, path = done
    kept = run.folder / "hinge.py"
    assert kept.read_text() == example()
    assert yaml.safe_load((run.folder / "recipe.yaml").read_text())["objective"]["name"] == "hinge.py"
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, moved)
    (path.parent / "hinge.py").unlink()
    try:
        (table,) = evaluate_run(moved)
    finally:
        (path.parent / "hinge.py").write_text(example())
    assert "hinge" in {row.name for row in table.rows}
    assert load_recipe(moved / "recipe.yaml", methods=True).objective.file == moved / "hinge.py"


def test_what_ran_can_be_told_by_its_digest(done):
    run, _ = done
    said = json.loads((run.folder / "run.json").read_text())["objective_file"]
    assert said == {"name": "hinge.py", "sha256": hashlib.sha256(example().encode()).hexdigest()}


def test_a_run_goes_on_with_the_same_file_wherever_its_recipe_lies(done):
    run, path = done
    for recipe in (path, run.folder / "recipe.yaml"):
        again = train(recipe, run.folder, resume=True)
        assert again.outcomes == run.outcomes


def test_a_run_does_not_go_on_with_another_content_of_the_file(done):
    run, path = done
    (path.parent / "hinge.py").write_text(example().replace("clamp(min=0)", "exp()"))
    try:
        with pytest.raises(UserError, match="begun with another hinge") as caught:
            train(path, run.folder, resume=True)
    finally:
        (path.parent / "hinge.py").write_text(example())
    assert caught.value.where == str(run.folder / "hinge.py")


def test_mistakes_are_told_with_the_recipes_line_or_the_files(tmp_path):
    path = write(tmp_path, "mine", {"name": "./hinge.py", "marjin": 2.0}, example())
    (line,) = (number for number, text in enumerate(path.read_text().splitlines(), 1) if "marjin" in text)
    with pytest.raises(UserError, match="unknown key") as caught:
        load_recipe(path, methods=True)
    assert caught.value.where == f"{path}, line {line}"
    (tmp_path / "hinge.py").write_text(example() + "\nreturn\n")
    with pytest.raises(UserError, match="no valid Python") as caught:
        load_recipe(write(tmp_path, "mine", {"name": "./hinge.py"}), methods=True)
    assert caught.value.where == f"{tmp_path / 'hinge.py'}, line {len(example().splitlines()) + 2}"


def test_a_file_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = write(tmp_path, "mine", {"name": "hinge.py"}, example())
    path.write_text(path.read_text().replace("hinge.py", "hinje.py"))
    with pytest.raises(UserError, match="no file") as caught:
        load_recipe(path)
    assert caught.value.remedy.startswith("hinge.py")


def test_an_own_file_and_ours_are_compared_by_one_call(tmp_path):
    paths = [write(tmp_path, "mine", {"name": "./hinge.py"}, example()), write(tmp_path, "theirs", {"name": "sdpo"})]
    recipes = {path: load_recipe(path, methods=True) for path in paths}
    comparison = compare_recipes(recipes, tmp_path / "runs", base="S-DPO", progress=Quiet())
    assert {"hinge", "S-DPO"} <= set(comparison.results["cand20"])


def test_a_file_that_is_our_own_module_gives_its_very_numbers(tmp_path):
    code = Path(sdpo.__file__).read_text()
    ours = train(write(tmp_path, "ours", {"name": "sdpo"}), tmp_path / "runs" / "ours")
    own = train(write(tmp_path, "own", {"name": "./again.py"}, code), tmp_path / "runs" / "own")
    numbers = [
        [
            {name: value for name, value in json.loads(line).items() if name not in ("seconds", "tokens_per_second")}
            for line in (run.stages["preference"] / "metrics.jsonl").read_text().splitlines()
        ]
        for run in (ours, own)
    ]
    for one, other in zip(*numbers, strict=True):
        one.pop("memory_gb", None)
        other.pop("memory_gb", None)
        assert one == other


def test_a_mistake_that_shows_before_training_leaves_nothing(tmp_path):
    path = write(tmp_path, "mine", {"name": "./hinge.py"}, example())
    recipe = load_recipe(path, ["prompt.max_tokens=16"], methods=True)
    (tmp_path / "data" / "items.csv").write_text("item,title\ni00,Title\n")
    with pytest.raises(UserError):
        train_recipe(recipe, tmp_path / "runs" / "mine", progress=Quiet())
    assert not (tmp_path / "runs" / "mine").exists()
