"""Checks 1 and 2: the slot of the target, and a rule that knows slots but no history.

Path    candidate lists of validation and test -> [evaluation.leaks.slots] -> leaks
Takes   LeakInputs
Gives   Checks `slot` and `slot_rule`; BlindRule, a row of every table

A list drawn with the target as its seed puts equal targets into one slot among the same companions, in every split;
then slots learnt from validation beat chance ten times on test without a look at any history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.evaluation.leaks.check import Check, LeakInputs, first_places, one_sided_mcnemar, popularity_scores, share
from napo.evaluation.statistics import wilson_interval

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.data.split import Cases


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
        note = "no target is met twice"
        return Check("slot", None, "FAIL" if chi_square_p < 0.001 else "ok", reference=reference, note=note)
    found = wilson_interval(same, pairs, level=0.998)
    failed = chi_square_p < 0.001 or found.low > 1 / width
    return Check("slot", found.value, "FAIL" if failed else "ok", (found.low, found.high), reference)


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
        hits[with_slots] = first_places(rule.candidate_scores([], lists.items), lists)
    by_slot, by_item = hits[True], hits[False]
    covered = np.isin(inputs.test_cases.target, inputs.valid_cases.target)
    value, interval = share(by_slot, inputs.test_cases)
    p_value = one_sided_mcnemar(by_slot, by_item)
    reference = {
        "item_rule": float(by_item.mean()),
        "p": p_value,
        "coverage": float(covered.mean()),
        "on_covered": float(by_slot[covered].mean()) if covered.any() else 0.0,
        "popular": float(first_places(popularity_scores(inputs), lists).mean()),
        "chance": inputs.chance,
    }
    return Check("slot_rule", value, "FAIL" if p_value < 0.01 else "ok", interval, reference)
