"""Does a rule that cannot know the user's taste find the target? Then the lists leak, and no result on them counts.

Path    candidate lists of validation and test -> [evaluation.leaks] -> table (LEAKED in its title), report
Takes   LeakInputs: the cases and lists that the results were made with
Gives   Check(name, value, interval, reference, verdict): one line each, and as JSON

A check is a function LeakInputs -> Check, and CHECKS lists them: a further one is a function and a line there.
A list drawn with the target as its seed puts equal targets into one slot among the same companions, in every split;
then slots learnt from validation beat chance ten times on test without a look at any history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.evaluation.metrics import hr_at
from napo.evaluation.ranks import candidate_ranks
from napo.evaluation.statistics import bootstrap_interval, wilson_interval

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.data.split import Cases

Word = Literal["ok", "WARN", "FAIL"]


@dataclass(frozen=True)
class LeakInputs:
    """What the checks look at. The two pairs of cases and lists belong to one split."""

    valid_cases: Cases
    valid_lists: CandidateLists
    test_cases: Cases
    test_lists: CandidateLists


@dataclass(frozen=True)
class Check:
    """One check's outcome."""

    name: str
    value: float | None  # None: nothing to measure
    interval: tuple[float, float] | None
    reference: Mapping[str, float]  # what to read the value against, in the order of the line
    verdict: Word

    @property
    def line(self) -> str:
        """`name: value [interval] reference verdict`."""
        value = "nothing to measure" if self.value is None else f"{self.value:.3f}"
        interval = f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]" if self.interval else ""
        reference = " ".join(
            f"{name} {number:,.0f}" if number >= 1000 else f"{name} {number:.3g}"
            for name, number in self.reference.items()
        )
        return f"{self.name}: {value}{interval} {reference} {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        """Everything, the line included."""
        return {**asdict(self), "reference": dict(self.reference), "line": self.line}


def leak_checks(inputs: LeakInputs) -> list[Check]:
    """All the checks. A failure lets the run go on, and puts LEAKED into the table's title."""
    return [check(inputs) for check in CHECKS]


def leaked(checks: Sequence[Check]) -> bool:
    """Whether any check failed."""
    return any(check.verdict == "FAIL" for check in checks)


# --- 1: the slot of the target ------------------------------------------------------------------------------------


def slot_balance(inputs: LeakInputs) -> Check:
    """Targets are spread over the slots, and two cases with one target have it in one slot in 1/C of pairs.

    value: the share of such pairs with the target in one slot, validation and test together. After an honest shuffle
    any two pairs are uncorrelated, also where they share a case, so that they count as independent trials: Wilson's
    interval, at 99.8 %, the level at which the chi-square test fails too (p < .001 on one side). A 95 % interval would
    call one honest data set in forty leaked.
    """
    slots = np.concatenate([inputs.valid_lists.slot, inputs.test_lists.slot])
    targets = np.concatenate([inputs.valid_cases.target, inputs.test_cases.target])
    width = inputs.test_lists.items.shape[1]
    chi_square_p = float(stats.chisquare(np.bincount(slots, minlength=width)).pvalue)
    same, pairs = same_slot_pairs(targets, slots)
    reference = {"chance": 1 / width, "pairs": float(pairs), "chi_square_p": chi_square_p}
    if not pairs:
        return Check("slot", None, None, reference, "FAIL" if chi_square_p < 0.001 else "ok")
    share = wilson_interval(same, pairs, level=0.998)
    failed = chi_square_p < 0.001 or share.low > 1 / width
    return Check("slot", share.value, (share.low, share.high), reference, "FAIL" if failed else "ok")


def same_slot_pairs(targets: IntArray, slots: IntArray) -> tuple[int, int]:
    """Of the pairs of cases with one target: how many have it in one slot, and how many there are."""
    _, per_target = np.unique(targets, return_counts=True)
    _, per_place = np.unique(np.stack([targets, slots]), axis=1, return_counts=True)
    return int((per_place * (per_place - 1) // 2).sum()), int((per_target * (per_target - 1) // 2).sum())


# --- 2: a rule that never reads the history -----------------------------------------------------------------------


class BlindRule:
    """A Scorer for candidate lists that knows (item, slot) of past targets and no history: the blind slot rule.

    A candidate's score is how often it was the target in that very slot (slots=False: in any slot) of the lists it
    learnt from. Ties count against it, as against any scorer.
    """

    def __init__(self, counts: IntArray, *, slots: bool = True) -> None:
        self.name = "blind slot rule" if slots else "blind item rule"
        self._counts = counts if slots else np.repeat(counts.sum(axis=1, keepdims=True), counts.shape[1], axis=1)

    @classmethod
    def learn(cls, cases: Cases, lists: CandidateLists, *, slots: bool = True) -> BlindRule:
        """Learn from the lists of a part that is not the one to be judged: validation."""
        counts = np.zeros((cases.split.popularity.size, lists.items.shape[1]), dtype=np.int64)  # (items, C)
        np.add.at(counts, (cases.target, lists.slot), 1)
        return cls(counts, slots=slots)

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C) counts; the place in the list is what matters here."""
        if candidates.shape[1] != self._counts.shape[1]:
            raise UserError(f"{self.name} learnt from {self._counts.shape[1]} slots, not {candidates.shape[1]}")
        return self._counts[candidates, np.arange(candidates.shape[1])].astype(np.float64)

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """There are no slots in the whole catalog."""
        raise UserError(f"the {self.name} is about candidate lists", remedy="leave it out of whole-catalog tables")

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """There are no slots in the whole catalog."""
        return self.top(histories, excluded, 0)


def slot_rule(inputs: LeakInputs) -> Check:
    """The blind slot rule, learnt on validation, against the same rule without slots; FAIL where it is the better.

    After an honest shuffle the slot adds nothing to the item, and counts by slot are only thinner. Item counts alone
    may well beat chance: that is popularity. The test is McNemar's, exact and one-sided, p < .01.
    """
    lists = inputs.test_lists
    hits = {}
    for with_slots in (True, False):
        rule = BlindRule.learn(inputs.valid_cases, inputs.valid_lists, slots=with_slots)
        hits[with_slots] = hr_at(candidate_ranks(rule.candidate_scores([], lists.items), lists.slot).worst, 1)
    by_slot, by_item = hits[True], hits[False]
    popular = candidate_ranks(inputs.test_cases.split.popularity[lists.items].astype(np.float64), lists.slot)
    covered = np.isin(inputs.test_cases.target, inputs.valid_cases.target)
    estimate = bootstrap_interval(by_slot, inputs.test_cases.user, proportion=True)
    p_value = one_sided_mcnemar(by_slot, by_item)
    reference = {
        "item_rule": float(by_item.mean()),
        "p": p_value,
        "coverage": float(covered.mean()),
        "on_covered": float(by_slot[covered].mean()) if covered.any() else 0.0,
        "popular": float(hr_at(popular.worst, 1).mean()),
        "chance": 1 / lists.items.shape[1],
    }
    return Check(
        "slot_rule", estimate.value, (estimate.low, estimate.high), reference, "FAIL" if p_value < 0.01 else "ok"
    )


def one_sided_mcnemar(first: FloatArray, second: FloatArray) -> float:
    """p of "first hits no more often than second", from the cases where only one of them hits."""
    only_first, only_second = int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5, alternative="greater").pvalue)


CHECKS: tuple[Callable[[LeakInputs], Check], ...] = (slot_balance, slot_rule)
