"""`napo recommend`, `explain`, `export` and `demo`.

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
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="TITLE", help="Only these, with `;` between them.", show_default=False),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(metavar="TITLE", help="Never these, with `;` between them.", show_default=False),
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=N", help="At most N items of one value: genre=2.", show_default=False),
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
    caps = dict(_cap(text) for text in cap or ())
    from napo.serving.filter import Filter
    from napo.serving.history import typed_titles
    from napo.serving.recommender import Recommender
    from napo.serving.where import column_named

    recommender = Recommender.load(run)
    columns = [column_named(name, recommender.catalog, "--show") for name in show or ()]
    titles, allowed, blocked = (
        typed_titles(texts, recommender.catalog) if texts else None for texts in (history, allow, block)
    )
    only = Filter(where or (), allowed, blocked or (), caps)
    found = recommender.recommend(titles, user=user, k=k, exclude_seen=not include_seen, filter=only)
    stdout().print_json(data=found.to_json()) if json else stdout().print(found.table(columns))


def _cap(text: str) -> tuple[str, int]:
    column, _, most = text.rpartition("=")
    if not column or not most.strip().isdecimal():
        raise UserError(f"{text!r} is no cap", where="--cap", remedy="`COLUMN=N`, such as genre=2")
    return column, int(most)


def explain(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    title: Annotated[str, typer.Option(help="The title, or the key, to explain.")],
    history: Annotated[list[str] | None, typer.Option(help="As for `napo recommend`.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(help="A user of the log.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say why a title stands where it does: with the history and without, token by token, item by item.

    Example: napo explain runs/napo --history "Alien (1979); Heat (1995)" --title "Aliens (1986)"
    """
    from napo.serving.history import typed_titles
    from napo.serving.recommender import Recommender

    recommender = Recommender.load(run)
    titles = typed_titles(history, recommender.catalog) if history else None
    explained = recommender.explain(titles, title, user=user)
    stdout().print_json(data=explained.to_json()) if json else stdout().print(explained.table())


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="The folder to write; another saved model there is replaced.")],
    no_histories: Annotated[
        bool, typer.Option("--no-histories", help="Leave out what users liked: it then answers histories alone.")
    ] = False,
    licence: Annotated[str | None, typer.Option(help="What the model card says of the weights' licence.")] = None,
) -> None:
    """Save a finished run's recommender as one folder, with a model card made from the run's own figures.

    Example: napo export runs/napo --out film-recommender --no-histories
    """
    from napo.serving.recommender import Recommender

    Recommender.load(run, device="cpu").save(out, histories=not no_histories, licence=licence)
    stdout().print(f"The recommender is in {out}", markup=False, highlight=False, soft_wrap=True)


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
