"""`napo sweep` and `napo reproduce`.

Path    sweep.yaml -> [cli.sweep] -> experiments.plan, experiments.sweep
"""

from pathlib import Path
from typing import Annotated

import typer

from napo.cli._board import Cells
from napo.cli._console import stderr, stdout
from napo.cli.judge import is_override
from napo.errors import UserError, did_you_mean

REPRODUCTIONS = Path("sweeps")
WHOSE = (
    "Whose claims: napo, sdpo, msl, sprec, rosepo, ilrec, smollm2 (NAPO's with a pretrained model). NAPO by key or"
    " part: napo-accept, napo-alpha, napo-batch, napo-beta, napo-causes, napo-k, napo-list, napo-negatives,"
    " napo-vocabulary."
)
QUICK = "Three rows on MovieLens-100K, within 20 minutes. There is one of napo and of sprec."

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys that every recipe gets.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="How many seeds, in the place of the file's.")]
Jobs = Annotated[int, typer.Option(min=1, help="How many cells at a time, with as many cores less each.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Begin no cell after so many minutes; go on another time.")]
Data = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[=FOLDER]", help="Only this data set, with the folder of its files; may be repeated."),
]
Interactions = Annotated[Path | None, typer.Option(help="An own log, in the place of the file's data sets.")]
Items = Annotated[Path | None, typer.Option(help="The titles of the own log's items.")]
Method = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A row more: a recipe (.yaml), or an objective of one's own (.py)."),
]


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="The YAML file that names methods, data and keys.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The folder of the cells and of what they came to.")] = Path("runs/sweep"),
    seeds: Seeds = None,
    jobs: Jobs = 1,
    minutes: Minutes = None,
    data: Data = None,
    interactions: Interactions = None,
    items: Items = None,
    method: Method = None,
) -> None:
    """Train and judge every combination of methods, data sets, seeds and keys; what is done is never done again.

    Example: napo sweep sweep.yaml --seeds 3 --jobs 2
    """
    from napo.experiments.asked import Asked
    from napo.experiments.plan import load_plan

    for word in overrides or ():
        if not is_override(word):
            raise UserError(f"`{word}` is no override", where="napo sweep", remedy="`key=value`, such as `sft.lr=1e-3`")
    files = method or []
    asked = Asked(
        seeds=seeds,
        data=dict(_named_folder(word) for word in data or ()),
        interactions=interactions,
        items=items,
        methods=tuple(path for path in files if path.suffix != ".py"),
        objectives=tuple(path for path in files if path.suffix == ".py"),
    )
    plan = load_plan(file, overrides or (), asked)
    from napo.experiments.sweep import run_sweep

    with Cells(plan) as board:
        finished = run_sweep(plan, out, board, jobs=jobs, minutes=minutes)
    for table in finished.tables:
        stdout().print(table.rich())
    for line in finished.lines:
        stderr().print(line, markup=False, highlight=False, soft_wrap=True)
    if finished.outcomes.failed:
        raise typer.Exit(1)


def reproduce(
    paper: Annotated[str, typer.Argument(help=WHOSE)],
    overrides: Overrides = None,
    quick: Annotated[bool, typer.Option("--quick", help=QUICK)] = False,
    out: Annotated[Path, typer.Option(help="The folder of the cells.")] = Path("runs/reproduce"),
    seeds: Seeds = None,
    jobs: Jobs = 2,
    minutes: Minutes = None,
    data: Data = None,
    interactions: Interactions = None,
    items: Items = None,
    method: Method = None,
) -> None:
    """Do a paper's claims hold here? Runs the sweep that comes with napo, in a clone of its repository.

    Example: napo reproduce napo --quick --interactions log.csv --items items.csv --method my_loss.py
    """
    if not REPRODUCTIONS.is_dir():
        raise UserError(f"no {REPRODUCTIONS} here", remedy="run it in a clone of the repository")
    known = sorted(path.stem for path in REPRODUCTIONS.glob("*.yaml"))
    name = f"{paper}-quick" if quick else paper
    if name not in known:
        raise UserError(f"nothing to reproduce is called {name!r}", remedy=did_you_mean(name, known))
    file = REPRODUCTIONS / f"{name}.yaml"
    sweep(file, overrides, out, seeds, jobs, minutes, data, interactions, items, method)


def _named_folder(word: str) -> tuple[str, Path | None]:
    name, equals, folder = word.partition("=")
    return name, Path(folder).expanduser() if equals else None
