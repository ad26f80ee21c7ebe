"""What may be said of a claim, and how many cases it would take to say more.

Path    Estimate, p -> [evaluation.verdicts] -> comparison, table
Takes   the difference or the ratio of two methods with its interval, seeds included; p adjusted by Holm
Gives   Verdict: held, not held, undecided with the cases that would decide, or none where the search was unequal
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.evaluation.statistics import Estimate, reach, user_influence

Word = Literal["held", "not held", "direction held, size not", "undecided", "no verdict"]


@dataclass(frozen=True)
class Verdict:
    """What a comparison says of "A beats B by more than a margin"."""

    word: Word
    cases_needed: int | None = None  # undecided: so many cases would decide; None: no number would, more seeds might
    reason: str = ""  # why there is no verdict

    def __str__(self) -> str:
        if self.word == "no verdict":
            return f"no verdict, {self.reason}"
        if self.word != "undecided":
            return self.word
        return f"undecided, {self.cases_needed:,} cases would decide" if self.cases_needed else "undecided, more seeds"


def verdict(
    difference: Estimate, p_adjusted: float, *, cases: int, margin: float = 0.0, negligible: float = 0.01, of: int = 1
) -> Verdict:
    """held: low > margin and p < .05;  not held: high < max(margin, negligible);  else undecided. In this order.

    Below `negligible` (0.01 of HR) a gain is too small to matter. The cases that would decide are reckoned from the
    difference seen and 80 % power, towards the nearer of the two answers. of: how many comparisons p was adjusted for;
    "held" takes 5 % of it, as if this were the smallest p of them: enough cases wherever it comes to stand.
    """
    bar = max(margin, negligible)
    if difference.low > margin and p_adjusted < 0.05:
        return Verdict("held")
    if difference.high < bar:
        return Verdict("not held")
    return _undecided(difference, {difference.value - margin: 0.05 / of, bar - difference.value: 0.05}, cases)


def ratio_verdict(ratio: Estimate, p_adjusted: float, *, cases: int, claimed: float, of: int = 1) -> Verdict:
    """A is `claimed` times B: 1.15 for "+15 %".  ratio: A / B. In this order:

    held: low > claimed and p < .05;  direction held, size not: 1 < low, high < claimed, p < .05;
    not held: high < claimed;  else undecided. of: as in `verdict`.
    """
    sure = p_adjusted < 0.05
    if ratio.low > claimed and sure:
        return Verdict("held")
    if ratio.high < claimed:
        return Verdict("direction held, size not" if ratio.low > 1 and sure else "not held")
    return _undecided(ratio, {ratio.value - claimed: 0.05 / of, claimed - ratio.value: 0.05}, cases)


def unequal_search(tried: int, other_tried: int) -> Verdict:
    """Of the better of more settings it is not known whether the method or the search was better."""
    return Verdict("no verdict", reason=f"unequal search budget: {tried:,} settings tried against {other_tried:,}")


def detectable_difference(
    differing: float, cases: int, *, design_effect: float = 1.0, level: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true difference that a paired test of `cases` cases finds with `power`.

    differing: the share of cases where the methods differ. design_effect: 1 + (cases a user - 1) x their correlation.
    """
    return reach(level, power) * float(np.sqrt(differing * design_effect / cases))


def cases_needed(
    difference: float, differing: float, *, design_effect: float = 1.0, level: float = 0.05, power: float = 0.8
) -> int:
    """How many cases a paired test needs to find `difference`: the inverse of `detectable_difference`."""
    return round(reach(level, power) ** 2 * differing * design_effect / difference**2)


def design_effect(values: FloatArray, users: IntArray) -> float:
    """The variance of the mean over users' cases, over what independent cases would give; measured, about 1 or more."""
    spread = float(np.var(values, ddof=1)) / values.size if values.size > 1 else 0.0
    influence = user_influence(values, users)
    return float(influence.var(ddof=1)) / influence.size / spread if spread > 0 and influence.size > 1 else 1.0


def _undecided(estimate: Estimate, gaps: dict[float, float], cases: int) -> Verdict:
    """The fewest cases that would put one of the gaps between the figure and its bar, a gap with its level each.

    (by cases x cases/n + by seeds) = (gap/reach)^2; reach is 2.8 at 5 %.
    """
    by_cases = estimate.error**2 - estimate.seed_error**2
    needed = []
    for gap, level in gaps.items():
        room = (gap / reach(level, 0.8)) ** 2 - estimate.seed_error**2
        if gap > 0 and room > 0:
            needed.append(int(np.ceil(cases * by_cases / room)))
    fewest = min(needed, default=None)
    if fewest is not None and fewest <= cases:
        # enough, and still undecided: of few seeds the interval is wider than these errors say
        fewest = None if estimate.seed_error > 0 else cases + 1
    return Verdict("undecided", fewest)
