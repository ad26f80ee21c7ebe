"""Rows of a table against each other: paired differences, ratios, and what may be claimed.

Path    results by row -> [evaluation.comparison] -> table
Takes   results of the same cases by row name, one or one a seed
Gives   Comparison of each row with a base row; ClaimResult of claims that were stated beforehand; SpreadDifference

One seed: intervals resample users, p is the sign-flip test's. Several: seeds and cases both count. p is Holm's over
all the comparisons made together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError, did_you_mean
from napo.evaluation.bias_report import list_figures
from napo.evaluation.paired import holm, sign_flip_p, swap_lists_p
from napo.evaluation.results import FullResult, Result
from napo.evaluation.statistics import (
    Estimate,
    ListFigure,
    bootstrap_interval,
    function_interval,
    jackknife_intervals,
    seeds_and_cases,
    seeds_and_figures,
)
from napo.evaluation.verdicts import Verdict, ratio_verdict, unequal_search, verdict

Runs = Mapping[str, Sequence[Result]]
SPREAD = ("coverage", "Gini")  # the figures of all the lists together that rows are compared by


@dataclass(frozen=True)
class Comparison:
    """A row against the base row, paired case by case."""

    difference: Estimate
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class Claim:
    """ "`better` beats `worse` by `margin`", or, where `ratio` is given, "is `ratio` times as good": 1.15 for +15 %.

    metric: None is the table's.
    """

    better: str
    worse: str
    margin: float = 0.0
    ratio: float | None = None
    metric: str | None = None

    def __str__(self) -> str:
        percent = None if self.ratio is None else f" by {100 * (self.ratio - 1):g}%"
        size = percent or (f" by {self.margin:g}" if self.margin else "")
        return f"{self.better} better than {self.worse}{size}" + (f" ({self.metric})" if self.metric else "")


@dataclass(frozen=True)
class ClaimResult:
    """What came of a claim. estimate: the difference, or the ratio; None: a ratio to 0."""

    claim: Claim
    estimate: Estimate | None
    p: float
    p_holm: float
    verdict: Verdict

    @property
    def line(self) -> str:
        """The claim, the verdict and its figures."""
        return f"{self.claim}: {self.verdict}" + (f" ({self.figures})" if self.figures else "")

    @property
    def figures(self) -> str:
        """`+0.012 [0.003, 0.021]`, or `x1.15 [1.02, 1.28]`; empty where there is none."""
        if self.estimate is None:
            return ""
        form, times = ("{:.3f}", "x") if self.claim.ratio is not None else ("{:+.3f}", "")
        value, low, high = (form.format(end) for end in (self.estimate.value, self.estimate.low, self.estimate.high))
        return f"{times}{value} [{low}, {high}]"


@dataclass(frozen=True)
class SpreadDifference:
    """How far a figure of all the lists of a row together (coverage, Gini) is from the base row's."""

    row: str
    figure: str
    difference: Estimate
    p: float
    p_holm: float


def compare_with_base(
    runs: Runs, base: str, metric: str, searched: Mapping[str, int] | None = None
) -> dict[str, Comparison]:
    """Every other row against the base.

    searched: by row, how many settings were tried on validation; where two rows of it differ there is no verdict.
    """
    users = runs[base][0].users
    found = {name: _difference(paired_differences(runs, name, base, metric), users) for name in runs if name != base}
    adjusted = holm([p for _, p in found.values()])
    return {
        name: Comparison(
            estimate,
            p,
            p_holm,
            _unequal(searched, name, base) or verdict(estimate, p_holm, cases=users.size, of=len(found)),
        )
        for (name, (estimate, p)), p_holm in zip(found.items(), adjusted, strict=True)
    }


def judge_claims(
    claims: Sequence[Claim], runs: Runs, metric: str, searched: Mapping[str, int] | None = None
) -> list[ClaimResult]:
    """All the claims, Holm over them together. The p of a ratio is that of the difference: of there being any."""
    measured = []
    for claim in claims:
        asked = claim.metric or metric
        for name in (claim.better, claim.worse):
            if name not in runs:
                raise UserError(f"no row {name!r} to claim something of", remedy=did_you_mean(name, runs))
        users = runs[claim.better][0].users
        difference, p = _difference(paired_differences(runs, claim.better, claim.worse, asked), users)
        estimate = _ratio(runs, claim, asked) if claim.ratio is not None else difference
        measured.append((estimate, p, users.size))
    adjusted = holm([p for _, p, _ in measured])
    results = []
    for claim, (estimate, p, cases), p_holm in zip(claims, measured, adjusted, strict=True):
        if estimate is None:
            said = Verdict("no verdict", reason="nothing is a multiple of 0")
        elif claim.ratio is not None:
            said = ratio_verdict(estimate, p_holm, cases=cases, claimed=claim.ratio, of=len(claims))
        else:
            said = verdict(estimate, p_holm, cases=cases, margin=claim.margin, of=len(claims))
        unequal = _unequal(searched, claim.better, claim.worse)
        results.append(ClaimResult(claim, estimate, p, p_holm, unequal or said))
    return results


def compare_spread(runs: Runs, base: str, names: Sequence[str]) -> list[SpreadDifference]:
    """Coverage and Gini of the named rows against the base row's, Holm over all of them; of the whole catalog alone.

    One seed: p is that of users' lists swapped. Several: seeds and users both count.
    """
    asked = [(name, figure, spread_difference(runs, name, base, figure)) for figure in SPREAD for name in names]
    measured = [(name, figure, *found) for name, figure, found in asked if found is not None]
    adjusted = holm([p for *_, p in measured])
    return [SpreadDifference(*one, p_holm) for one, p_holm in zip(measured, adjusted, strict=True)]


def spread_difference(runs: Runs, name: str, other: str, figure: str) -> tuple[Estimate, float] | None:
    """Row less other row in a figure of all the lists together, and its p; None: not lists of the whole catalog."""
    results = _paired(runs, name, other)
    pairs = [(a, b) for a, b in results if isinstance(a, FullResult) and isinstance(b, FullResult)]
    if not pairs:
        return None
    if len(pairs) == 1:
        return compare_lists(*pairs[0], figure)
    highest = list_figures(pairs[0][0].items)[figure].highest
    each = [_list_difference(mine, its, figure) for mine, its in pairs]
    estimate = seeds_and_figures(each, low=-highest, high=highest)
    return estimate, estimate.p_value()


def compare_lists(
    first: FullResult, second: FullResult, figure: str, *, swaps: int | None = None
) -> tuple[Estimate, float]:
    """The difference of a figure of all the lists together (`coverage`, `Gini`), and its p by swapping users' lists.

    The interval is the jackknife's. swaps: None for 10,000, of more than 2,000 items fewer, but 1,000 at least; they
    take about a second for each figure. Raises UserError where the cases are not the same.
    """
    if not (np.array_equal(first.users, second.users) and np.array_equal(first.targets, second.targets)):
        raise UserError(f"{first.scorer} and {second.scorer} were judged on different cases")
    figures = list_figures(first.items)
    if figure not in figures:
        raise UserError(f"no figure {figure!r} of lists", remedy=did_you_mean(figure, figures))
    swaps = swaps or min(10_000, max(1_000, 20_000_000 // first.items))
    p = swap_lists_p(first.top, second.top, first.users, first.items, figures[figure].of, swaps=swaps)
    return _list_difference(first, second, figure), p


def _list_difference(first: FullResult, second: FullResult, figure: str) -> Estimate:
    """The jackknife's interval of the difference: both lists of a user are left out together."""
    items, known = first.items, list_figures(first.items)[figure]
    # side by side, the second's items under ids of their own: a figure of both counts at once
    both = np.concatenate([first.top, np.where(second.top >= 0, second.top + items, -1)], axis=1)
    gap = ListFigure(lambda counts: known.of(counts[:items]) - known.of(counts[items:]), known.highest, -known.highest)
    return jackknife_intervals(both, first.users, 2 * items, {figure: gap})[figure]


def paired_differences(runs: Runs, name: str, other: str, metric: str) -> list[FloatArray]:
    """Row less other row, seed by seed."""
    return [mine - its for mine, its in _pairs(runs, name, other, metric)]


def _pairs(runs: Runs, name: str, other: str, metric: str) -> list[tuple[FloatArray, FloatArray]]:
    """The values of both rows seed by seed."""
    if metric not in runs[name][0].metrics:
        raise UserError(f"no metric {metric!r}", remedy=did_you_mean(metric, runs[name][0].metrics))
    return [(mine.metrics[metric], its.metrics[metric]) for mine, its in _paired(runs, name, other)]


def _paired(runs: Runs, name: str, other: str) -> list[tuple[Result, Result]]:
    """The results of both rows seed by seed; a row of one result meets every seed of the other."""
    given, others = runs[name], runs[other]
    if len(given) != len(others) and 1 not in (len(given), len(others)):
        raise UserError(
            f"{name!r} has {len(given)} seeds and {other!r} {len(others)}",
            remedy="give both the same seeds in the same order, or one of them a single result",
        )
    seeds = max(len(given), len(others))
    ours, theirs = ([*rows] * seeds if len(rows) == 1 else [*rows] for rows in (given, others))
    return list(zip(ours, theirs, strict=True))


def _difference(differences: Sequence[FloatArray], users: IntArray) -> tuple[Estimate, float]:
    if len(differences) == 1:
        return bootstrap_interval(differences[0], users), sign_flip_p(differences[0], users)
    estimate = seeds_and_cases(differences, users)
    return estimate, estimate.p_value()


def _ratio(runs: Runs, claim: Claim, metric: str) -> Estimate | None:
    """Mean over mean; None over 0.

    One seed: BCa. Several: what a case pulls at the ratio, (a - ratio b) / mean b, in place of a.
    """
    pairs = _pairs(runs, claim.better, claim.worse, metric)
    users = runs[claim.better][0].users
    below = float(np.mean([theirs for _, theirs in pairs]))
    if below == 0:
        return None
    if len(pairs) == 1:
        return function_interval(np.stack(pairs[0], axis=1), users, lambda totals: totals[..., 0] / totals[..., 1])
    ratio = float(np.mean([ours for ours, _ in pairs])) / below
    return seeds_and_cases([ratio + (ours - ratio * theirs) / below for ours, theirs in pairs], users)


def _unequal(searched: Mapping[str, int] | None, name: str, other: str) -> Verdict | None:
    if searched is None or name not in searched or other not in searched or searched[name] == searched[other]:
        return None
    return unequal_search(searched[name], searched[other])
