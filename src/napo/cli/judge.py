"""`napo evaluate` and `napo compare`.

Path    run folders, recipes -> [cli.judge] -> evaluation.runs, training.compare
"""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from napo.cli._console import stderr, stdout
from napo.cli._progress import Bars
from napo.data.address import hidden
from napo.errors import UserError

ProtocolName = Literal["cand20", "full", "gen20", "legacy"]
MatchName = Literal["equal", "substring", "substring-line"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run; with --ranked a recipe will do.")],
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(
            help="cand20: among 20 candidates; full: the whole catalog; gen20: a title that the model writes;"
            " legacy: the data's own lists. Else the recipe's."
        ),
    ] = None,
    part: Annotated[Literal["valid", "test"], typer.Option(help="Which held-out part.")] = "test",
    ranked: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Another tool's lists (Parquet, CSV, TREC run), a row each; files of one NAME are its seeds.",
        ),
    ] = None,
    match: Annotated[
        MatchName | None,
        typer.Option(
            help="Of gen20, when what is written is a title. equal: the first line, case and final punctuation"
            " forgiven. substring: the one candidate in it. substring-line: in its first line, in lower case."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ROW", help="The row to compare the others with; else popularity.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Judge a trained run on its own split, and other tools' ranked lists beside it.

    Example: napo evaluate runs/napo --protocol full --ranked other.parquet
    """
    from napo.evaluation.runs import evaluate_run

    files = [named_file(text) for text in ranked or ()]
    tables = evaluate_run(run, protocol=protocol, part=part, ranked=files, match=match, base=against)
    if json:
        stdout().print_json(data=[table.to_json() for table in tables])
    else:
        stdout().print(*(table.rich() for table in tables))


def named_file(text: str) -> tuple[str, Path]:
    """`NAME=FILE`, or a file that is called by its own name."""
    name, equals, file = text.partition("=")
    return (name, Path(file)) if equals and not Path(text).exists() else (Path(text).stem, Path(text))


def compare(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE|KEY=VALUE", help="Recipes, and keys that all of them get.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each recipe is trained with, from its own on.")] = 1,
    against: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="The row to compare the others with; else SFT, or the first recipe."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'A > B [by 0.01|15%] [on METRIC]'",
            help="What to judge: row A better than row B, by a difference or a share. Several: p is Holm's over all.",
        ),
    ] = None,
    tried: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW=N",
            help="So many settings of a row were tried on validation; else 1. Unequal numbers get no verdict.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the runs and of the table.")] = Path("runs/compare"),
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train several recipes and judge them by the same cases, paired. Finished runs in the folder are kept.

    Example: napo compare sft.yaml sdpo.yaml napo.yaml --seeds 3 --against S-DPO --claim "NAPO > S-DPO by 15%"
    """
    from napo.evaluation.claims import parse_claim, parse_tried
    from napo.recipe import load_recipe

    overrides = [word for word in recipes if is_override(word)]
    paths = [Path(word) for word in recipes if not is_override(word)]
    if not paths:
        raise UserError("no recipes to compare", where="napo compare", remedy="name one or more YAML files")
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise UserError(f"{', '.join(twice)} is named twice", where="napo compare", remedy="name each recipe once")
    claims, budgets = [parse_claim(text) for text in claim or ()], parse_tried(tried or ())
    checked = {path: load_recipe(path, overrides, methods=True) for path in paths}
    from napo.training.compare import compare_recipes
    from napo.training.processes import is_main, leave_ranks
    from napo.training.report import write_comparison

    with Bars() as bars:
        comparison = compare_recipes(
            checked, out, seeds=seeds, base=against, claims=claims, tried=budgets, progress=bars
        )
    if is_main():
        if json:
            stdout().print_json(data=comparison.to_json())
        else:
            stdout().print(*(table.rich() for table in comparison.tables.values()))
        options = [
            *([("--seeds", str(seeds))] if seeds > 1 else []),
            *([("--against", against)] if against else []),
            *(("--claim", text) for text in claim or ()),
            *(("--tried", text) for text in tried or ()),
            ("--out", str(out)),
        ]
        words = [*map(hidden, recipes), *(word for option in options for word in option)]
        report = write_comparison(comparison, out, command=shlex.join(["napo", "compare", *words]))
        stderr().print(f"The report is {report}", markup=False, highlight=False, soft_wrap=True)
    leave_ranks()


def is_override(word: str) -> bool:
    """`sft.lr=1e-3` and not a file, whose name may hold a `=` too."""
    return "=" in word and not Path(word).exists()
