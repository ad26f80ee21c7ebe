"""`napo train`.

Path    a recipe and overrides -> [cli.train] -> training.run
"""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napo.cli._console import stdout
from napo.cli._own_data import own_recipe
from napo.cli._progress import Bars
from napo.cli._refresh import refresh_recipe
from napo.data.address import hidden
from napo.errors import UserError

if TYPE_CHECKING:
    from napo.training.run import Run

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Keys of the recipe, such as sft.lr=1e-3.")
]


def train(
    recipe: Annotated[Path | None, typer.Argument(help="A YAML file, such as recipes/ml100k/napo.yaml.")] = None,
    overrides: Overrides = None,
    data: Annotated[
        str | None, typer.Option(metavar="LOG", help="Without a recipe: a log; the recipe is made for it.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Go on from this run's model, with a newer --data.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="With --data: a file of item titles.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="With --data: the most that training may take here.")] = 3.0,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<name of the recipe> if left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
) -> None:
    """Train what a recipe says; or with --data LOG what suits that log and this machine, by a recipe that is written;
    or with --from RUN a finished run further, on a newer log.

    Example: napo train recipes/ml100k/napo.yaml sft.epochs=5 --out runs/quick
    """
    from napo.recipe import load_recipe

    # without a recipe all words are overrides
    words = [*([] if recipe is None else [str(recipe)]), *(overrides or ())]
    if start is not None:
        checked, folder = refresh_recipe(start, data, items, words, out, resume)
        named = ["--from", str(start), *([] if data is None else ["--data", hidden(data)])]
        named += [*([] if items is None else ["--items", str(items)]), *map(hidden, words)]
    else:
        if data is not None:
            recipe, overrides = own_recipe(data, items, words, hours, out, resume)
        if recipe is None:
            remedy = "name a YAML file, or a log of your own: --data my.csv"
            raise UserError("no recipe", where="napo train", remedy=remedy)
        checked, folder = load_recipe(recipe, overrides or (), methods=True), out or Path("runs") / recipe.stem
        named = [str(recipe), *map(hidden, overrides or ())]
    # after the recipe: mistakes come before a wait of seconds
    from napo.training.processes import is_main, leave_ranks
    from napo.training.run import train_recipe

    with Bars() as bars:
        run = train_recipe(checked, folder, resume=resume, progress=bars)
    if is_main():
        _judge_and_print(run, shlex.join(["napo", "train", *named, "--out", str(folder)]))
    leave_ranks()


def _judge_and_print(run: "Run", command: str) -> None:
    from napo.training.report import write_run

    for outcome in run.outcomes.values():
        stdout().print(outcome.verdict, markup=False, highlight=False)
    comparison, report = write_run(run, command=command)
    if (brought := run.folder / "refresh.json").is_file():
        for line in json.loads(brought.read_text(encoding="utf-8"))["lines"]:
            stdout().print(line, markup=False, highlight=False, soft_wrap=True)
    for table in comparison.tables.values():
        stdout().print(table.rich())
    stdout().print(f"The report is {report}", markup=False, highlight=False, soft_wrap=True)
    stdout().print(f"The model is in {run.folder}", markup=False, highlight=False, soft_wrap=True)
