"""A search on the tiny log, and a training that takes no time: its figures follow from the recipe's settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from napo.errors import UserError
from napo.experiments import search as search_module
from napo.recipe import Recipe
from tests.commands import write_recipe
from tests.tiny_world import tiny_keys

SPACE = {"preference.lr": {"log": [1e-4, 1e-2]}}
OWN = {"napo": {"objective.margin.sensitivity": [0, 0.1, 0.3], "objective.beta": {"log": [0.3, 3.0]}}}


def write_search(folder: Path, **keys: Any) -> Path:
    """search.yaml, sdpo.yaml and napo.yaml with their log; a key that is None is left out."""
    base = tiny_keys(folder)
    base["data"] = {"interactions": "log.csv", "items": "items.csv"}
    for name in ("sdpo", "napo"):
        write_recipe(folder / f"{name}.yaml", base, objective={"name": name})
    said = {"recipes": ["sdpo.yaml", "napo.yaml"], "trials": 5, "space": SPACE, "own": OWN} | keys
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in said.items() if value is not None}, sort_keys=False))
    return path


def nearness(recipe: Recipe, out: Path) -> float:
    """The figure of the training that takes no time: best at a rate of 1e-3."""
    return 1 / (1 + abs(recipe.preference.lr - 1e-3) * 1000)


@dataclass
class Trained:
    """Stands in for train_recipe. figure: the last look of a recipe; the looks before it are halves of it."""

    figure: Callable[[Recipe, Path], float] = nearness
    looks: int = 3
    before: Callable[[Path], None] = lambda out: None  # called as a trial begins
    at_look: Callable[[Path, int], None] = lambda out, look: None  # called after a look
    recipes: dict[str, Recipe] = field(default_factory=dict)
    watched: dict[str, int] = field(default_factory=dict)

    def __call__(self, recipe: Recipe, out: Path, *, resume: bool, progress: Any, shared: Path, watch: Any) -> Any:
        assert resume
        assert shared == out.parents[1] / "stages"
        self.recipes[f"{out.parent.name}/{out.name}"] = recipe
        self.before(out)
        stage = out / "preference"
        for folder in (stage / "best", stage / "checkpoint-4", out / "model"):
            folder.mkdir(parents=True, exist_ok=True)
        shown = [
            {"step": 4 * number, "ndcg": self.figure(recipe, out) * (number + 1) / self.looks}
            for number in range(self.looks)
        ]
        lines = [f'{{"step": {look["step"]}, "eval_ndcg": {look["ndcg"]!r}}}\n' for look in shown]
        (stage / "metrics.jsonl").write_text("".join(lines))
        for number in range(self.looks):
            self.watched[f"{out.parent.name}/{out.name}"] = number
            watch(shown[: number + 1], number + 1 == self.looks)
            self.at_look(out, number)
        return SimpleNamespace(outcomes={"preference": SimpleNamespace(best=shown[-1])}, stages={"preference": stage})


@pytest.fixture
def trained(monkeypatch) -> Trained:
    stand_in = Trained()
    monkeypatch.setattr(search_module, "train_recipe", stand_in)
    monkeypatch.setattr(search_module, "_check_beginning", lambda search, out, progress: None)
    return stand_in


class KilledError(Exception):
    """What breaks a search off; no code of ours knows it."""


def refuses(what: str) -> UserError:
    return UserError(what, remedy="something else")
