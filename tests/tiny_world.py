"""A small log, small recipes and models for the tests of training: each takes a second or less."""

import csv
import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napo.arrays import IntArray
from napo.data.catalog import Catalog
from napo.data.prepare import Prepared, prepare
from napo.data.split import Split
from napo.models.language import LanguageModel, create
from napo.models.sasrec import SASRec, SASRecSettings
from napo.recipe import Recipe, check_methods
from napo.training.stage import StageInputs
from napo.training.stages import preference_inputs, supervised_inputs

# sections of a recipe that is trained for half an epoch a stage and judged both ways
SHORT = {"sft": {"epochs": 0.5}, "preference": {"epochs": 0.5}, "evaluation": {"protocols": ["cand20", "full"]}}


def write_log(folder: Path, *, chain: bool = False) -> None:
    """30 users of 8 events each over 40 items: 180 events to train on, 30 to validate on, 30 to test on.

    The events are drawn by chance; chain: each user takes items one after the other, which is easily learnt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "rating", "time"])
        for user in range(30):
            drawn = draw.sample(range(40), 8)
            for place, item in enumerate([(3 * user + step) % 40 for step in range(8)] if chain else drawn):
                time = 1_700_000_000 + user * 1000 + place * 60
                rows.writerow([f"u{user:02d}", f"i{item:02d}", draw.choice([3, 4, 5]), time])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item", "title"])
        rows.writerows([f"i{item:02d}", f"Title number {item}"] for item in range(40))


def tiny_keys(folder: Path, *, chain: bool = False) -> dict[str, Any]:
    """A recipe's keys, on the log that is written to `folder`: 4 steps of 8 rows an epoch."""
    write_log(folder, chain=chain)
    return {
        "data": {"interactions": str(folder / "log.csv"), "items": str(folder / "items.csv")},
        "model": {"width": 16, "layers": 1, "heads": 2, "feed_forward": 32, "vocabulary": 300},
        "sft": {"epochs": 2.0, "lr": 1e-2, "warmup_steps": 0},
        "preference": {"epochs": 2.0, "lr": 1e-3, "warmup_steps": 0},
        "auxiliary": {"name": "sasrec", "epochs": 2, "validate_every": 1, "model": {"width": 8, "heads": 1}},
    }


def tiny_recipe(folder: Path, *, chain: bool = False, **sections: Any) -> Recipe:
    """tiny_keys with other keys in their sections; a section with another `name` is taken as it is."""
    keys = tiny_keys(folder, chain=chain)
    for name, section in sections.items():
        merges = isinstance(section, dict) and isinstance(keys.get(name), dict) and "name" not in section
        keys[name] = {**keys[name], **section} if merges else section
    return check_methods(Recipe.model_validate(keys))


@dataclass
class Quiet:
    """Progress that keeps what it is told. at_step: called at each step with the stage's name and the step."""

    said: list[str] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)
    at_step: Callable[[str, int], None] = lambda name, step: None

    def stage(self, name: str) -> Callable[[int, int, dict[str, float]], None]:
        def step(done: int, total: int, figures: dict[str, float]) -> None:
            self.steps.append((name, done))
            self.at_step(name, done)

        return step

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass
class World:
    """A recipe with its data and an untrained model."""

    recipe: Recipe
    prepared: Prepared
    language: LanguageModel

    @classmethod
    def of(cls, folder: Path, **sections: Any) -> "World":
        recipe = tiny_recipe(folder, **sections)
        prepared = prepare(recipe)
        language = create(recipe.model, prepared.log.catalog, recipe.prompt, recipe.normalize, recipe.seed)
        return cls(recipe, prepared, language)

    def supervised(self) -> StageInputs:
        return supervised_inputs(self.recipe, self.prepared, self.language)

    def preference(self) -> StageInputs:
        return preference_inputs(self.recipe, self.prepared, self.language, self.auxiliary)

    def auxiliary(self, folds: int = 1, fold: int = 0) -> SASRec:
        """An untrained one: its scores differ, and that is all that most tests need."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3 + fold)
            return SASRec(len(self.prepared.log.catalog), SASRecSettings(width=8, heads=1)).eval()


def split_of(sequences: Sequence[Sequence[int]], items: int, *, held: int = 1) -> Split:
    """The last `held` events of each user are test, as many before them validation."""
    arrays: tuple[IntArray, ...] = tuple(np.array(sequence, dtype=np.int64) for sequence in sequences)
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    return Split(
        name="last_tenth",
        catalog=Catalog(tuple(f"i{item}" for item in range(items)), tuple(f"Title {item}" for item in range(items))),
        user_keys=tuple(f"u{user}" for user in range(len(arrays))),
        sequences=arrays,
        known=tuple(np.unique(array) for array in arrays),
        valid_from=lengths - 2 * held,
        test_from=lengths - held,
        min_history=1,
    )


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: what a full disk does, for the real writers."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def equal(one: Any, other: Any) -> bool:
    """Whether two batches hold the same, tensor by tensor."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
