"""Results side by side: rows in a fixed order, each against one base row, with how sure that is.

Path    CandidateResult, FullResult, Check -> [evaluation.table] -> terminal, Markdown, JSON
Takes   results by row name, one or one a seed; the name of the base row; the leak checks of the lists
Gives   ResultTable

Rows of one table were judged on the same cases, lists and rules; anything else is refused, for a table that mixes them
compares tasks, not methods. One seed: intervals resample users, p is the sign-flip test's. Several: seeds and cases
both count. p is Holm's over all the rows of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.arrays import FloatArray
from napo.errors import UserError, did_you_mean
from napo.evaluation.leaks import Check, leaked
from napo.evaluation.results import Result
from napo.evaluation.statistics import (
    Estimate,
    Verdict,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    seeds_and_cases,
    sign_flip_p,
    verdict,
)

if TYPE_CHECKING:
    from rich.table import Table

ROW_ORDER = (
    "chance",
    "blind slot rule",
    "popularity",
    "SASRec",
    "SFT",
    "SFT longer",
    "DPO",
    "S-DPO",
    "NAPO",
)


@dataclass(frozen=True)
class Comparison:
    """A row against the base row, paired case by case."""

    difference: Estimate
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class TableRow:
    """One method."""

    name: str
    seeds: int
    metrics: dict[str, Estimate]  # means over cases
    by_user: Estimate  # the compared metric as the mean over users of their means
    figures: dict[str, Estimate]  # figures of all the lists together
    against: Comparison | None  # None: the base row itself, or no base


@dataclass(frozen=True)
class ResultTable:
    """Rows, and everything a reader must know to read them."""

    heading: str
    base: str | None
    metric: str  # that rows are compared by
    rows: list[TableRow]
    aims: dict[str, float]  # what the targets themselves would have
    checks: list[Check]
    notes: list[str]

    @property
    def header(self) -> list[str]:
        """The columns' names."""
        first = self.rows[0]
        against = [f"{self.metric} against {self.base}, paired [95 %]", "p (Holm)"] if self.base else []
        return [
            "method",
            f"{self.metric} [95 %]",
            *self._mean_columns,
            *(f"{name} [95 %]" for name in first.figures),
            *against,
        ]

    @property
    def body(self) -> list[list[str]]:
        """The cells, as text."""
        lines = []
        for row in self.rows:
            means = [_number(row.metrics[name].value) for name in self._mean_columns]
            figures = [_with_interval(figure) for figure in row.figures.values()]
            against: list[str] = []
            if self.base:
                other = row.against
                against = [_with_interval(other.difference, sign=True), _p(other.p_holm)] if other else ["", ""]
            name = row.name if row.seeds == 1 else f"{row.name} ({row.seeds} runs)"
            lines.append([name, _with_interval(row.metrics[self.metric]), *means, *figures, *against])
        return lines

    @property
    def verdicts(self) -> list[str]:
        """What may be said of each row below the base row; what stands above it is there to be beaten."""
        return [f"{row.name} better than {self.base}: {row.against.verdict}" for row in self._below_base if row.against]

    @property
    def footer(self) -> list[str]:
        """Lines below the table: the aims, what could be told apart, the checks, the notes."""
        aims = "; ".join(f"{name} {_number(value)}" for name, value in self.aims.items())
        reach = [row.against.difference.detectable for row in self._below_base if row.against]
        ends = " to ".join(dict.fromkeys(f"{end:.3f}" for end in (min(reach), max(reach)))) if reach else ""
        smallest = [f"smallest true difference these cases would find, at 80 % power: {ends}"] if reach else []
        by_user = ", ".join(f"{row.name} {row.by_user.value:.3f}" for row in self.rows)
        return [
            f"to read beside: {aims}",
            f"{self.metric} averaged by user: {by_user}",
            *smallest,
            *self.verdicts,
            *(check.line for check in self.checks),
            *self.notes,
        ]

    @property
    def _mean_columns(self) -> list[str]:
        names = self.rows[0].metrics
        wanted = [*[name for name in names if name.startswith("NDCG")][:1], "ValidRatio", "popularity", "tail"]
        return [name for name in wanted if name in names and name != self.metric]

    @property
    def _below_base(self) -> list[TableRow]:
        names = [row.name for row in self.rows]
        return self.rows[names.index(self.base) + 1 :] if self.base else []

    def rich(self) -> Table:
        """For the terminal."""
        from rich.table import Table

        table = Table(title=self.heading, caption="\n".join(self.footer), caption_justify="left", title_justify="left")
        for place, name in enumerate(self.header):
            table.add_column(name, justify="left" if place == 0 else "right")
        for line in self.body:
            table.add_row(*line)
        return table

    def markdown(self) -> str:
        """For a results page."""
        align = ["---", *("---:" for _ in self.header[1:])]
        lines = [self.header, align, *self.body]
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
        return f"**{self.heading}**\n\n{table}\n\n" + "\n".join(f"* {line}" for line in self.footer) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All figures with their intervals and errors, also those the printed table has no room for."""
        return {
            "heading": self.heading,
            "base": self.base,
            "metric": self.metric,
            "leaked": leaked(self.checks),
            "rows": [asdict(row) for row in self.rows],
            "aims": self.aims,
            "checks": [check.to_json() for check in self.checks],
            "notes": self.notes,
        }


def make_table(
    results: Mapping[str, Result | Sequence[Result]],
    *,
    base: str | None = None,
    metric: str | None = None,
    checks: Sequence[Check] = (),
) -> ResultTable:
    """Put results into a table.

    results: by row name, a result or a list of them, one a seed (or a list of candidates). Rows named in ROW_ORDER come
    in that order, others behind them as given. base: the row that the others are compared with, seed by seed; a row of
    one result is compared with it under every seed. metric: compared by this; by default the result's headline.
    """
    if not results:
        raise UserError("no results to put into a table")
    runs = {name: list(given) if isinstance(given, Sequence) else [given] for name, given in results.items()}
    runs = {name: runs[name] for name in sorted(runs, key=_place)}
    if empty := [name for name, given in runs.items() if not given]:
        raise UserError(f"row {empty[0]!r} has no result")
    if base is not None and base not in runs:
        raise UserError(f"no row {base!r} to compare with", remedy=did_you_mean(base, runs))
    first = next(iter(runs.values()))[0]
    _check_alike(runs)
    metric = metric or first.headline
    if metric not in first.metrics:
        raise UserError(f"no metric {metric!r}", remedy=did_you_mean(metric, first.metrics))
    against = _comparisons(runs, base, metric) if base is not None else {}
    rows = [
        TableRow(name, len(given), _estimates(given), _by_user(given, metric), _figures(given), against.get(name))
        for name, given in runs.items()
    ]
    notes = dict.fromkeys(note for given in runs.values() for result in given for note in result.notes)
    return ResultTable(_heading(runs, checks), base, metric, rows, first.aims, list(checks), list(notes))


def _place(name: str) -> int:
    return ROW_ORDER.index(name) if name in ROW_ORDER else len(ROW_ORDER)


def _check_alike(runs: Mapping[str, Sequence[Result]]) -> None:
    """The same conditions, cases and lists in every row; language models asked in one way."""
    first_name, first = next((name, given[0]) for name, given in runs.items())
    lists = {name: [result.lists for result in given] for name, given in runs.items()}
    prompts: dict[str, str] = {}
    for name, given in runs.items():
        for result in given:
            for what in dict.fromkeys([*first.conditions, *result.conditions]):
                ours, theirs = first.conditions.get(what), result.conditions.get(what)
                if ours != theirs:
                    raise _mixed(what, f"{first_name}: {ours}; {name}: {theirs}")
            if not (np.array_equal(result.users, first.users) and np.array_equal(result.targets, first.targets)):
                raise _mixed("cases", f"{first_name}: {first.users.size:,}; {name}: {result.users.size:,}")
            if result.prompt is not None:
                prompts.setdefault(result.prompt, name)
        # one list for all seeds, or one each: but the same ones in every row
        if sorted(set(map(str, lists[name]))) != sorted(set(map(str, lists[first_name]))):
            raise _mixed("candidate lists", f"{first_name}: {_short(lists[first_name])}; {name}: {_short(lists[name])}")
    if len(prompts) > 1:
        raise _mixed("prompt", "; ".join(f"{name}: {kind}" for kind, name in prompts.items()))


def _mixed(what: str, where: str) -> UserError:
    return UserError(
        f"rows of one table differ in {what}: they were judged on different tasks",
        where=where,
        remedy="judge them alike, or make a table of each",
    )


def _short(digests: Sequence[str | None]) -> str:
    return ", ".join(dict.fromkeys(str(digest)[:12] for digest in digests))


def _heading(runs: Mapping[str, Sequence[Result]], checks: Sequence[Check]) -> str:
    results = [result for given in runs.values() for result in given]
    first = results[0]
    prompts = sorted({result.prompt for result in results if result.prompt is not None})
    parts = [first.conditions["protocol"]]
    parts += [f"prompt {prompts[0]}"] if prompts else []
    parts += [f"{name} {value}" for name, value in first.conditions.items() if name not in ("protocol", "part")]
    parts += [f"lists {_short([result.lists for result in results])}"] if first.lists else []
    parts += [f"{first.users.size:,} {first.conditions['part']} cases of {np.unique(first.users).size:,} {first.unit}"]
    return ("LEAKED: " if leaked(checks) else "") + "; ".join(parts)


def _estimates(given: Sequence[Result]) -> dict[str, Estimate]:
    """Every metric's mean and interval: over users, and over seeds where there are several."""
    users = given[0].users
    if len(given) == 1:
        hits = [name for name in given[0].metrics if name.startswith("HR@")]
        return bootstrap_intervals(given[0].metrics, users, proportions=hits)
    return {name: seeds_and_cases([result.metrics[name] for result in given], users) for name in given[0].metrics}


def _by_user(given: Sequence[Result], metric: str) -> Estimate:
    users = given[0].users
    if len(given) == 1:
        return bootstrap_interval(given[0].metrics[metric], users, average="user")
    return seeds_and_cases([result.metrics[metric] for result in given], users, average="user")


def _figures(given: Sequence[Result]) -> dict[str, Estimate]:
    """Coverage and its kin: the mean over seeds, whose spread is added to the mean of the jackknife's variances."""
    if len(given) == 1:
        return given[0].figures
    merged = {}
    for name in given[0].figures:
        each = [result.figures[name] for result in given]
        value = float(np.mean([one.value for one in each]))
        by_seed = float(np.var([one.value for one in each], ddof=1)) / len(each)
        error = float(np.sqrt(np.mean([one.error**2 for one in each]) + by_seed))
        low, high = max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error)
        merged[name] = Estimate(value, low, high, error, float(np.sqrt(by_seed)))
    return merged


def _comparisons(runs: Mapping[str, Sequence[Result]], base: str, metric: str) -> dict[str, Comparison]:
    users = runs[base][0].users
    found: dict[str, tuple[Estimate, float]] = {}
    for name, given in runs.items():
        if name == base:
            continue
        differences = _paired(name, given, base, runs[base], metric)
        if len(differences) == 1:
            found[name] = bootstrap_interval(differences[0], users), sign_flip_p(differences[0], users)
        else:
            estimate = seeds_and_cases(differences, users)
            found[name] = estimate, estimate.p_value()
    adjusted = holm([p for _, p in found.values()])
    return {
        name: Comparison(
            difference=estimate,
            p=p,
            p_holm=p_holm,
            verdict=verdict(estimate, p_holm, cases=users.size),
        )
        for (name, (estimate, p)), p_holm in zip(found.items(), adjusted, strict=True)
    }


def _paired(name: str, given: Sequence[Result], base: str, others: Sequence[Result], metric: str) -> list[FloatArray]:
    """Row less base, seed by seed; a row of one result meets every seed of the other."""
    if len(given) != len(others) and 1 not in (len(given), len(others)):
        raise UserError(
            f"{name!r} has {len(given)} seeds and {base!r} {len(others)}",
            remedy="give both the same seeds in the same order, or one of them a single result",
        )
    seeds = max(len(given), len(others))
    ours, theirs = ([*rows] * seeds if len(rows) == 1 else [*rows] for rows in (given, others))
    return [mine.metrics[metric] - its.metrics[metric] for mine, its in zip(ours, theirs, strict=True)]


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    form = "{:+.3f}" if sign else "{:.3f}"
    value, low, high = (form.format(x) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}"
