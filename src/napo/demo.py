"""The whole path on MovieLens-100K, from nothing: fetch, train, compare, report, recommend.

Path    recipes/ml100k -> data, training, evaluation -> [demo] -> a table, a report, three users' lists
Takes   `full`: the whole recipe, or short runs of the same
Gives   runs/demo or runs/demo-full: the runs, report.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napo.data.fetch import fetch
from napo.errors import UserError
from napo.recipe import load_recipe
from napo.rng import rng_for
from napo.serving.recommender import Recommender
from napo.training.compare import Comparison, Trained, compare_recipes
from napo.training.processes import is_main
from napo.training.report import write_comparison
from napo.training.run import Progress

if TYPE_CHECKING:
    from rich.console import Console

RECIPES = Path("recipes/ml100k")
METHODS = ("sft", "sft_longer", "dpo", "sdpo", "napo")
# The same steps on less of the way: what a short run shows is that it works, not how well.
SHORT = ("sft.epochs=8", "preference.epochs=1", "evaluation.full_cases=500")


@dataclass(frozen=True)
class Shown:
    """A user's newest titles, and what two models would name next."""

    user: str
    history: list[str]
    before: list[str]
    after: list[str]


def run_demo(
    *, full: bool, console: "Console", progress: Progress, seeds: int = 1, out: Path | None = None
) -> Comparison:
    """Run it all and print what came of it. Raises UserError where it is not called in a clone of the repository."""
    if not RECIPES.is_dir():
        raise UserError(f"no {RECIPES} here", remedy="run the demo in a clone of the repository")
    console.print(fetch("ml-100k").terms, markup=False, highlight=False)
    out = out or Path("runs") / ("demo-full" if full else "demo")
    recipes = {path: load_recipe(path, () if full else SHORT, methods=True) for path in _paths()}
    if not full:
        console.print(
            "\nShort runs: they show that it works, not how well each method does. `make demo FULL=1` takes the whole"
            " recipe (at most an hour).\n"
        )
    comparison = compare_recipes(recipes, out, seeds=seeds, progress=progress)
    if not is_main():
        return comparison
    report = write_comparison(comparison, out, command=f"make demo{' FULL=1' if full else ''}")
    for table in comparison.tables.values():
        console.print(table.rich())
    for run in comparison.runs:
        for verdict in run.verdicts[-1:]:
            console.print(f"{run.name}, seed {run.seed}. {verdict}", markup=False, highlight=False)
    _print_users(comparison, console)
    console.print(f"\nThe report: {report}", markup=False, highlight=False, soft_wrap=True)
    return comparison


def _paths() -> list[Path]:
    return [RECIPES / f"{name}.yaml" for name in METHODS]


def _print_users(comparison: Comparison, console: "Console") -> None:
    before = next(run for run in comparison.runs if run.name == "SFT")
    after = next(run for run in comparison.runs if run.name == "NAPO")
    for shown in three_users(before, after):
        liked = "; ".join(shown.history)
        console.print(f"\nUser {shown.user} liked, newest last: {liked}", markup=False, highlight=False)
        console.print(f"  SFT would name:  {'; '.join(shown.before)}", markup=False, highlight=False)
        console.print(f"  NAPO would name: {'; '.join(shown.after)}", markup=False, highlight=False)


def three_users(before: Trained, after: Trained, titles: int = 5) -> list[Shown]:
    """Three users, always the same ones, with their lists from two finished runs."""
    models = [Recommender.load(run.folder) for run in (before, after)]
    users = sorted(models[0].users)
    drawn = rng_for("demo", "users").choice(len(users), size=min(3, len(users)), replace=False)
    shown = []
    for user in (users[index] for index in drawn):
        lists = [[item.title for item in model.recommend(user=user, k=titles).items] for model in models]
        liked = models[0].histories.liked[models[0].histories.index[user]]
        history = [models[0].catalog.titles[item] for item in liked[-titles:]]
        shown.append(Shown(user, history, *lists))
    return shown
