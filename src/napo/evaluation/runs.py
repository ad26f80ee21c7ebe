"""Judge a finished run from its folder alone; or other tools' lists by a run's or a recipe's cases.

Path    run folder, recipe, ranked lists -> [evaluation.runs] -> table
Takes   a folder with recipe.yaml, the candidate lists and `model/`; or a recipe; files of ranked lists
Gives   ResultTable: the run's row and the lists' rows among the baselines, and the leak checks
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Literal

from napo.data.prepare import Prepared, prepare
from napo.errors import UserError
from napo.evaluation.generated import Match
from napo.evaluation.judge import (
    baseline_results,
    checks_of,
    judge_language,
    language_checks,
    lists_of,
    prompt_of,
    table_of,
)
from napo.evaluation.leaks import Check, file_checks, worst_of_runs
from napo.evaluation.ranked import judge_ranked
from napo.evaluation.results import CandidateResult, FullResult, Result
from napo.evaluation.table import ResultTable
from napo.models.language import LanguageModel, open_folder
from napo.recipe import Recipe, load_recipe

RECIPE, MODEL = "recipe.yaml", "model"


def open_run(folder: Path) -> tuple[Recipe, Prepared, LanguageModel]:
    """A finished run's recipe, data and model. Raises UserError where the folder holds none."""
    if not (folder / RECIPE).is_file() or not (folder / MODEL).is_dir():
        missing = "no run" if not (folder / RECIPE).is_file() else "a run that has not ended"
        raise UserError(f"{folder} holds {missing}", remedy="`napo train RECIPE --out FOLDER`, with --resume to end it")
    recipe, prepared = open_data(folder)
    return recipe, prepared, open_folder(folder / MODEL, prepared.log.catalog)


def open_data(where: Path) -> tuple[Recipe, Prepared]:
    """The cases that a run, finished or not, or a recipe is judged by. where: the run's folder, or the YAML file."""
    folder = where if where.is_dir() else None
    recipe = load_recipe(where if folder is None else where / RECIPE)
    return recipe, prepare(recipe, folder)


def evaluate_run(
    where: Path,
    *,
    protocol: str | None = None,
    part: Literal["valid", "test"] = "test",
    ranked: Sequence[tuple[str, Path]] = (),
    match: Match | None = None,
    base: str | None = None,
) -> list[ResultTable]:
    """A table for each protocol: the one asked for, or the recipe's.

    where: a run's folder; or, with ranked lists, a recipe, whose table has no row of a model of ours.
    ranked: row names and files of other tools' lists; files of one name are its seeds, or other runs of the same.
    match: of `gen20`; None: the recipe's. base: the row to compare with; None: popularity, where it has a row.
    """
    language = None
    if where.is_file() and ranked:
        recipe, prepared = open_data(where)
    else:
        recipe, prepared, language = open_run(where)
    if match is not None:
        recipe = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"match": match})})
    checks: dict[str, list[Check]] = {}
    tables = []
    names = _protocols(recipe, protocol, ranked)
    if match is not None and "gen20" not in names:
        raise UserError(f"{' and '.join(names)} judge no written title", where="--match", remedy="`--protocol gen20`")
    for name in names:
        cases, ks = recipe.evaluation.full_cases, recipe.evaluation.ks
        judged, lists = prepared.under(name), lists_of(name)
        if part == "valid":
            judged = replace(judged, test=judged.all_valid, test_lists=judged.all_valid_lists)
        if lists not in checks:
            checks[lists] = checks_of(judged, prompt_of(recipe)) if part == "test" else []
            checks[lists] += language_checks(language, judged, display_name(recipe)) if language is not None else []
        rows: dict[str, Result | Sequence[Result]] = {**baseline_results(judged, name, cases, ks)}
        if language is not None:
            rows[display_name(recipe)] = judge_language(language, judged, name, recipe)
        read = _ranked_rows(ranked, judged, name, ks, cases, taken=rows.keys())
        asked = [check for given in read.values() for one in given for check in file_checks(one, judged.test_lists)]
        rows |= read
        against = base or ("popularity" if "popularity" in rows else None)
        tables.append(table_of(name, rows, [*checks[lists], *worst_of_runs(asked)], base=against))
    return tables


def _protocols(recipe: Recipe, asked: str | None, ranked: Sequence[tuple[str, Path]]) -> Sequence[str]:
    """What to judge by. A file of ranked lists is for one protocol, and does not say which."""
    if ranked and asked == "gen20":
        raise UserError("lists are ranked, and `gen20` judges what is written", where="--ranked", remedy="`cand20`")
    if asked is not None:
        return (asked,)
    if ranked and len(recipe.evaluation.protocols) > 1:
        raise UserError(
            f"the recipe judges by {' and '.join(recipe.evaluation.protocols)}; ranked lists are for one of them",
            where="--ranked",
            remedy="`--protocol cand20` for scores of candidates, `--protocol full` for lists from the whole catalog",
        )
    return recipe.evaluation.protocols


def _ranked_rows(
    ranked: Sequence[tuple[str, Path]],
    prepared: Prepared,
    protocol: str,
    ks: Sequence[int],
    full_cases: int | None,
    taken: Set[str],
) -> dict[str, list[CandidateResult | FullResult]]:
    rows: dict[str, list[CandidateResult | FullResult]] = {}
    for name, path in ranked:
        if name in taken:
            raise UserError(
                f"{path} would be a second row {name!r}", where="--ranked", remedy=f"`--ranked NAME={path}`"
            )
        judged = judge_ranked(path, prepared, protocol, name=name, ks=ks, full_cases=full_cases)
        rows.setdefault(name, []).append(judged)
    return rows


NAMES = {
    "sft": "SFT longer",
    "dpo": "DPO",
    "ipo": "IPO",
    "simpo": "SimPO",
    "sdpo": "S-DPO",
    "dmpo": "DMPO",
    "napo": "NAPO",
    "rosepo": "RosePO",
    "ilrec": "ILRec",
}


def display_name(recipe: Recipe) -> str:
    """The recipe's method as tables call it; an objective of the user's own has its file's name."""
    if recipe.objective is None:
        return "zero-shot" if recipe.sft is None else "SFT"
    name, file = recipe.objective.name, recipe.objective.file
    shown = file.stem if file is not None else NAMES.get(name, name)
    return shown if recipe.rounds is None else f"{shown} in rounds"
