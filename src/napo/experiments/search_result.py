"""What a search came to: every trial, the best of each method, and the budget that a table has to carry.

Path    experiments.search -> [experiments.search_result] -> search.json, METHOD.best.yaml, a printed table
Takes   trials of each method
Gives   SearchResult
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napo.experiments.search_file import Method
from napo.files import write_aside

if TYPE_CHECKING:
    from rich.table import Table

RESULT = "search.json"
State = Literal["done", "pruned", "failed"]


@dataclass(frozen=True)
class Tried:
    """One trial. value: NDCG on validation at its best look; None where it was stopped. looks: from the start on."""

    number: int
    state: State
    settings: Mapping[str, Any]
    value: float | None = None
    looks: tuple[float, ...] = ()
    reason: str | None = None  # why it failed


@dataclass(frozen=True)
class MethodResult:
    """name: of the recipe's file; row: what tables call it. Trial 0 is the recipe as written."""

    name: str
    row: str
    space: Mapping[str, str]
    trials: tuple[Tried, ...]

    @property
    def written(self) -> Tried:
        return self.trials[0]

    @property
    def best(self) -> Tried | None:
        """The best of the trials that went to their end, of equals the first; None where none did."""
        done = [tried for tried in self.trials if tried.value is not None]
        return max(done, key=lambda tried: (tried.value, -tried.number), default=None)

    def count(self, state: State) -> int:
        return Counter(tried.state for tried in self.trials)[state]

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "space": dict(self.space),
            "best": None if self.best is None else self.best.number,
            "trials": [
                {
                    "number": tried.number,
                    "state": tried.state,
                    "value": tried.value,
                    "settings": dict(tried.settings),
                    "looks": list(tried.looks),
                    **({} if tried.reason is None else {"reason": tried.reason}),
                }
                for tried in self.trials
            ],
        }


@dataclass(frozen=True)
class SearchResult:
    """trials: the budget of each method. file: the search file, as it was named."""

    file: str
    trials: int
    seed: int
    methods: tuple[MethodResult, ...] = field(default_factory=tuple)

    @property
    def searched(self) -> dict[str, int]:
        """By row, how many settings were tried: what `evaluation.table.make_table` takes."""
        return {method.row: len(method.trials) for method in self.methods}

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "seed": self.seed,
            "metric": "NDCG on validation, best look",
            "budget": self.trials,
            "searched": self.searched,
            "methods": {method.name: method.to_json() for method in self.methods},
        }

    def table(self) -> "Table":
        from rich.table import Table

        table = Table(title=f"{self.trials} trials a method, NDCG on validation", title_justify="left")
        table.add_column("method")
        for name in ("done", "pruned", "failed", "as written", "best", "gain"):
            table.add_column(name, justify="right")
        table.add_column("best settings")
        for method in self.methods:
            counts = [str(method.count(state)) for state in ("done", "pruned", "failed")]
            before, best = method.written.value, method.best
            figures = [_figure(before), _figure(best.value if best else None)]
            gain = "" if best is None or best.value is None or before is None else f"{best.value - before:+.4f}"
            table.add_row(method.row, *counts, *figures, gain, _chosen(best))
        return table

    def failures(self) -> list[str]:
        """A line for each trial that failed, with its reason and settings."""
        return [
            f"{method.row}, trial {tried.number} failed: {tried.reason} ({in_words(tried.settings)})"
            for method in self.methods
            for tried in method.trials
            if tried.state == "failed"
        ]


def write_result(result: SearchResult, methods: Mapping[str, Method], out: Path) -> None:
    """search.json, and METHOD.best.yaml of every method of which a trial went to its end."""
    for found in result.methods:
        if found.best is not None:
            with write_aside(out / f"{found.name}.best.yaml") as aside:
                aside.write_text(_best_recipe(found, methods[found.name], result), encoding="utf-8")
    with write_aside(out / RESULT) as aside:
        aside.write_text(json.dumps(result.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")


def _best_recipe(found: MethodResult, method: Method, result: SearchResult) -> str:
    """The recipe as one file that stands alone, headed by where it comes from."""
    best = found.best
    assert best is not None
    recipe = method.recipe if best.number == 0 else method.with_values(best.settings)
    counts = ", ".join(f"{found.count(state)} {state}" for state in ("done", "pruned", "failed"))
    said = [
        f"The best of {len(found.trials)} trials of {found.name} on validation ({counts}); seed {result.seed}",
        f"napo search {result.file}",
        f"NDCG {_figure(best.value)} in trial {best.number}; the recipe as written: {_figure(found.written.value)}",
        *(f"{key}: {json.dumps(best.settings[key])} of {space}" for key, space in found.space.items()),
    ]
    # a name may hold anything, a line's end too
    head = "".join(f"# {' '.join(line.split())}\n" for line in said)
    return head + recipe.resolved_yaml()


def in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())


def _chosen(best: Tried | None) -> str:
    if best is None:
        return "no trial went to its end"
    return "as written" if best.number == 0 else in_words(best.settings)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
