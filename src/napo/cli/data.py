"""`napo data fetch`, `inspect` and `export-cases`.

Path    a data set's name, files, a recipe -> [cli.data] -> data.fetch, data.inspect, data.export
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from napo.cli._console import stderr, stdout
from napo.data.settings import Format, Repeats, TimeUnit, Untitled
from napo.errors import UserError

if TYPE_CHECKING:
    from napo.data.settings import DataSettings

app = typer.Typer(no_args_is_help=True, help="Fetch public data sets; look at a log before training on it.")

DataSet = Literal["ml-100k"]


@app.command()
def fetch(
    name: Annotated[DataSet, typer.Argument(help="The data set.")],
    from_folder: Annotated[Path | None, typer.Option("--from", help="A folder with your own copy, if offline.")] = None,
) -> None:
    """Bring a public data set to this machine, once.

    Example: napo data fetch ml-100k
    """
    from napo.data.fetch import fetch as bring

    fetched = bring(name, from_folder)
    stderr().print(fetched.terms, markup=False)
    stdout().print(str(fetched.folder), markup=False, soft_wrap=True)


# what says how files are read: the same for every command that reads them
Log = Annotated[str, typer.Argument(help="A file of interactions, a folder of `convert`, or a data set's name.")]
Items = Annotated[Path | None, typer.Option(help="A file of item titles.")]
FileFormat = Annotated[Format | None, typer.Option("--format", help="The log's; else told from the file.")]
ItemsFormat = Annotated[Format | None, typer.Option(help="The items file's; else told from the file.")]
Header = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Columns of a log without a header line: user,item,rating,time")
]
ColumnNames = Annotated[
    list[str] | None, typer.Option(metavar="OURS=THEIRS", help="A column's name in the files: --column user=uid")
]
Encoding = Annotated[str | None, typer.Option(help="Such as latin-1; else told from the file.")]
Separator = Annotated[str | None, typer.Option(help="Between columns, \\t for tab; else told from the file.")]
Decimal = Annotated[Literal[".", ","] | None, typer.Option(help="The mark in 4.5; else told from the file.")]
Unit = Annotated[TimeUnit | None, typer.Option(help="Of times that are numbers; else told from their size.")]
TimeFormat = Annotated[str | None, typer.Option(help="Of times that are text, if not ISO 8601: '%d/%m/%Y %H:%M'")]
TimeZone = Annotated[str | None, typer.Option(help="Of times that name none: Europe/Berlin. Else UTC.")]
UntitledItems = Annotated[
    Untitled | None,
    typer.Option(help="Items without a title: stop, drop them, or show the id; id if there is no --items."),
]
WhichRepeats = Annotated[Repeats, typer.Option(help="Which of a user's events with one item to keep.")]


@app.command()
def inspect(
    log: Log,
    items: Items = None,
    format: FileFormat = None,
    items_format: ItemsFormat = None,
    header: Header = None,
    column: ColumnNames = None,
    encoding: Encoding = None,
    separator: Separator = None,
    decimal: Decimal = None,
    time_unit: Unit = None,
    time_format: TimeFormat = None,
    time_zone: TimeZone = None,
    untitled: UntitledItems = None,
    repeats: WhichRepeats = "first",
    split: Annotated[
        Literal["last_tenth", "leave_one_out", "global_time", "users"], typer.Option(help="The split to count by.")
    ] = "last_tenth",
    min_rating: Annotated[float | None, typer.Option(help="The rating from which on an event counts as liked.")] = None,
    min_history: Annotated[int, typer.Option(min=1, help="Liked items that a case needs before its target.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Draw the items' popularity to this PNG.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Show what a log holds and what was left out.

    Example: napo data inspect log.csv --items items.csv
    """
    settings = _settings(
        log,
        items=items,
        format=format,
        items_format=items_format,
        header=header,
        columns=column,
        encoding=encoding,
        separator=separator,
        decimal=decimal,
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
        untitled=untitled,
        repeats=repeats,
    )
    from napo.data.inspect import draw_popularity, render, summarize
    from napo.data.settings import SplitSettings
    from napo.data.source import load_source
    from napo.data.split import make_split

    read = load_source(settings)
    try:
        cut = make_split(read, SplitSettings(name=split, min_rating=min_rating, min_history=min_history))
    except UserError as error:  # the log itself can be looked at
        stderr().print(f"napo: {error}", markup=False, highlight=False, soft_wrap=True)
        cut = None
    summary = summarize(read, cut)
    if plot is not None:
        draw_popularity(read, plot)
    stdout().print_json(data=summary.to_json()) if json else stdout().print(render(summary))


def _settings(log: str, **said: Any) -> "DataSettings":
    """The keys under `data:` that the flags say."""
    from pydantic import ValidationError

    from napo.data.settings import DataSettings
    from napo.recipe_mistakes import mistakes_of
    from napo.recipe_reading import Places, raise_all

    known = log in get_args(DataSet) and not Path(log).exists()
    said["source" if known else "interactions"] = log if known else Path(log)
    said["columns"] = dict(named_column(text) for text in said["columns"] or ())
    said["header"] = tuple(name.strip() for name in said["header"].split(",")) if said["header"] else None
    said["separator"] = "\t" if said["separator"] == "\\t" else said["separator"]
    said["untitled"] = said["untitled"] or ("stop" if known or said["items"] else "id")
    try:
        return DataSettings.model_validate(said)
    except ValidationError as error:
        raise_all(mistakes_of(error, DataSettings, Places(), of="data"))
        raise


@app.command("export-cases")
def export_cases(
    source: Annotated[Path, typer.Argument(metavar="RUN|RECIPE", help="A run's folder, or a recipe.")],
    out: Annotated[Path, typer.Option(help="The folder to fill; what was there is replaced.")],
    form: Annotated[Literal["parquet", "csv"], typer.Option("--format", help="Of the tables.")] = "parquet",
) -> None:
    """Write what another tool needs to be trained and judged on the same split: `napo evaluate --ranked` takes it back.

    Example: napo data export-cases recipes/ml100k/sft.yaml --out cases
    """
    from napo.data.export import export_cases as write
    from napo.evaluation.runs import open_data

    recipe, prepared = open_data(source)
    rows = write(prepared, out, full_cases=recipe.evaluation.full_cases, form=form, asked=str(source))
    stderr().print(*(f"{name}: {count:,} rows" for name, count in rows.items()), sep="\n", highlight=False)
    stdout().print(str(out), markup=False, soft_wrap=True)


def named_column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals:
        raise UserError(f"`{text}` names no column", where="--column", remedy="write it as `--column user=uid`")
    return ours, theirs
