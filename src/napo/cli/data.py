"""`napo data fetch`, `inspect`, `convert` and `export-cases`.

Path    a data set's name, files, a recipe -> [cli.data] -> data.fetch, data.inspect, data.converted, data.export
"""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from napo.cli._console import stderr, stdout
from napo.data.settings import Format, Repeats, TimeUnit, Untitled
from napo.errors import UserError

if TYPE_CHECKING:
    from napo.data.log import InteractionLog
    from napo.data.settings import DataSettings

app = typer.Typer(
    no_args_is_help=True, help="Fetch public data sets; look at a log and clean it before training on it."
)

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


def _reading(
    log: Annotated[
        str,
        typer.Argument(help="A file of interactions, a folder of `convert`, a data set's name, a database or its URL."),
    ],
    items: Annotated[Path | None, typer.Option(help="A file of item titles.")] = None,
    query: Annotated[str | None, typer.Option(metavar="SQL", help="Of a database: the events.")] = None,
    items_query: Annotated[str | None, typer.Option(metavar="SQL", help="Of a database: the items' titles.")] = None,
    format: Annotated[Format | None, typer.Option(help="The log's; else told from the file.")] = None,
    items_format: Annotated[Format | None, typer.Option(help="The items file's; else told from the file.")] = None,
    header: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Columns of a log without a header line: user,item,rating,time")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="A column's name in the files: --column user=uid")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as latin-1; else told from the file.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between columns, \\t for tab; else told from the file.")
    ] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="The mark in 4.5; else told from the file.")] = None,
    time_unit: Annotated[
        TimeUnit | None, typer.Option(help="Of times that are numbers; else told from their size.")
    ] = None,
    time_format: Annotated[
        str | None, typer.Option(help="Of times that are text, if not ISO 8601: '%d/%m/%Y %H:%M'")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="Of times that name none: Europe/Berlin. Else UTC.")] = None,
    untitled: Annotated[
        Untitled | None,
        typer.Option(help="Items without a title: stop, drop them, or show the id; id if there is no --items."),
    ] = None,
    repeats: Annotated[
        Repeats | None, typer.Option(help="Which of a user's events with one item to keep; else the first.")
    ] = None,
    core: Annotated[
        int | None, typer.Option(min=2, help="Leave out users and items with fewer events, again and again.")
    ] = None,
) -> "DataSettings":
    """The keys under `data:` as flags: the same for every command that reads files."""
    from pydantic import ValidationError

    from napo.data.address import is_database
    from napo.data.settings import DataSettings
    from napo.recipe_mistakes import mistakes_of
    from napo.recipe_reading import Place, Places, raise_all

    known = log in get_args(DataSet) and not Path(log).exists()
    kind = "source" if known else "database" if query is not None or is_database(log) else "interactions"
    said = {
        kind: Path(log) if kind == "interactions" else log,
        "items": items,
        "query": query,
        "items_query": items_query,
        "format": format,
        "items_format": items_format,
        "header": tuple(name.strip() for name in header.split(",")) if header else None,
        "columns": dict(named_column(text) for text in column or ()),
        "encoding": encoding,
        "separator": typed_separator(separator),
        "decimal": decimal,
        "time_unit": time_unit,
        "time_format": time_format,
        "time_zone": time_zone,
        **({} if untitled is None and (known or items or items_query) else {"untitled": untitled or "id"}),
        "repeats": repeats,
        "core": core,
    }
    try:
        return DataSettings.model_validate(said)
    except ValidationError as error:
        flags = {"columns": "--column", kind: "LOG"}
        names = {name: flags.get(name, f"--{name.replace('_', '-')}") for name in said}
        places = Places({(name,): Place(flag, Path.cwd()) for name, flag in names.items()})
        raise_all(mistakes_of(error, DataSettings, places, of="data"))
        raise


def _reads(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the flags of `_reading` in the place of its `settings`."""
    flags = signature(_reading).parameters
    own = {name: one for name, one in signature(command).parameters.items() if name != "settings"}

    @wraps(command)
    def with_flags(**given: Any) -> None:
        settings = _reading(**{name: given.pop(name) for name in flags})
        command(settings=settings, **given)

    parameters = [*flags.values(), *own.values()]
    with_flags.__signature__ = Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
    )
    with_flags.__annotations__ = {one.name: one.annotation for one in parameters}
    del with_flags.__wrapped__  # typer would look through us
    return with_flags


@app.command()
@_reads
def inspect(
    settings: "DataSettings",
    split: Annotated[
        Literal["last_tenth", "leave_one_out", "global_time", "users"], typer.Option(help="The split to count by.")
    ] = "last_tenth",
    min_rating: Annotated[float | None, typer.Option(help="The rating from which on an event counts as liked.")] = None,
    min_history: Annotated[int, typer.Option(min=1, help="Liked items that a case needs before its target.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Draw the items' popularity to this PNG.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write a recipe that reads the log as proposed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Show what a log holds and what was left out, and propose how a recipe reads it.

    Example: napo data inspect log.csv --items items.csv --write mine.yaml
    """
    from napo.cli._proposal import as_yaml, proposed, write_recipe
    from napo.data.inspect import draw_popularity, render, summarize
    from napo.data.settings import SplitSettings
    from napo.data.split import make_split

    proposal, read = proposed(settings, min_rating)
    try:
        cut = make_split(read, SplitSettings(name=split, min_rating=min_rating, min_history=min_history))
    except UserError as error:  # the log itself can be looked at
        stderr().print(f"napo: {error}", markup=False, highlight=False, soft_wrap=True)
        cut = None
    summary = summarize(read, cut)
    if plot is not None:
        draw_popularity(read, plot)
    if json:
        stdout().print_json(data={**summary.to_json(), "proposal": proposal.sections()})
    else:
        stdout().print(render(summary))
        stdout().print("\nIn a recipe:\n" + as_yaml(proposal), markup=False, highlight=False, soft_wrap=True)
    if write is not None:
        write_recipe(proposal, write)
        stderr().print(f"The recipe is {write}: napo train {write}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@_reads
def convert(
    settings: "DataSettings",
    out: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Write the cleaned log and its items as Parquet, with a manifest of what was done: `data.interactions=FOLDER`.

    Example: napo data convert reviews.json.gz --items meta.json.gz --core 5 --out data/mine
    """
    from napo.data.converted import write_converted
    from napo.data.inspect import render, summarize
    from napo.data.source import files_of, load_source

    read = load_source(settings)
    named = () if settings.database is not None else files_of(settings)
    files = [path for path in named if path is not None and path.is_file()]
    write_converted(read, settings, files, out)
    stderr().print(render(summarize(read)))
    stdout().print(str(out), markup=False, soft_wrap=True)


@app.command("from-events")
def from_events(
    store: Annotated[str, typer.Argument(help="A server's events: an SQLite file, or postgresql://user@host/name.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    run: Annotated[
        Path | None, typer.Option(help="The run that served: its log goes first, its catalog is the catalog.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="Without --run: a file of item titles; else the ids.")] = None,
    rating: Annotated[
        float | None, typer.Option(help="Of taken items; else the least that the run counts as liked.")
    ] = None,
) -> None:
    """Turn a server's events into a log for training, with what was shown and not taken beside it.

    Example: napo data from-events runs/mine/events.db --run runs/mine --out data/traffic
    """
    from napo.data.formats import open_table
    from napo.data.inspect import render, summarize
    from napo.data.readers import Columns, read_items
    from napo.data.tally import Tally
    from napo.events.store import EventStore
    from napo.events.traffic import Base, write_traffic

    if run is not None and items is not None:
        raise UserError("a run has its own items", where="--items", remedy="leave --items or --run out")
    base = None if run is None else Base(*_served(run, rating))
    titles = None if items is None else read_items(open_table(items), Columns(), Tally())
    with EventStore.open(store, new=False) as opened:
        log = write_traffic(opened, out, base=base, items=titles)
    stderr().print(render(summarize(log)))
    section = f"data: {{interactions: {out}, exposures: {out / 'exposures.parquet'}}}"
    stderr().print("In a recipe:", section, markup=False, highlight=False, soft_wrap=True)
    stdout().print(str(out), markup=False, soft_wrap=True)


def _served(run: Path, rating: float | None) -> "tuple[InteractionLog, DataSettings, float | None]":
    """The log that a run was trained on, how it was read, and the rating that a taken item gets beside it."""
    from napo.data.prepare import data_settings
    from napo.data.source import load_source
    from napo.recipe import load_recipe

    if not (run / "recipe.yaml").is_file():
        raise UserError(f"{run} holds no run", where="--run", remedy="the folder that the server was given")
    recipe = load_recipe(run / "recipe.yaml")
    settings = data_settings(recipe)
    if settings.test is not None:
        raise UserError(
            "the run's data are rows, which events can't be added to",
            where=str(run),
            remedy="leave --run out, and give the titles with --items",
        )
    return load_source(settings), settings, recipe.split.min_rating if rating is None else rating


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


def typed_separator(text: str | None) -> str | None:
    """What `--separator` says: a shell's `\\t` is a tab."""
    return "\t" if text == "\\t" else text


def named_column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals:
        raise UserError(f"`{text}` names no column", where="--column", remedy="write it as `--column user=uid`")
    return ours, theirs
