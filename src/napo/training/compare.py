"""Several recipes on the same data, from the same start, judged by the same cases: one report.

Path    recipes -> training.run -> [training.compare] -> table, report
Takes   recipes by file, an output folder, how many seeds
Gives   Comparison: tables by protocol, what each run came to
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napo.errors import UserError
from napo.evaluation.claims import accuracy_metrics, can_answer, check_question
from napo.evaluation.comparison import Claim
from napo.evaluation.judge import (
    LIST_LENGTH,
    baseline_results,
    checks_of,
    judge,
    judge_language,
    language_checks,
    lists_of,
    model_checks,
    prompt_of,
    table_of,
)
from napo.evaluation.leaks import Check, worst_of_runs
from napo.evaluation.results import Result
from napo.evaluation.runs import display_name
from napo.evaluation.table import ResultTable
from napo.models.sasrec_scorer import SASRecScorer
from napo.recipe import Recipe, differences
from napo.training.before import BEFORE, judge_before
from napo.training.callbacks import BEST
from napo.training.processes import is_main
from napo.training.run import Progress, Run, train_recipe
from napo.training.weights import load_policy_weights

START, SASREC = "SFT", "SASRec"
MAY_DIFFER = (
    "objective",
    "negatives",
    "preference",
    "rounds",
    "sft",
    "model",
    "normalize",
    "prompt",
    "seed",
    "auxiliary",
)


@dataclass(frozen=True)
class Trained:
    """One recipe under one seed, in short: the models themselves are not kept."""

    name: str
    seed: int
    folder: Path
    recipe: Recipe
    verdicts: tuple[str, ...]
    stages: dict[str, Path]


@dataclass(frozen=True)
class Comparison:
    """tables: by protocol. results: the same, case by case: protocol -> row -> one a seed."""

    tables: dict[str, ResultTable]
    results: dict[str, dict[str, list[Result]]]
    runs: list[Trained] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        runs = [
            {"name": run.name, "seed": run.seed, "folder": str(run.folder), "verdicts": run.verdicts}
            for run in self.runs
        ]
        return {"tables": {name: table.to_json() for name, table in self.tables.items()}, "runs": runs}


def compare_recipes(
    recipes: Mapping[Path, Recipe],
    out: Path,
    *,
    seeds: int = 1,
    base: str | None = None,
    claims: Sequence[Claim] = (),
    tried: Mapping[str, int] | None = None,
    progress: Progress,
) -> Comparison:
    """Train what is not trained yet, judge all, and put them into tables with `base` as the row to compare with.

    base: None is SFT, or the first recipe's row where there is none. claims: each stands in the tables that have its
    rows and its metric. tried: by row, how many settings were tried on validation; of rows not named one.
    Of several ranks the main one judges; the others get the runs, and no tables.
    Raises UserError where the recipes differ in data, split, candidates or evaluation: they would answer two questions;
    and for rows and metrics that no table will have. Both before anything is trained.
    """
    check_alike(recipes)
    names = row_names(recipes)
    _check_question(recipes, list(names.values()), base, claims, tried or {})
    first = next(iter(names.values()))
    base = base or (START if START in names.values() else first)
    searched = dict.fromkeys([SASREC, *names.values()], 1) | dict(tried) if tried else None
    judged, runs = _Judged(), list[Trained]()
    for offset in range(seeds):
        for number, (path, recipe) in enumerate(recipes.items()):
            seeded = recipe.model_copy(update={"seed": recipe.seed + offset})
            folder = out / f"seed-{seeded.seed}" / path.stem
            progress.say(f"{names[path]}, seed {seeded.seed}")
            run = train_recipe(seeded, folder, resume=True, progress=progress, need_auxiliary=number == 0)
            runs.append(_in_short(run, names[path]))
            if is_main():
                judged.add(run, names[path], auxiliary=number == 0)
    return judged.compared(runs, base, claims, searched)


def judged_alone(run: Run) -> Comparison:
    """One finished run among the baselines. The row to compare with is its supervised start, or else popularity; of a
    run that goes on from an earlier one, that one's model.
    """
    name, judged = display_name(run.recipe), _Judged()
    if started := set(run.outcomes) == {"sft", "preference"}:  # whoever reads the row below has to see what it was
        with supervised_start(run):
            judged.add(run, START, auxiliary=True)
    judged.add(run, name, auxiliary=not started)
    base = START if started else "popularity"
    if run.recipe.refresh is not None:
        base = BEFORE
        for protocol, result in judge_before(run).items():
            judged.results[protocol][BEFORE] = [result]
    return judged.compared([_in_short(run, name)], base)


@contextmanager
def supervised_start(run: Run) -> Iterator[None]:
    """Inside, the run's model has the weights that its preference stage began with."""
    load_policy_weights(run.language.model, run.stages["sft"] / BEST)
    try:
        yield
    finally:
        load_policy_weights(run.language.model, run.stages["preference"] / BEST)


@dataclass
class _Judged:
    """What was judged so far. results: protocol -> row -> one a seed. checks: by kind of lists."""

    results: dict[str, dict[str, list[Result]]] = field(default_factory=dict)
    checks: dict[str, list[Check]] = field(default_factory=dict)

    def add(self, run: Run, name: str, *, auxiliary: bool) -> None:
        """Judge and check the run's model; with `auxiliary` its SASRec too, if it has one."""
        sasrec = SASRecScorer(run.auxiliary) if auxiliary and run.auxiliary is not None else None
        self._judge(run, name, sasrec)
        self._check(run, name, sasrec)

    def compared(
        self,
        runs: list[Trained],
        base: str,
        claims: Sequence[Claim] = (),
        searched: Mapping[str, int] | None = None,
    ) -> Comparison:
        """The tables; of a check that was asked under several seeds the worst."""
        tables = {
            protocol: table_of(
                protocol,
                rows,
                worst_of_runs(self.checks[lists_of(protocol)]),
                base=base if base in rows else None,
                claims=[claim for claim in claims if can_answer(claim, rows, next(iter(rows.values()))[0].metrics)],
                searched=searched,
            )
            for protocol, rows in self.results.items()
        }
        return Comparison(tables, self.results, runs)

    def _judge(self, run: Run, name: str, sasrec: SASRecScorer | None) -> None:
        """What needs no training is judged once."""
        cases, ks = run.recipe.evaluation.full_cases, run.recipe.evaluation.ks
        for protocol in run.recipe.evaluation.protocols:
            rows, prepared = self.results.setdefault(protocol, {}), run.prepared.under(protocol)
            if not rows:
                rows |= {row: [result] for row, result in baseline_results(prepared, protocol, cases, ks).items()}
            if sasrec is not None and protocol != "gen20":
                rows.setdefault(SASREC, []).append(judge(sasrec, prepared, protocol, ks=ks, full_cases=cases))
            rows.setdefault(name, []).append(judge_language(run.language, prepared, protocol, run.recipe))

    def _check(self, run: Run, name: str, sasrec: SASRecScorer | None) -> None:
        """The leak checks of each kind of lists, once; those of the models on them, under every seed."""
        for lists, protocol in {lists_of(protocol): protocol for protocol in run.recipe.evaluation.protocols}.items():
            prepared = run.prepared.under(protocol)
            if lists not in self.checks:
                self.checks[lists] = checks_of(prepared, prompt_of(run.recipe))
            if sasrec is not None:
                self.checks[lists] += model_checks(sasrec, prepared, SASREC)
            self.checks[lists] += language_checks(run.language, prepared, name)


def _in_short(run: Run, name: str) -> Trained:
    verdicts = tuple(outcome.verdict for outcome in run.outcomes.values())
    return Trained(name, run.recipe.seed, run.folder, run.recipe, verdicts, run.stages)


def row_names(recipes: Mapping[Path, Recipe]) -> dict[Path, str]:
    """What tables call each: its method, or its file's name where two have one method."""
    methods = [display_name(recipe) for recipe in recipes.values()]
    return {
        path: method if methods.count(method) == 1 else path.stem
        for (path, _), method in zip(recipes.items(), methods, strict=True)
    }


def _check_question(
    recipes: Mapping[Path, Recipe],
    names: Sequence[str],
    base: str | None,
    claims: Sequence[Claim],
    tried: Mapping[str, int],
) -> None:
    recipe = next(iter(recipes.values()))  # in what decides on rows and metrics all are alike
    trained = [*([SASREC] if recipe.auxiliary is not None else []), *names]
    rows: dict[str, list[str]] = {
        name: ["chance", *(["blind slot rule"] if name != "full" else []), "popularity", *trained]
        for name in recipe.evaluation.protocols
    }
    if "gen20" in rows:  # nothing else can write
        rows["gen20"] = [*names]
    metrics = {name: accuracy_metrics(name, recipe.evaluation.ks, LIST_LENGTH) for name in rows}
    check_question(base, claims, tried, rows=rows, metrics=metrics, trained=trained)


def check_alike(recipes: Mapping[Path, Recipe]) -> None:
    """Raises UserError where the recipes would be judged on different tasks, or be called by one name."""
    (first_path, first), *others = recipes.items()
    stems = [path.stem for path in recipes]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UserError(
            f"two recipes have the same name: {', '.join(twice)}",
            remedy="give their files different names: each has a folder of that name",
        )
    for path, recipe in others:
        changed = [key for key in differences(first, recipe) if key.split(".")[0] not in MAY_DIFFER]
        if changed:
            raise UserError(
                f"{path} and {first_path} differ in {', '.join(changed)}: they would be judged on different tasks",
                where=str(path),
                remedy="give both the same base with `extends:`",
            )
