"""How sure a figure is: intervals, paired tests, several seeds, and a claim's verdict.

Path    metrics per case -> [evaluation.statistics] -> table
Takes   values (cases,) with the user of each case; for a comparison the differences of two methods on the same cases
Gives   Estimate(value, low, high, error), p values, Verdict

The unit is the user: one person's cases share a taste, and intervals that take them for independent are too narrow
(at five cases a user and an intraclass correlation of 0.19, a 95 % interval covers 86 %). So users are resampled with
all their cases, and signs are flipped by user. Resamples depend on a seed and the number of users alone: all the
methods of a table see the same. Coverage and its kin are left to the jackknife, a resample has fewer distinct users.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.rng import rng_for

Average = Literal["case", "user"]


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval and its standard error, of which `seed_error` is what more cases would not shrink."""

    value: float
    low: float
    high: float
    error: float
    seed_error: float = 0.0
    freedom: int | None = None  # degrees of freedom of Student's t; None: the normal distribution

    @property
    def detectable(self) -> float:
        """Of a paired difference: the smallest true one that data like these find with 80 % power at 5 %."""
        return _reach(0.05, 0.8) * self.error

    def p_value(self) -> float:
        """Two-sided p of the value being 0, from the standard error: for comparisons over several seeds."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * _distribution(self.freedom).sf(abs(self.value) / self.error))


# --- one method, or one paired difference, over one seed ---------------------------------------------------------


def bootstrap_interval(
    values: FloatArray,
    users: IntArray,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    average: Average = "case",
    proportion: bool = False,
) -> Estimate:
    """Percentile interval of a mean over cases (or over users' means) by resampling users.

    proportion: the values are hits and misses of one method (never a difference); see `bootstrap_intervals`.
    """
    proportions = ("value",) if proportion else ()
    return bootstrap_intervals(
        {"value": values},
        users,
        level=level,
        resamples=resamples,
        seed=seed,
        average=average,
        proportions=proportions,
    )["value"]


def bootstrap_intervals(
    columns: Mapping[str, FloatArray],
    users: IntArray,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    average: Average = "case",
    proportions: Container[str] = (),
) -> dict[str, Estimate]:
    """`bootstrap_interval` of several metrics of the same cases, over the same resamples.

    Those named in `proportions` have Wilson's interval where the percentiles' is too short: with fewer than 20 hits
    and one case a user; and with nothing but hits or misses, whose resamples are all alike: there over users, the
    fewest independent trials it can be.
    """
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns.values()], axis=1)  # (cases, columns)
    sums, counts = _by_user(table, users, average)
    means = resampled_means(sums, counts, resamples=resamples, seed=seed)  # (resamples, columns)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    error = means.std(axis=0, ddof=1)
    value = sums.sum(axis=0) / counts.sum()
    estimates = {}
    for place, name in enumerate(columns):
        column, trials = table[:, place], len(counts)
        hits = float(column.sum())
        if name in proportions and (hits in (0.0, column.size) or (hits < 20 and trials == column.size)):
            estimates[name] = wilson_interval(hits / column.size * trials, trials, level=level)
        else:
            estimates[name] = Estimate(float(value[place]), float(low[place]), float(high[place]), float(error[place]))
    return estimates


def resampled_means(sums: FloatArray, counts: FloatArray, *, resamples: int, seed: int) -> FloatArray:
    """(resamples, columns) means: users drawn with replacement, each with all its cases.

    sums: (users, columns), counts: (users,). A resample is a row of how often each user was drawn, so that the means
    are one matrix product.
    """
    users = len(counts)
    rng = rng_for("user bootstrap", seed)
    means = np.empty((resamples, sums.shape[1]))
    block = max(1, 4_000_000 // users)  # rows at a time: memory stays at tens of megabytes
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, users, size=(rows, users)) + users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float64)
        means[start : start + rows] = (times @ sums) / (times @ counts)[:, None]
    return means


def wilson_interval(hits: float, trials: int, *, level: float = 0.95) -> Estimate:
    """Wilson's interval of a proportion of independent trials; right where hits are few or none."""
    z = float(stats.norm.isf((1 - level) / 2))
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * float(np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(share, 0.0 if hits == 0 else low, 1.0 if hits == trials else high, half / z)


def jackknife_interval(
    lists: IntArray,
    users: IntArray,
    items: int,
    statistic: Callable[[IntArray], float],
    *,
    level: float = 0.95,
    groups: int = 1000,
) -> Estimate:
    """Interval of a statistic of recommendation counts (coverage, Gini) by leaving out one user at a time.

    lists: (cases, k), -1 where shorter. statistic: of counts (items,). SE^2 = (U - 1)/U sum_u (theta_u - mean theta)^2.
    Above `groups` users, so many groups of users are left out instead.
    """
    _, person = np.unique(users, return_inverse=True)
    parts = min(int(person.max()) + 1, groups)
    order = np.argsort(person % parts, kind="stable")
    edges = np.searchsorted((person % parts)[order], np.arange(parts + 1))
    counts = np.bincount(lists[lists >= 0].astype(np.int64), minlength=items)
    left = np.empty(parts)
    for part in range(parts):
        mine = lists[order[edges[part] : edges[part + 1]]]
        left[part] = statistic(counts - np.bincount(mine[mine >= 0].astype(np.int64), minlength=items))
    value = statistic(counts)
    error = float(np.sqrt((parts - 1) / parts * ((left - left.mean()) ** 2).sum()))
    half = float(stats.norm.isf((1 - level) / 2)) * error
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), error)


# --- two methods on the same cases -------------------------------------------------------------------------------


def sign_flip_p(
    differences: FloatArray,
    users: IntArray,
    *,
    flips: int = 10_000,
    seed: int = 0,
    average: Average = "case",
) -> float:
    """Two-sided p of a paired difference: each user's difference keeps or changes its sign at random.

    p = (1 + #{|T*| >= |T|}) / (flips + 1); exact, over all the patterns of signs, where these are no more than `flips`.
    """
    sums, _ = _by_user(np.asarray(differences, dtype=np.float64)[:, None], users, average)
    # the number of cases does not change when a sign does, so the sum tells what the mean would
    moving = sums[:, 0][sums[:, 0] != 0]
    if not moving.size:
        return 1.0
    reached = abs(moving.sum()) - 1e-9 * np.abs(moving).sum()  # equal sums may differ in their last bits
    if moving.size < 62 and 2**moving.size <= flips:
        patterns = (np.arange(2**moving.size)[:, None] >> np.arange(moving.size)) & 1
        return float((np.abs((2 * patterns - 1) @ moving) >= reached).mean())
    rng = rng_for("sign flips", seed)
    hits, block = 0, max(1, 4_000_000 // moving.size)
    for start in range(0, flips, block):
        signs = rng.integers(0, 2, size=(min(block, flips - start), moving.size), dtype=np.int8)
        hits += int((np.abs(2.0 * (signs.astype(np.float64) @ moving) - moving.sum()) >= reached).sum())
    return (1 + hits) / (flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several comparisons, in the order given."""
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for place, which in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[which]))
        adjusted[which] = worst
    return adjusted


# --- several seeds -----------------------------------------------------------------------------------------------


def seeds_and_cases(
    values: Sequence[FloatArray], users: IntArray, *, level: float = 0.95, average: Average = "case"
) -> Estimate:
    """A mean over seeds with both kinds of chance in its interval: which users, and which seeds.

        SE^2 = Var_u(D_u.)/U + Var_s(D_.s)/S - MS_e/(U S),   at least Var_u(D_u.)/U

    values: one (cases,) array a seed, metrics or paired differences (seed s against seed s, from one start and lists).
    D_us is user u's value under seed s, MS_e the mean square of what user and seed leave unexplained. Student's t with
    S - 1 degrees of freedom where the seeds' part is more than half, for then a few seeds decide; else the normal.
    """
    by_user = np.stack([_user_influence(column, users, average) for column in values], axis=1)  # (users, seeds)
    people, seeds = by_user.shape
    if seeds < 2 or people < 2:
        raise UserError(
            f"{seeds} seeds and {people} users tell nothing of their spread", remedy="give two or more of each"
        )
    user_means, seed_means = by_user.mean(axis=1), by_user.mean(axis=0)
    residual = by_user - user_means[:, None] - seed_means + by_user.mean()
    mean_square = float((residual**2).sum() / ((people - 1) * (seeds - 1)))
    cases_part = float(user_means.var(ddof=1)) / people
    total = max(cases_part + float(seed_means.var(ddof=1)) / seeds - mean_square / (people * seeds), cases_part)
    freedom = seeds - 1 if total - cases_part > total / 2 else None
    value, error = float(by_user.mean()), float(np.sqrt(total))
    half = float(_distribution(freedom).isf((1 - level) / 2)) * error
    return Estimate(value, value - half, value + half, error, float(np.sqrt(total - cases_part)), freedom)


# --- planning and judging ----------------------------------------------------------------------------------------


def detectable_difference(
    differing: float, cases: int, *, design_effect: float = 1.0, level: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true difference that a paired test of `cases` cases finds with `power`.

    differing: the share of cases where the methods differ. design_effect: 1 + (cases a user - 1) x their correlation.
    """
    return _reach(level, power) * float(np.sqrt(differing * design_effect / cases))


def cases_needed(
    difference: float, differing: float, *, design_effect: float = 1.0, level: float = 0.05, power: float = 0.8
) -> int:
    """How many cases a paired test needs to find `difference`: the inverse of `detectable_difference`."""
    return round(_reach(level, power) ** 2 * differing * design_effect / difference**2)


def design_effect(values: FloatArray, users: IntArray) -> float:
    """The variance of the mean over users' cases, over what independent cases would give; measured, about 1 or more."""
    spread = float(np.var(values, ddof=1)) / values.size if values.size > 1 else 0.0
    influence = _user_influence(np.asarray(values, dtype=np.float64), users, "case")
    return float(influence.var(ddof=1)) / influence.size / spread if spread > 0 and influence.size > 1 else 1.0


@dataclass(frozen=True)
class Verdict:
    """What a comparison says of "A beats B by more than a margin"."""

    word: Literal["held", "not held", "undecided"]
    cases_needed: int | None = None  # undecided: so many cases would decide; None: no number would, more seeds might

    def __str__(self) -> str:
        if self.word != "undecided":
            return self.word
        return f"undecided, {self.cases_needed:,} cases would decide" if self.cases_needed else "undecided, more seeds"


def verdict(
    difference: Estimate, p_adjusted: float, *, cases: int, margin: float = 0.0, negligible: float = 0.01
) -> Verdict:
    """held: low > margin and p < .05;  not held: high < max(margin, negligible);  else undecided. In this order.

    Below `negligible` (0.01 of HR) a gain is too small to matter. The cases that would decide are reckoned from the
    difference seen and 80 % power, towards the nearer of the two answers.
    """
    bar = max(margin, negligible)
    if difference.low > margin and p_adjusted < 0.05:
        return Verdict("held")
    if difference.high < bar:
        return Verdict("not held")
    gap = max(difference.value - margin, bar - difference.value)
    # solve (variance by cases x cases/n + variance by seeds) = (gap/2.8)^2 for n
    room = (gap / _reach(0.05, 0.8)) ** 2 - difference.seed_error**2
    by_cases = difference.error**2 - difference.seed_error**2
    if room <= 0:
        return Verdict("undecided")
    return Verdict("undecided", max(cases + 1, int(np.ceil(cases * by_cases / room))))


def _reach(level: float, power: float) -> float:
    """How many standard errors a true difference must measure: 2.802 for 5 % and 80 %."""
    return float(stats.norm.isf(level / 2) + stats.norm.isf(1 - power))


def _distribution(freedom: int | None) -> Any:
    return stats.norm() if freedom is None else stats.t(freedom)


def _by_user(table: FloatArray, users: IntArray, average: Average) -> tuple[FloatArray, FloatArray]:
    """Sums (users, columns) and counts (users,) whose quotient of totals is the mean over cases, or over users."""
    _, person = np.unique(users, return_inverse=True)
    counts: FloatArray = np.bincount(person).astype(np.float64)
    sums: FloatArray = np.stack([np.bincount(person, weights=column) for column in table.T], axis=1)
    return (sums, counts) if average == "case" else (sums / counts[:, None], np.ones_like(counts))


def _user_influence(values: FloatArray, users: IntArray, average: Average) -> FloatArray:
    """(users,) numbers whose mean is the mean of interest and whose spread is its standard error x sqrt(users).

    With equally many cases a user they are the users' means. Else a mean over cases is a quotient, and a user with
    more cases pulls more: mean + (sum_u - mean n_u) / (cases / users).
    """
    sums, counts = _by_user(values[:, None], users, average)
    mean = sums.sum() / counts.sum()
    return np.asarray(mean + (sums[:, 0] - mean * counts) / counts.mean())
