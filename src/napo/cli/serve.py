"""`napo serve`.

Path    run folders -> [cli.serve] -> serving.http
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napo.cli._console import stderr, stdout
from napo.errors import UserError

if TYPE_CHECKING:
    from napo.events.store import EventStore

NEEDED = ("fastapi", "fastapi_offline", "uvicorn", "prometheus_client", "rapidfuzz")


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RUN",
            help="Folders of finished runs, or what `napo export` wrote; latest: the run of runs/ that ended last.",
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Where to listen. Anything but this machine alone needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="NAPO_TOKEN", hidden=True, help="For the environment, not the command line.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="The token that callers must send; or set NAPO_TOKEN.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that requests may be addressed to.", show_default=False),
    ] = None,
    most_history: Annotated[int, typer.Option(min=1, help="Titles in a history.")] = 1_000,
    most_k: Annotated[int, typer.Option("--most-k", min=1, help="Items in a list.")] = 1_000,
    batch: Annotated[int, typer.Option(min=1, help="Requests scored together.")] = 32,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that may wait; more get 503.")] = 256,
    events: Annotated[
        str | None,
        typer.Option(
            envvar="NAPO_EVENTS_URL",
            metavar="FILE|URL",
            help="Where events are kept: an SQLite file or postgresql://...; else events.db in the first run's folder, "
            "or in that of the run that it goes on from.",
            show_default=False,
        ),
    ] = None,
    no_events: Annotated[bool, typer.Option("--no-events", help="Keep no events.")] = False,
    cache_mb: Annotated[int, typer.Option(min=0, help="Of each model, for histories asked about again.")] = 256,
) -> None:
    """Answer over HTTP: recommendations of one run or several, side by side.

    Example: napo serve latest; napo serve runs/napo sft=runs/sft --port 8000
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}", where="napo serve", remedy="pip install 'napo[serve]'")
    from napo.serving.http.models import named_folders
    from napo.serving.http.serve import serve as run_server
    from napo.serving.http.settings import ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        token=_token(token, token_file),
        hosts=tuple(allow_host or ()),
        most_history=most_history,
        most_k=most_k,
        batch=batch,
        waiting=waiting,
        cache_mb=cache_mb,
    )

    def said(address: str) -> None:
        stdout().print(f"napo listens at {address}, its paths are at {address}/docs", markup=False, soft_wrap=True)

    folders = named_folders(runs)
    store = None if no_events else _store(events, folders)
    try:
        run_server(folders, settings, said, store=store)
    finally:
        if store is not None:
            store.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is answered and kept; Python's farewell to torch can take seconds on a busy machine


def _store(events: str | None, folders: Mapping[str, Path]) -> "EventStore | None":
    """The store that was named, or the first run's own; None where its package is missing and none was named."""
    if find_spec("sqlalchemy") is None:
        if events is None:
            return None
        raise UserError("events need sqlalchemy", where="--events", remedy="pip install 'napo[events]', or --no-events")
    from napo.events.store import EventStore
    from napo.serving.http.events import events_beside, events_of
    from napo.serving.recommender import model_folder

    if events is not None:
        return EventStore.open(events if "://" in events else Path(events))
    first = next(iter(folders.values()))
    model_folder(first)  # a folder that is no run gets no file either
    if not first.is_dir():
        return None
    file = events_of(first)
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        message = f"no events are kept: {file} can't be written (--events names another place)"
        stderr().print(message, markup=False, highlight=False, soft_wrap=True)
        return None
    if file != events_beside(first.resolve()):
        message = f"events are kept in {file}: this run goes on from that one (--events names another place)"
        stderr().print(message, markup=False, highlight=False, soft_wrap=True)
    return EventStore.open(file)


def _token(given: str | None, file: Path | None) -> str | None:
    if file is None:
        return given or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"no token can be read: {error}", where="--token-file", remedy="a file with one line"
        ) from error
