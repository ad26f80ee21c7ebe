"""What a recipe will take on this machine, told from a few of its own steps before it starts.

Path    recipe, prepared data -> [training.foretell] -> `napo train --data`
Takes   Recipe, Prepared
Gives   Forecast: seconds of each stage, memory

Steps are run on a model that is thrown away: the first of the plan, one from its middle and its last. The auxiliary
recommender is timed over one of its passes. What other programs do meanwhile is in the figures.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from napo.data.prepare import Prepared
from napo.evaluation.protocols import evaluate_candidates
from napo.models.language import LanguageModel, create, recipe_dropout
from napo.recipe_keys import Method, Negatives, Recipe
from napo.training.auxiliary import AuxiliarySettings, train_sasrec
from napo.training.batches import moved
from napo.training.module import PreferenceModule
from napo.training.processes import device
from napo.training.stage import StageInputs
from napo.training.stages import objective_of, overlap, preference_inputs, supervised_inputs
from napo.training.trainer import memory_gb

_LOOKED_AT = 50  # validation cases that are timed
_SAME_ROWS = Method(name="simpo")  # rows and titles of any objective, with no need of an auxiliary model


@dataclass(frozen=True)
class Forecast:
    """seconds: by stage, with validation, without the judging at the end. memory_gb: of the process, or of the GPU."""

    seconds: dict[str, float]
    memory_gb: float
    besides: tuple[str, ...] = ()  # what takes time too, and was not tried

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def in_words(self) -> str:
        """`about 12 minutes (SASRec 2, SFT 8, preference 2) and 1.3 GB on 2 cores`."""
        stages = ", ".join(f"{name} {_minutes(seconds)}" for name, seconds in self.seconds.items())
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} cores"
        besides = f", and what {' and '.join(self.besides)} take" if self.besides else ""
        return f"about {_minutes(self.total)} minutes ({stages}){besides} and {self.memory_gb:.1f} GB on {where}"


def foretell(recipe: Recipe, prepared: Prepared) -> Forecast:
    """Run a few steps of each stage, and reckon up."""
    seconds = dict[str, float]()
    if recipe.objective is not None and recipe.auxiliary is not None:
        seconds["SASRec"] = _auxiliary(recipe, prepared)
    language = create(recipe.model, prepared.log.catalog, recipe.prompt, recipe.normalize, recipe.seed)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if recipe.sft is not None:
        with recipe_dropout(language, recipe.model):
            seconds["SFT"] = _stage(supervised_inputs(recipe, prepared, language), language, forwards=0)
    if recipe.objective is not None and recipe.preference is not None:
        # draws take little of a step, whatever they rest on
        drawn = Negatives(name="uniform", count=recipe.negatives.count)
        same = recipe.model_copy(update={"objective": _SAME_ROWS, "negatives": drawn, "rounds": None})
        inputs = preference_inputs(same, prepared, language, _no_auxiliary)
        objective = objective_of(recipe.objective)
        # where there is a reference, every row is run forward once more
        seconds["preference"] = _stage(inputs, language, forwards=int(objective.needs_reference))
        if recipe.rounds is not None:
            seconds["preference"] = _rounds(recipe, prepared, seconds)
    return Forecast(seconds, memory_gb(), _besides(recipe))


def _rounds(recipe: Recipe, prepared: Prepared, seconds: dict[str, float]) -> float:
    """Seconds of all rounds' passes, out of those of stages over all that is liked."""
    assert recipe.rounds is not None and recipe.preference is not None
    liked = overlap(recipe, prepared)["preference_positives"]
    share = recipe.rounds.count * min(1.0, (recipe.rounds.examples or liked) / max(1, liked))
    passes = share * seconds["preference"]
    if recipe.rounds.sft is not None and recipe.sft is not None:
        epochs = recipe.rounds.sft.epochs or recipe.preference.epochs
        passes += share * seconds["SFT"] * epochs / recipe.sft.epochs
    return passes


def _besides(recipe: Recipe) -> tuple[str, ...]:
    if recipe.objective is None or recipe.preference is None:
        return ()
    folds = getattr(objective_of(recipe.objective), "folds", 1)
    return (
        *(["the model's own proposals"] if recipe.negatives.name == "generated" else []),
        *([f"the oracle's {folds} folds"] if folds > 1 else []),
    )


def _stage(inputs: StageInputs, language: LanguageModel, *, forwards: int) -> float:
    """Seconds of a stage: its steps, its extra runs forward, and its looks at validation."""
    module = PreferenceModule(
        language.policy, inputs.objective, language.tree, language.usage.normalize, inputs.temperature
    ).to(device())
    optimizer = torch.optim.AdamW([weight for weight in module.parameters() if weight.requires_grad], lr=1e-6)
    plan, epoch = len(inputs.batches), inputs.batches.plan.steps
    steps = sorted({0, plan // 2, plan - 1})

    def step(index: int) -> None:
        module.train()
        module(moved(inputs.batches[index], device())).losses.mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(steps[0])  # the first is slower, whatever it holds
    each = sum(_timed(partial(step, index)) for index in steps) / len(steps)
    looks = 1 + round(plan / max(1, inputs.settings.evaluate_every * epoch))
    first = np.arange(min(_LOOKED_AT, len(inputs.cases)))
    cases, lists = inputs.cases.take(first), inputs.lists.take(first)
    module.eval()
    look = _timed(lambda: evaluate_candidates(language.ranker(), cases, lists)) * len(inputs.cases) / len(cases)
    return plan * each * (1 + forwards / 3) + looks * look


def _auxiliary(recipe: Recipe, prepared: Prepared) -> float:
    assert recipe.auxiliary is not None
    settings = AuxiliarySettings(**recipe.auxiliary.settings)
    one = settings.model_copy(update={"epochs": 1, "validate_every": 1})
    one_pass = _timed(
        lambda: train_sasrec(
            prepared.split, one, recipe.seed, cases=prepared.valid, lists=prepared.valid_lists, device=device()
        )
    )
    return one_pass * settings.epochs


def _no_auxiliary(folds: int = 1, fold: int = 0) -> Any:
    raise AssertionError("these rows need no auxiliary model")


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _minutes(seconds: float) -> str:
    return "<1" if seconds < 60 else f"{seconds / 60:.0f}"
