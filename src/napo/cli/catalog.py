"""`napo catalog add`.

Path    a run folder, an items file -> [cli.catalog] -> serving.additions
"""

from pathlib import Path
from typing import Annotated

import typer

from napo.cli._console import stdout
from napo.cli.data import named_column, typed_separator
from napo.errors import UserError, did_you_mean

app = typer.Typer(no_args_is_help=True, help="The items that a finished run can name.")


@app.callback()
def catalog() -> None:
    """The items that a finished run can name."""


@app.command()
def add(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    items: Annotated[Path, typer.Argument(help="A file of new items: ids, titles, and any other columns.")],
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="A column's name in the file: --column item=id")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as latin-1; else told from the file.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between columns, \\t for tab; else told from the file.")
    ] = None,
    same_titles: Annotated[
        bool, typer.Option("--same-titles", help="Add items, too, whose title another item has: they will tie.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Let a run's model name new items, without training. Items that are there already are skipped.

    Example: napo catalog add runs/napo new-items.csv
    """
    from dataclasses import asdict

    from napo.data.formats import Told, open_table
    from napo.data.log import Tally
    from napo.data.readers import read_items
    from napo.data.settings import Columns
    from napo.serving.additions import add_items

    tally = Tally()
    table = open_table(items, Told(encoding, typed_separator(separator)))
    named = dict(named_column(text) for text in column or ())
    for ours in named:
        if ours not in ("item", "title"):
            raise UserError(
                f"no column {ours!r} of ours", where="--column", remedy=did_you_mean(ours, ("item", "title"))
            )
    listed = read_items(table, Columns(**named), tally)
    added = add_items(run, listed, same_titles=same_titles, tally=tally, where=str(items))
    if json:
        stdout().print_json(data=asdict(added))
        return
    for line in added.lines():
        stdout().print(line, markup=False, highlight=False, soft_wrap=True)
