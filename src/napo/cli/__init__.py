"""The command line: `napo train`, `evaluate`, `compare`, `search`, `sweep`, `reproduce`, `report`, `recommend`,
`explain`, `export`, `serve`, `data`, `catalog`, `demo`.

Path    what a person types -> [cli] -> training, evaluation, serving, data
Takes   arguments; a UserError from anywhere below
Gives   results on stdout, logs and progress on stderr; exit code 0, 2 for a user's mistake, 130 for Ctrl-C

One file for each kind of command. They import what they call inside their functions: `napo --help` must not wait for
torch.
"""

import errno
import logging
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from napo import __version__
from napo.cli import catalog, data, judge, report, search, serve, sweep, train, use
from napo.cli._console import speaks
from napo.data.address import hidden
from napo.errors import UserError, UserErrors, short

# Our faults keep Python's own traceback: typer's prettier one shows the values of local variables.
app = typer.Typer(
    name="napo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, judge and serve language-model recommenders.",
)
app.command("train")(train.train)
app.command("evaluate")(judge.evaluate)
app.command("compare")(judge.compare)
app.command("search")(search.search)
app.command("sweep")(sweep.sweep)
app.command("reproduce")(sweep.reproduce)
app.command("report")(report.report)
app.command("recommend")(use.recommend)
app.command("explain")(use.explain)
app.command("export")(use.export)
app.command("serve")(serve.serve)
app.add_typer(data.app, name="data")
app.add_typer(catalog.app, name="catalog")
app.command("demo")(use.demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit. A UserError becomes a message and exit code 2; all else keeps its traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="napo")
    except UserError as error:
        if speaks():
            print(said(error), file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"napo: no file has so long a name: {short(str(error.filename))}\n  try   a path", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _stopped(words)
    except SystemExit as end:
        if end.code == 130:  # what typer makes of Ctrl-C
            _stopped(words)
        raise


def said(error: UserError) -> str:
    """The message of a mistake, or of all of a file's mistakes."""
    errors = error.errors if isinstance(error, UserErrors) else [error]
    return "\n".join(f"napo: {one}" for one in errors)


def _stopped(words: Sequence[str]) -> NoReturn:
    if not speaks():
        sys.exit(130)
    print("napo: stopped", file=sys.stderr)
    words = [hidden(word) for word in words]
    if words and words[0] in ("sweep", "search"):
        print(f"  try   napo {shlex.join(words)}", file=sys.stderr)
    if words and words[0] == "train":
        again = [*words, *(["--resume"] if "--resume" not in words else [])]
        print(f"  try   napo {shlex.join(again)}", file=sys.stderr)
    sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"napo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    """Train, judge and serve language-model recommenders."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
