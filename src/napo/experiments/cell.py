"""One cell of a sweep, in a process of its own: train, judge, and leave the results on disk.

Path    experiments.plan -> [experiments.cell] -> experiments.store
Takes   OUT/planned/KEY, the cell and its recipe; what an earlier, broken attempt has left
Gives   OUT/cells/KEY: the run, results/PROTOCOL.parquet, checks.json, costs.json, and done.json, which is written last

A cell that is killed goes on where it was: stages from their checkpoints, judged protocols are not judged again.
"""

import json
import os
import resource
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from napo.data.prepare import Prepared, prepare
from napo.errors import UserError
from napo.evaluation.judge import (
    baseline_scorers,
    checks_of,
    judge,
    judge_language,
    language_checks,
    lists_of,
    model_checks,
    prompt_of,
)
from napo.evaluation.leaks import Check
from napo.evaluation.protocols import Scorer
from napo.evaluation.results import Result
from napo.evaluation.runs import RECIPE
from napo.evaluation.saved import save_result
from napo.files import write_aside
from napo.models.sasrec_scorer import SASRecScorer
from napo.recipe import Recipe, load_recipe
from napo.training.run import Progress, Workbench, train_recipe

PLANNED, CELLS, CELL = "planned", "cells", "cell.json"
RESULTS, CHECKS, COSTS, DONE = "results", "checks.json", "costs.json", "done.json"


class Told:
    """Progress as messages to the process that started this one; at most two a second of a stage."""

    def __init__(self, to: Connection) -> None:
        self._to = to

    def stage(self, name: str) -> Callable[[int, int, dict[str, float]], None]:
        said = [0.0]

        def step(done: int, total: int, figures: dict[str, float]) -> None:
            if done >= total or time.monotonic() - said[0] > 0.5:
                said[0] = time.monotonic()
                self._to.send((name, done, total))

        return step

    def say(self, text: str) -> None:
        self._to.send(text)

    def trained(self) -> None:
        """What others of the same start wait for is there; judging goes on."""
        self._to.send(None)


def cell_process(out: Path, key: str, log: Path, to: Connection) -> None:
    """What the process of a cell does. Its prints go to `log`; a user's mistake is exit code 2, as everywhere."""
    with log.open("w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    try:
        told = Told(to)
        run_cell(out, key, told, trained=told.trained)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def run_cell(out: Path, key: str, progress: Progress, trained: Callable[[], None]) -> None:
    """Bring one cell to its end. Raises UserError for what the recipe or the data do not allow.

    trained: called once nothing is left but to judge.
    """
    folder, planned = out / CELLS / key, out / PLANNED / key
    if (folder / DONE).is_file():
        return
    cell = json.loads((planned / CELL).read_text(encoding="utf-8"))
    recipe = load_recipe(planned / RECIPE, methods=True)
    worker = {"model": _Model, "SASRec": _SASRec}.get(cell["kind"], _Scored)(cell, recipe, folder, progress)
    began = time.monotonic()
    said = worker.make()
    trained()
    costs = {"seconds": round(time.monotonic() - began, 1), "peak_gb": _peak_gb(), **worker.costs}
    for protocol in recipe.evaluation.protocols:
        path = folder / RESULTS / f"{protocol}.parquet"
        if worker.judges(protocol) and not path.is_file():
            progress.stage(f"judging by {protocol}")(0, 1, {})
            save_result(worker.result(protocol), path)
    _write(folder / CHECKS, {name: [asdict(check) for check in found] for name, found in worker.checks().items()})
    _write(folder / COSTS, costs)
    for checkpoint in folder.glob("*/checkpoint-*"):  # of stages that have ended: nothing goes on from them
        shutil.rmtree(checkpoint)
    _write(folder / DONE, {**cell, "verdicts": said})


class _Worker(ABC):
    """What all kinds of cells have in common."""

    def __init__(self, cell: dict[str, Any], recipe: Recipe, folder: Path, progress: Progress) -> None:
        self.cell, self.recipe, self.folder, self.progress = cell, recipe, folder, progress
        self.costs: dict[str, Any] = {}
        self.prepared: Prepared

    def judges(self, protocol: str) -> bool:
        """Whether this kind of row exists under a protocol: nothing but a language model writes."""
        return protocol != "gen20"

    def checks(self) -> dict[str, list[Check]]:
        """Leak checks by kind of lists: those of the lists themselves come with the rows that need no training."""
        return {}

    def _kinds_of_lists(self) -> Iterator[tuple[str, Prepared]]:
        for lists, protocol in {lists_of(one): one for one in self.recipe.evaluation.protocols}.items():
            yield lists, self.prepared.under(protocol)

    @abstractmethod
    def make(self) -> list[str]:
        """Train or load; what is to be said of it."""

    @abstractmethod
    def result(self, protocol: str) -> Result:
        """The row under a protocol that it is judged by."""


class _Model(_Worker):
    def make(self) -> list[str]:
        run = train_recipe(self.recipe, self.folder, resume=True, progress=self.progress)
        self.prepared, self.language = run.prepared, run.language
        for name, outcome in run.outcomes.items():
            folder = str(run.stages[name].relative_to(run.folder.parent))
            self.costs.setdefault("stages", {})[name] = {
                "seconds": outcome.seconds,
                "steps": outcome.steps,
                "folder": folder,
            }
        return [outcome.verdict for outcome in run.outcomes.values()]

    def judges(self, protocol: str) -> bool:
        return True

    def result(self, protocol: str) -> Result:
        return judge_language(self.language, self.prepared.under(protocol), protocol, self.recipe)

    def checks(self) -> dict[str, list[Check]]:
        name = self.cell["row"]
        return {lists: language_checks(self.language, under, name) for lists, under in self._kinds_of_lists()}


class _Scored(_Worker):
    """Rows that read ids alone: one of the baselines that need no training."""

    def make(self) -> list[str]:
        self.prepared = prepare(self.recipe)
        return []

    def judges(self, protocol: str) -> bool:
        return super().judges(protocol) and (protocol != "full" or self.cell["kind"] != "blind slot rule")

    def result(self, protocol: str) -> Result:
        section, under = self.recipe.evaluation, self.prepared.under(protocol)
        return judge(self.scorer_for(protocol), under, protocol, ks=section.ks, full_cases=section.full_cases)

    def scorer_for(self, protocol: str) -> Scorer:
        return baseline_scorers(self.prepared.under(protocol), protocol)[self.cell["kind"]]

    def checks(self) -> dict[str, list[Check]]:
        if self.cell["kind"] != "popularity":  # once is enough
            return {}
        return {lists: checks_of(under, prompt_of(self.recipe)) for lists, under in self._kinds_of_lists()}


class _SASRec(_Scored):
    def make(self) -> list[str]:
        said = super().make()
        bench = Workbench(self.recipe, self.prepared, self.folder.parent / "stages", self.progress)
        self.scorer = SASRecScorer(bench.auxiliary())
        return said

    def scorer_for(self, protocol: str) -> Scorer:
        return self.scorer

    def checks(self) -> dict[str, list[Check]]:
        return {lists: model_checks(self.scorer, under, "SASRec") for lists, under in self._kinds_of_lists()}


def _peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3)


def _write(path: Path, said: Any) -> None:
    with write_aside(path) as aside:
        aside.write_text(json.dumps(said, indent=1, default=str), encoding="utf-8")
