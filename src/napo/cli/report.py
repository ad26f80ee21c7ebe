"""`napo report`.

Path    stores of sweeps -> [cli.report] -> experiments.page
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from napo.cli._console import stdout


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="A sweep's folder, its store, or a folder of several of them."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes; else beside the store, or above them where several.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The page's title; else the sweep's.")] = None,
) -> None:
    """Make the page of sweeps: claims with their verdicts, tables and pictures; overview.html and index.md.

    Example: napo report runs/sweep
    """
    from napo.experiments.page import find_stores, home, write_page

    stores = find_stores(folders)
    homes = [home(store) for store in stores]
    above = out or (homes[0] if len(homes) == 1 else Path(os.path.commonpath(homes)))
    written = write_page(stores, above, title=title)
    for claim in written.claims:
        stdout().print(claim.line, markup=False, highlight=False, soft_wrap=True)
    stdout().print(f"The page is {written.path}", markup=False, highlight=False, soft_wrap=True)
