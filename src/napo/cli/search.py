"""`napo search`.

Path    a search file -> [cli.search] -> experiments.search
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from napo.cli._console import stderr, stdout
from napo.cli._progress import Bars
from napo.errors import UserError


def search(
    file: Annotated[Path, typer.Argument(help="A YAML file: recipes, the keys to search, how many trials.")],
    out: Annotated[Path, typer.Option(help="The folder of the trials and of what they came to.")] = Path("runs/search"),
    jobs: Annotated[int, typer.Option(min=1, help="How many methods are searched at once.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Search each recipe's settings on validation, with the same number of trials. Called again it goes on.

    Example: napo search search.yaml --out runs/search
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a search is not for several ranks", where="napo search", remedy="start it without a launcher")
    from napo.experiments.search_file import load_search

    load_search(file)  # mistakes come before a wait of seconds
    from napo.experiments.search import run_search

    with Bars() as bars:
        result = run_search(file, out, jobs=jobs, progress=bars)
    stdout().print_json(data=result.to_json()) if json else stdout().print(result.table())
    for text in [*result.failures(), f"The best recipes are {out}/*.best.yaml"]:
        stderr().print(text, markup=False, highlight=False, soft_wrap=True)
