"""How sure a figure is: the interval of one method, of one paired difference, over one seed or several.

Path    metrics per case -> [evaluation.statistics] -> paired, verdicts, table
Takes   values (cases,) with the user of each case; NaN where a case has no value: left out, neither 0 nor 1
Gives   Estimate(value, low, high, error)

The unit is the user: one person's cases share a taste, and intervals that take them for independent are too narrow
(at five cases a user and an intraclass correlation of 0.19, a 95 % interval covers 86 %). So users are resampled with
all their cases. Resamples depend on a seed and the number of users alone: all the methods of a table see the same.
Coverage and its kin are left to the jackknife, a resample has fewer distinct users.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.rng import rng_for

Average = Literal["case", "user"]
MOST_KEPT = 50_000_000  # bytes of draws that are kept: 2,000 resamples of 25,000 users


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
        return reach(0.05, 0.8) * self.error

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of the value being `null`, from the standard error: for comparisons over several seeds."""
        if self.error == 0:
            return 1.0 if self.value == null else 0.0
        return float(2 * _distribution(self.freedom).sf(abs(self.value - null) / self.error))


# --- one seed ----------------------------------------------------------------------------------------------------


def bootstrap_interval(
    values: FloatArray,
    users: IntArray,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    average: Average = "case",
    proportion: bool = False,
    skewed: bool = False,
) -> Estimate:
    """Percentile interval of a mean over cases (or over users' means) by resampling users.

    proportion: the values are hits and misses of one method (never a difference); see `bootstrap_intervals`.
    skewed: BCa instead of percentiles.
    """
    return bootstrap_intervals(
        {"value": values},
        users,
        level=level,
        resamples=resamples,
        seed=seed,
        average=average,
        proportions=("value",) if proportion else (),
        skewed=("value",) if skewed else (),
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
    skewed: Container[str] = (),
) -> dict[str, Estimate]:
    """`bootstrap_interval` of several metrics of the same cases, over the same resamples.

    Those named in `proportions` have Wilson's interval where the percentiles' is too short: with fewer than 20 hits
    and one case a user; and with nothing but hits or misses, whose resamples are all alike: there over users, the
    fewest independent trials it can be. Those in `skewed` (AUC) have BCa. A metric without any value is left out.
    """
    names = [name for name, column in columns.items() if not np.isnan(column).all()]
    if not names:
        return {}
    table = np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)  # (cases, columns)
    sums, counts = by_user(table, users, average)
    width = sums.shape[1]
    totals = resampled_totals(np.concatenate([sums, counts], axis=1), resamples=resamples, seed=seed)
    means = _quotient(totals)  # (resamples, columns)
    ends = [(1 - level) / 2, (1 + level) / 2]
    # a resample may hold nobody with a value; nanquantile takes its time, and is for that alone
    low, high = (np.nanquantile if np.isnan(means).any() else np.quantile)(means, ends, axis=0)
    error = np.nanstd(means, axis=0, ddof=1)
    value = sums.sum(axis=0) / counts.sum(axis=0)
    estimates = {}
    for place, name in enumerate(names):
        cases = int((~np.isnan(table[:, place])).sum())
        hits = float(np.nansum(table[:, place]))
        trials = int((counts[:, place] > 0).sum())  # users with a value
        if name in proportions and (hits in (0.0, cases) or (hits < 20 and trials == cases)):
            estimates[name] = wilson_interval(hits / cases * trials, trials, level=level)
            continue
        interval = float(low[place]), float(high[place])
        if name in skewed:
            both = [place, place + width]
            left_out = _quotient(totals_without_each(np.concatenate([sums, counts], axis=1)[:, both]))[:, 0]
            interval = bca_ends(means[:, place], float(value[place]), left_out, level)
        estimates[name] = Estimate(float(value[place]), *interval, float(error[place]))
    return estimates


def function_interval(
    contributions: FloatArray,
    users: IntArray,
    function: Callable[[FloatArray], FloatArray],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate | None:
    """BCa interval of a function of totals, a ratio of two for instance, by resampling users.

    contributions: (cases, m), what each case adds to each of the m totals. function: (..., m) totals -> (...), NaN
    where it has no value. None where it has none for the totals themselves.
    """
    totals, _ = by_user(contributions, users, "case")
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(totals.sum(axis=0)))
        if np.isnan(value):
            return None
        drawn = function(resampled_totals(totals, resamples=resamples, seed=seed))
        left_out = function(totals_without_each(totals))
    drawn, left_out = drawn[~np.isnan(drawn)], left_out[~np.isnan(left_out)]
    return Estimate(value, *bca_ends(drawn, value, left_out, level), float(drawn.std(ddof=1)))


def bca_ends(drawn: FloatArray, value: float, left_out: FloatArray, level: float) -> tuple[float, float]:
    """The ends of Efron's BCa interval (1987): percentiles moved by the resamples' bias and the figure's skewness.

    drawn: (resamples,). left_out: the figure without each user. Where all are alike, or there is one user, it is the
    percentiles'.
    """
    places = np.array([(1 - level) / 2, (1 + level) / 2])
    below = float((drawn < value).mean() + (drawn == value).mean() / 2)
    if 0 < below < 1 and left_out.size > 1 and np.ptp(left_out) > 0:
        pull = left_out.mean() - left_out
        bias = stats.norm.ppf(below)
        skewness = float((pull**3).sum() / (6 * (pull**2).sum() ** 1.5))
        z = bias + stats.norm.ppf(places)
        places = stats.norm.cdf(bias + z / (1 - skewness * z))
    low, high = np.quantile(drawn, places)
    return float(low), float(high)


def resampled_totals(totals: FloatArray, *, resamples: int, seed: int) -> FloatArray:
    """(resamples, columns): totals (users, columns) summed over users drawn with replacement.

    A resample is a row of how often each user was drawn, so that the sums are one matrix product.
    """
    users = len(totals)
    few = resamples * users <= MOST_KEPT
    blocks = _kept_draws(users, resamples, seed) if few else _draws(users, resamples, seed)
    return np.concatenate([times.astype(np.float64) @ totals for times in blocks])


@lru_cache(maxsize=4)
def _kept_draws(users: int, resamples: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    """The rows and metrics of a table resample the same users: drawing takes ten times as long as the product."""
    return tuple(_draws(users, resamples, seed))


def _draws(users: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """(rows, users) how often each user was drawn, a block of rows at a time: memory stays at tens of megabytes."""
    rng = rng_for("user bootstrap", seed)
    block = max(1, 4_000_000 // users)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, users, size=(rows, users)) + users * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users).astype(np.uint8)


def totals_without_each(totals: FloatArray) -> FloatArray:
    """(users, columns): the totals when one user is left out."""
    return np.asarray(totals.sum(axis=0) - totals)


def wilson_interval(hits: float, trials: int, *, level: float = 0.95) -> Estimate:
    """Wilson's interval of a proportion of independent trials; right where hits are few or none."""
    z = float(stats.norm.isf((1 - level) / 2))
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * float(np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(share, 0.0 if hits == 0 else low, 1.0 if hits == trials else high, half / z)


# --- figures of whole lists --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListFigure:
    """A figure of recommendation counts (items,), and the values between which it lies."""

    of: Callable[[IntArray], FloatArray]
    highest: float = 1.0
    lowest: float = 0.0


def jackknife_intervals(
    lists: IntArray,
    users: IntArray,
    items: int,
    figures: Mapping[str, ListFigure],
    *,
    level: float = 0.95,
    groups: int = 1000,
) -> dict[str, Estimate]:
    """Intervals of figures of recommendation counts (coverage, Gini) by leaving out one user at a time.

    lists: (cases, k), -1 where shorter.   SE^2 = (U - 1)/U sum_u (theta_u - mean theta)^2.
    Above `groups` users, so many groups of users are left out instead.
    """
    _, person = np.unique(users, return_inverse=True)
    parts = min(int(person.max()) + 1, groups)
    order = np.argsort(person % parts, kind="stable")
    edges = np.searchsorted((person % parts)[order], np.arange(parts + 1))
    counts = recommendation_counts(lists, items)
    left = {name: np.empty(parts) for name in figures}
    for part in range(parts):
        rest = counts - recommendation_counts(lists[order[edges[part] : edges[part + 1]]], items)
        for name, figure in figures.items():
            left[name][part] = figure.of(rest)
    z = float(stats.norm.isf((1 - level) / 2))
    estimates = {}
    for name, figure in figures.items():
        value, thetas = float(figure.of(counts)), left[name]
        error = float(np.sqrt((parts - 1) / parts * ((thetas - thetas.mean()) ** 2).sum()))
        low, high = max(figure.lowest, value - z * error), min(figure.highest, value + z * error)
        estimates[name] = Estimate(value, low, high, error)
    return estimates


def jackknife_interval(
    lists: IntArray, users: IntArray, items: int, figure: Callable[[IntArray], FloatArray], *, groups: int = 1000
) -> Estimate:
    """`jackknife_intervals` of one figure between 0 and 1."""
    return jackknife_intervals(lists, users, items, {"value": ListFigure(figure)}, groups=groups)["value"]


def recommendation_counts(lists: IntArray, items: int) -> IntArray:
    """(items,) how often each item is recommended, zeros included."""
    return np.bincount(lists[lists >= 0].astype(np.int64), minlength=items)


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
    influences = np.stack([user_influence(column, users, average) for column in values], axis=1)  # (users, seeds)
    people, seeds = influences.shape
    if seeds < 2 or people < 2:
        raise UserError(
            f"{seeds} seeds and {people} users tell nothing of their spread", remedy="give two or more of each"
        )
    user_means, seed_means = influences.mean(axis=1), influences.mean(axis=0)
    residual = influences - user_means[:, None] - seed_means + influences.mean()
    mean_square = float((residual**2).sum() / ((people - 1) * (seeds - 1)))
    cases_part = float(user_means.var(ddof=1)) / people
    total = max(cases_part + float(seed_means.var(ddof=1)) / seeds - mean_square / (people * seeds), cases_part)
    freedom = seeds - 1 if total - cases_part > total / 2 else None
    value, error = float(influences.mean()), float(np.sqrt(total))
    half = float(_distribution(freedom).isf((1 - level) / 2)) * error
    return Estimate(value, value - half, value + half, error, float(np.sqrt(total - cases_part)), freedom)


def seeds_and_figures(each: Sequence[Estimate], *, low: float = -np.inf, high: float = np.inf) -> Estimate:
    """The mean of a figure that is no mean over cases (coverage, a ratio), one estimate a seed.

    To the mean of the seeds' variances over users comes the variance of their mean over seeds.
    """
    value = float(np.mean([one.value for one in each]))
    seed_part = float(np.var([one.value for one in each], ddof=1)) / len(each)
    error = float(np.sqrt(np.mean([one.error**2 for one in each]) + seed_part))
    freedom = len(each) - 1 if seed_part > error**2 / 2 else None
    half = float(_distribution(freedom).isf(0.025)) * error
    return Estimate(value, max(low, value - half), min(high, value + half), error, float(np.sqrt(seed_part)), freedom)


# --- by user -----------------------------------------------------------------------------------------------------


def by_user(table: FloatArray, users: IntArray, average: Average) -> tuple[FloatArray, FloatArray]:
    """Sums and counts, (users, columns) each, whose quotient of totals is the mean over cases, or over users.

    NaN is no value: it adds nothing to either.
    """
    _, person = np.unique(users, return_inverse=True)
    people = int(person.max()) + 1
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    sums: FloatArray = np.stack([np.bincount(person, weights=column, minlength=people) for column in filled.T], axis=1)
    counts: FloatArray
    if known.all():  # one count for all columns
        counts = np.repeat(np.bincount(person, minlength=people).astype(np.float64)[:, None], table.shape[1], axis=1)
    else:
        counts = np.stack([np.bincount(person, weights=column, minlength=people) for column in known.T], axis=1)
    if average == "case":
        return sums, counts
    return sums / np.maximum(counts, 1.0), (counts > 0).astype(np.float64)


def user_influence(values: FloatArray, users: IntArray, average: Average = "case") -> FloatArray:
    """(users,) numbers whose mean is the mean of interest and whose spread is its standard error x sqrt(users).

    With equally many cases a user they are the users' means. Else a mean over cases is a quotient, and a user with
    more cases pulls more: mean + (sum_u - mean n_u) / (cases / users).
    """
    sums, counts = (part[:, 0] for part in by_user(np.asarray(values, dtype=np.float64)[:, None], users, average))
    mean = sums.sum() / counts.sum()
    return np.asarray(mean + (sums - mean * counts) / counts.mean())


def reach(level: float, power: float) -> float:
    """How many standard errors a true difference must measure: 2.802 for 5 % and 80 %."""
    return float(stats.norm.isf(level / 2) + stats.norm.isf(1 - power))


def _quotient(totals: FloatArray) -> FloatArray:
    """(rows, columns) from sums and counts side by side (rows, 2 columns); NaN where nothing was counted."""
    width = totals.shape[1] // 2
    with np.errstate(invalid="ignore"):
        return np.asarray(totals[:, :width] / totals[:, width:])


def _distribution(freedom: int | None) -> Any:
    return stats.norm() if freedom is None else stats.t(freedom)
