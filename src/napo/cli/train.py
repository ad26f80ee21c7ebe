"""`napo train`.

Path    a recipe and overrides -> [cli.train] -> training.run
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napo.cli._console import stdout
from napo.cli._progress import Bars
from napo.data.address import hidden

if TYPE_CHECKING:
    from napo.training.run import Run

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Keys of the recipe, such as sft.lr=1e-3.")
]


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, such as recipes/ml100k/napo.yaml.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<name of the recipe> if left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
) -> None:
    """Train what a recipe says.

    Example: napo train recipes/ml100k/napo.yaml sft.epochs=5 --out runs/quick
    """
    from napo.recipe import load_recipe

    checked = load_recipe(recipe, overrides or (), methods=True)
    # after the recipe: mistakes come before a wait of seconds
    from napo.training.processes import is_main, leave_ranks
    from napo.training.run import train_recipe

    folder = out or Path("runs") / recipe.stem
    with Bars() as bars:
        run = train_recipe(checked, folder, resume=resume, progress=bars)
    if is_main():
        words = ["napo", "train", str(recipe), *map(hidden, overrides or ()), "--out", str(folder)]
        command = shlex.join(words)
        _judge_and_print(run, command)
    leave_ranks()


def _judge_and_print(run: "Run", command: str) -> None:
    from napo.training.report import write_run

    for outcome in run.outcomes.values():
        stdout().print(outcome.verdict, markup=False, highlight=False)
    comparison, report = write_run(run, command=command)
    for table in comparison.tables.values():
        stdout().print(table.rich())
    stdout().print(f"The report is {report}", markup=False, highlight=False, soft_wrap=True)
    stdout().print(f"The model is in {run.folder}", markup=False, highlight=False, soft_wrap=True)
