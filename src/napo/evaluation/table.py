"""Results side by side: rows in a fixed order, each against one base row, with how sure that is.

Path    CandidateResult, FullResult, Check -> [evaluation.table] -> terminal, Markdown, JSON
Takes   results by row name, one or one a seed; the name of the base row; the leak checks of the lists
Gives   ResultTable

Rows of one table were judged on the same cases, lists and rules; anything else is refused, for a table that mixes them
compares tasks, not methods. The printed table has room for a few columns; the rest is in the side tables and the JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.errors import UserError, did_you_mean
from napo.evaluation.calibration import Calibration
from napo.evaluation.comparison import (
    Claim,
    ClaimResult,
    Comparison,
    Runs,
    SpreadDifference,
    compare_spread,
    compare_with_base,
    judge_claims,
)
from napo.evaluation.groups import GroupTable, group_tables
from napo.evaluation.leaks import Check, leaked
from napo.evaluation.metrics import PROPORTIONS
from napo.evaluation.results import Result
from napo.evaluation.statistics import (
    Estimate,
    bootstrap_interval,
    bootstrap_intervals,
    seeds_and_cases,
    seeds_and_figures,
)
from napo.evaluation.table_text import SideTable, markdown_table, number, p_value, with_interval

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
class TableRow:
    """One method."""

    name: str
    seeds: int
    metrics: dict[str, Estimate]  # means over cases
    by_user: Estimate  # the compared metric as the mean over users of their means
    figures: dict[str, Estimate]  # figures of all the lists together
    against: Comparison | None  # None: the base row itself, or no base
    expected: dict[str, float] = field(default_factory=dict)  # metrics where equal scores would be shuffled
    calibration: Calibration | None = None


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
    groups: list[GroupTable] = field(default_factory=list)
    claims: list[ClaimResult] = field(default_factory=list)
    spread: list[SpreadDifference] = field(default_factory=list)  # of the challengers, over the whole catalog
    searched: dict[str, int] = field(default_factory=dict)  # settings tried on validation, where they were told

    @property
    def header(self) -> list[str]:
        """The columns' names."""
        against = [f"{self.metric} against {self.base}, paired [95 %]", "p (Holm)"] if self.base else []
        return [
            "method",
            f"{self.metric} [95 %]",
            *self._mean_columns,
            *(f"{name} [95 %]" for name in self._figure_columns),
            *against,
        ]

    @property
    def body(self) -> list[list[str]]:
        """The cells, as text."""
        lines = []
        for row in self.rows:
            means = [number(row.metrics[name].value) for name in self._mean_columns]
            figures = [with_interval(row.figures[name]) for name in self._figure_columns]
            against: list[str] = []
            if self.base:
                other = row.against
                against = [with_interval(other.difference, sign=True), p_value(other.p_holm)] if other else ["", ""]
            name = row.name if row.seeds == 1 else f"{row.name} ({row.seeds} runs)"
            lines.append([name, with_interval(row.metrics[self.metric]), *means, *figures, *against])
        return lines

    @property
    def verdicts(self) -> list[str]:
        """What may be said of each challenger of the base row, and of claims."""
        rows = [f"{row.name} better than {self.base}: {row.against.verdict}" for row in self.challengers if row.against]
        return [*rows, *(claim.line for claim in self.claims)]

    @property
    def footer(self) -> list[str]:
        """Lines below the table: the aims, what could be told apart, the checks, the notes."""
        beside = [f"{name} of {of}" for name in self._mean_columns for of in ("targets", "candidates")]
        aims = "; ".join(f"{name} {number(self.aims[name])}" for name in beside if name in self.aims)
        calibrated = ", ".join(f"{row.name} {row.calibration}" for row in self.rows if row.calibration)
        by_user = ", ".join(f"{row.name} {row.by_user.value:.3f}" for row in self.rows)
        searched = ", ".join(f"{row.name} {self.searched[row.name]}" for row in self.rows if row.name in self.searched)
        return [
            *([f"to read beside: {aims}"] if aims else []),
            f"{self.metric} averaged by user: {by_user}",
            *self._detectable,
            *self._spread,
            *([f"settings tried: {searched}"] if searched else []),
            *([f"ECE of the top candidate: {calibrated}"] if calibrated else []),
            *(group.line for group in self.groups),
            *self.verdicts,
            *(check.line for check in self.checks),
            *self.notes,
        ]

    @property
    def _detectable(self) -> list[str]:
        """The smallest difference that would be found; not from rows that differ alike for every user: no spread."""
        gains = {row.name: row.against.difference for row in self.challengers if row.against}
        reach = [gain.detectable for gain in gains.values() if gain.error > 0]
        ends = [f"{end:.3f}" if end >= 0.0005 else "below 0.001" for end in (min(reach), max(reach))] if reach else []
        found = " to ".join(dict.fromkeys(ends)) or "not known"
        alike = ", ".join(f"{name} ({gain.value:+.3f})" for name, gain in gains.items() if gain.error == 0)
        line = f"smallest true difference these cases would find, at 80 % power: {found}"
        if alike:
            line += f" (it takes users who differ: {alike} is as far from {self.base} for all of them)"
        return [line] if gains else []

    @property
    def _spread(self) -> list[str]:
        """Coverage and Gini against the base row, a line each."""
        cells: dict[str, list[str]] = {}
        for one in self.spread:
            said = f"{one.row} {with_interval(one.difference, sign=True)} p {p_value(one.p_holm)}"
            cells.setdefault(one.figure, []).append(said)
        return [f"{figure} against {self.base}, p (Holm): {', '.join(said)}" for figure, said in cells.items()]

    @property
    def _mean_columns(self) -> list[str]:
        names = self.rows[0].metrics
        wanted = [*[name for name in names if name.startswith("NDCG")][:1], "ValidRatio", "popularity", "tail"]
        return [name for name in wanted if name in names and name != self.metric]

    @property
    def _figure_columns(self) -> list[str]:
        wanted = ("hits/valid (LLaRA)", "coverage", "Gini")
        return [name for name in wanted if all(name in row.figures for row in self.rows)]

    @property
    def sides(self) -> list[SideTable]:
        """What the printed table has no room for: of the lists, and by group."""
        return [
            *([self._of_lists] if "coverage" in self.rows[0].figures else []),
            *(group.side for group in self.groups),
        ]

    @property
    def _of_lists(self) -> SideTable:
        """Popularity, concentration and variety of the lists, a row a figure; in the last column the targets' own."""
        known = [{**row.metrics, **row.figures} for row in self.rows]
        hidden = ("HR@", "NDCG", "MRR", "popularity share")  # said above; the same as popularity, in small numbers
        figures = [name for name in dict.fromkeys(name for row in known for name in row) if not name.startswith(hidden)]
        body = []
        for name in figures:
            aim = self.aims.get(f"{name} of targets")
            cells = [with_interval(row[name]) if name in row else "" for row in known]
            body.append([name, *cells, "" if aim is None else number(aim)])
        return SideTable(
            "Popularity, concentration and variety of the lists",
            ["figure", *(row.name for row in self.rows), "the targets"],
            body,
            ["None is good or bad by itself, and a random ranker wins them all: read them beside the targets' own."],
        )

    @property
    def challengers(self) -> list[TableRow]:
        """The rows that may be better than the base row: those before it in ROW_ORDER are there to be beaten."""
        if self.base is None:
            return []
        return [row for row in self.rows if row.name in challengers([row.name], self.base)]

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
        parts = [f"**{self.heading}**", markdown_table(self.header, self.body)]
        whole = "\n\n".join(parts) + "\n\n" + "\n".join(f"* {line}" for line in self.footer) + "\n"
        return "\n".join([whole, *(side.markdown() for side in self.sides)])

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
            "groups": [asdict(group) for group in self.groups],
            "claims": [asdict(claim) for claim in self.claims],
            "spread": [asdict(one) for one in self.spread],
            "searched": self.searched,
            "notes": self.notes,
        }


def make_table(
    results: Mapping[str, Result | Sequence[Result]],
    *,
    base: str | None = None,
    metric: str | None = None,
    checks: Sequence[Check] = (),
    claims: Sequence[Claim] = (),
    searched: Mapping[str, int] | None = None,
) -> ResultTable:
    """Put results into a table.

    results: by row name, a result or a list of them, one a seed (or a list of candidates). Rows named in ROW_ORDER come
    in that order, others behind them as given. base: the row that the others are compared with, seed by seed; a row of
    one result is compared with it under every seed. metric: compared by this; by default the result's headline.
    claims: stated beforehand. searched: by row, how many settings were tried on validation, for there is no verdict on
    rows for which more or fewer were.
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
    against = compare_with_base(runs, base, metric, searched) if base is not None else {}
    rows = [_row(name, given, metric, against.get(name)) for name, given in runs.items()]
    notes = dict.fromkeys(note for given in runs.values() for result in given for note in result.notes)
    values = {name: [result.metrics[metric] for result in given] for name, given in runs.items()}
    return ResultTable(
        _heading(runs, checks),
        base,
        metric,
        rows,
        first.aims,
        list(checks),
        list(notes),
        group_tables(first.groups, values, first.users, metric),
        judge_claims(claims, runs, metric, searched),
        compare_spread(runs, base, challengers(runs, base)) if base is not None else [],
        dict(searched or {}),
    )


def challengers(names: Iterable[str], base: str) -> list[str]:
    """The rows that do not stand before the base row in ROW_ORDER, less itself."""
    return [name for name in names if name != base and _place(name) >= _place(base)]


def _place(name: str) -> int:
    return ROW_ORDER.index(name) if name in ROW_ORDER else len(ROW_ORDER)


def _check_alike(runs: Runs) -> None:
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


def _heading(runs: Runs, checks: Sequence[Check]) -> str:
    results = [result for given in runs.values() for result in given]
    first = results[0]
    prompts = sorted({result.prompt for result in results if result.prompt is not None})
    parts = [first.conditions["protocol"]]
    parts += [f"prompt {prompts[0]}"] if prompts else []
    parts += [f"{name} {value}" for name, value in first.conditions.items() if name not in ("protocol", "part")]
    parts += [f"lists {_short([result.lists for result in results])}"] if first.lists else []
    parts += [f"{first.users.size:,} {first.conditions['part']} cases of {np.unique(first.users).size:,} {first.unit}"]
    return ("LEAKED: " if leaked(checks) else "") + "; ".join(parts)


def _row(name: str, given: Sequence[Result], metric: str, against: Comparison | None) -> TableRow:
    calibrations = [result.calibration for result in given if result.calibration is not None]
    return TableRow(
        name=name,
        seeds=len(given),
        metrics=_estimates(given),
        by_user=_by_user(given, metric),
        figures=_figures(given),
        expected={one: float(np.mean([result.expected[one].mean() for result in given])) for one in given[0].expected},
        calibration=Calibration.mean(calibrations) if calibrations else None,
        against=against,
    )


def _estimates(given: Sequence[Result]) -> dict[str, Estimate]:
    """Every metric's mean and interval: over users, and over seeds where there are several."""
    users = given[0].users
    if len(given) == 1:
        hits = [name for name in given[0].metrics if name.startswith(PROPORTIONS)]
        return bootstrap_intervals(given[0].metrics, users, proportions=hits, skewed=("AUC",))
    known = [name for name, values in given[0].metrics.items() if not np.isnan(values).all()]
    return {name: seeds_and_cases([result.metrics[name] for result in given], users) for name in known}


def _by_user(given: Sequence[Result], metric: str) -> Estimate:
    users = given[0].users
    if len(given) == 1:
        return bootstrap_interval(given[0].metrics[metric], users, average="user")
    return seeds_and_cases([result.metrics[metric] for result in given], users, average="user")


def _figures(given: Sequence[Result]) -> dict[str, Estimate]:
    """Coverage and its kin; over several seeds those that have a value under each."""
    if len(given) == 1:
        return given[0].figures
    known = [name for name in given[0].figures if all(name in result.figures for result in given)]
    highest = dict.fromkeys(("coverage", "Gini", "relative entropy", "DivRatio", "ORRatio"), 1.0)
    return {
        name: seeds_and_figures(
            [result.figures[name] for result in given],
            low=0.0 if name in highest else -np.inf,
            high=highest.get(name, np.inf),
        )
        for name in known
    }
