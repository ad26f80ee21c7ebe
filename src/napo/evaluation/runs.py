"""Judge a finished run from its folder alone.

Path    run folder -> [evaluation.runs] -> table
Takes   a folder with recipe.yaml, the candidate lists and `model/`
Gives   ResultTable: the run's row among the baselines, and the leak checks
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from napo.data.prepare import Prepared, prepare
from napo.errors import UserError
from napo.evaluation.judge import baseline_results, checks_of, judge, language_checks, lists_of, prompt_of, table_of
from napo.evaluation.leaks import Check
from napo.evaluation.table import ResultTable
from napo.models.language import LanguageModel, open_folder
from napo.recipe import Recipe, load_recipe

RECIPE, MODEL = "recipe.yaml", "model"


def open_run(folder: Path) -> tuple[Recipe, Prepared, LanguageModel]:
    """A finished run's recipe, data and model. Raises UserError where the folder holds none."""
    if not (folder / RECIPE).is_file() or not (folder / MODEL).is_dir():
        missing = "no run" if not (folder / RECIPE).is_file() else "a run that has not ended"
        raise UserError(f"{folder} holds {missing}", remedy="`napo train RECIPE --out FOLDER`, with --resume to end it")
    recipe = load_recipe(folder / RECIPE)
    prepared = prepare(recipe, folder)
    return recipe, prepared, open_folder(folder / MODEL, prepared.log.catalog)


def evaluate_run(
    folder: Path, *, protocol: str | None = None, part: Literal["valid", "test"] = "test"
) -> list[ResultTable]:
    """A table for each protocol: the one asked for, or the recipe's."""
    recipe, prepared, language = open_run(folder)
    checks: dict[str, list[Check]] = {}
    ranker = language.ranker()
    tables = []
    for name in recipe.evaluation.protocols if protocol is None else (protocol,):
        cases, ks = recipe.evaluation.full_cases, recipe.evaluation.ks
        judged, lists = prepared.under(name), lists_of(name)
        if part == "valid":
            judged = replace(judged, test=judged.all_valid, test_lists=judged.all_valid_lists)
        if lists not in checks:
            checks[lists] = checks_of(judged, prompt_of(recipe)) if part == "test" else []
            checks[lists] += language_checks(language, judged, display_name(recipe))
        rows = baseline_results(judged, name, cases, ks)
        rows[display_name(recipe)] = judge(ranker, judged, name, prompt=recipe.prompt.kind, ks=ks, full_cases=cases)
        tables.append(table_of(name, rows, checks[lists], base="popularity"))
    return tables


NAMES = {
    "sft": "SFT longer",
    "dpo": "DPO",
    "ipo": "IPO",
    "simpo": "SimPO",
    "sdpo": "S-DPO",
    "dmpo": "DMPO",
    "napo": "NAPO",
}


def display_name(recipe: Recipe) -> str:
    """The recipe's method as tables call it."""
    if recipe.objective is None:
        return "SFT"
    return NAMES.get(recipe.objective.name, recipe.objective.name)
