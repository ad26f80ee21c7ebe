"""`napo recommend` and `napo demo`.

Path    a run folder, a user or a history -> [cli.use] -> serving.recommender, demo
"""

from pathlib import Path
from typing import Annotated

import typer

from napo.cli._console import stdout
from napo.cli._progress import Bars
from napo.errors import UserError


def recommend(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    user: Annotated[str | None, typer.Option(help="A user of the log.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            help="Titles that were liked, oldest first, with `;` between them, or one --history each; keys serve too.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Only items whose column meets it: genre=Comedy, genre!=Horror, 'genre in Drama, War', 'year>=1990'."
            " Given several times, all must hold.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Show this column of the items file too.", show_default=False),
    ] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Leave nothing out that is known.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Name what comes next.

    Example: napo recommend runs/napo --history "Alien (1979); Heat (1995)" -k 5
    """
    if (user is None) == (not history):
        raise UserError(
            "whom to recommend to?" if user is None else "both a user and a history",
            where="--user, --history",
            remedy='one of the two: `--user KEY`, or `--history "TITLE; TITLE"` (`--history ""` for none)',
        )
    from napo.serving.history import typed_titles
    from napo.serving.recommender import Recommender
    from napo.serving.where import column_named

    recommender = Recommender.load(run)
    columns = [column_named(name, recommender.catalog) for name in show or ()]
    titles = typed_titles(history, recommender.catalog) if history else None
    found = recommender.recommend(titles, user=user, k=k, exclude_seen=not include_seen, where=where or ())
    stdout().print_json(data=found.to_json()) if json else stdout().print(found.table(columns))


def demo(
    full: Annotated[bool, typer.Option("--full", help="The whole recipe, not short runs: up to an hour.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each method is trained with.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder; runs/demo or runs/demo-full if left out.")] = None,
) -> None:
    """Fetch MovieLens-100K, train and compare SFT, DPO, S-DPO and NAPO, write a report, and recommend.

    Example: napo demo
    """
    from napo.demo import run_demo

    with Bars() as bars:
        run_demo(full=full, console=stdout(), progress=bars, seeds=seeds, out=out)
