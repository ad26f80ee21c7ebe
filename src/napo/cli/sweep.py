"""`napo sweep`.

Path    sweep.yaml -> [cli.sweep] -> experiments.plan, experiments.runner, experiments.store
"""

from pathlib import Path
from typing import Annotated

import typer

from napo.cli._board import Cells
from napo.cli._console import stderr, stdout
from napo.cli.judge import is_override
from napo.errors import UserError


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="The YAML file that names methods, data and keys.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys that every recipe gets.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the cells and of what they came to.")] = Path("runs/sweep"),
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, in the place of the file's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many cells at a time, with as many cores less each.")] = 1,
) -> None:
    """Train and judge every combination of methods, data sets, seeds and keys; what is done is never done again.

    Example: napo sweep sweep.yaml --seeds 3 --jobs 2
    """
    from napo.experiments.plan import load_plan

    for word in overrides or ():
        if not is_override(word):
            raise UserError(f"`{word}` is no override", where="napo sweep", remedy="`key=value`, such as `sft.lr=1e-3`")
    plan = load_plan(file, overrides or (), seeds=seeds)
    from napo.experiments.sweep import run_sweep

    with Cells(plan) as board:
        finished = run_sweep(plan, out, board, jobs=jobs)
    for table in finished.tables:
        stdout().print(table.rich())
    for line in finished.lines:
        stderr().print(line, markup=False, highlight=False, soft_wrap=True)
    if finished.outcomes.failed:
        raise typer.Exit(1)
