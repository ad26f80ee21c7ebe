"""Checks 9 and 10: whether a scorer reads the history and nothing but the items, and whether the judging is sound.

Path    a Scorer, candidate lists -> [evaluation.leaks.scorer] -> leaks
Takes   ScorerInputs: at most 500 cases of a model; LeakInputs
Gives   Checks `no_history` and `order` of a model, `integrity` of the judging itself
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napo.arrays import FloatArray, IntArray
from napo.data.candidates import CandidateLists
from napo.data.split import Cases
from napo.errors import UserError
from napo.evaluation.baselines import Chance
from napo.evaluation.leaks.check import Check, LeakInputs, Word, first_places, one_sided_mcnemar, share
from napo.evaluation.protocols import evaluate_candidates
from napo.evaluation.ranks import finite_scores
from napo.rng import rng_for

if TYPE_CHECKING:
    from napo.evaluation.protocols import CandidateScorer

MOST_CASES = 500


@dataclass(frozen=True, eq=False)
class ScorerInputs:
    """A scorer and the cases that it is asked about.

    reads_list: its prompt names the candidates in their order, which may then matter. tolerance: by how much a score
    may move with the candidates' places; 1e-4 for float32.
    """

    scorer: CandidateScorer
    name: str  # of its row
    cases: Cases
    lists: CandidateLists
    reads_list: bool = False
    tolerance: float = 1e-4

    @classmethod
    def of(
        cls,
        scorer: CandidateScorer,
        cases: Cases,
        lists: CandidateLists,
        *,
        name: str,
        reads_list: bool = False,
        tolerance: float = 1e-4,
    ) -> ScorerInputs:
        """500 of the cases, the same for every scorer; all of them where there are fewer."""
        some = sampled(len(cases))
        return cls(scorer, name, cases.take(some), lists.take(some), reads_list, tolerance)

    @cached_property
    def scores(self) -> FloatArray:
        """(cases, C) as the scorer is judged by."""
        return self.asked(self.cases.histories(), self.lists.items)

    def asked(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(cases, C) scores; NaN is an error here too."""
        scores, _ = finite_scores(self.scorer.candidate_scores(histories, candidates), items=candidates)
        return np.asarray(scores, dtype=np.float64)


def sampled(cases: int) -> IntArray:
    """Up to 500 of so many cases, by rising number."""
    drawn = rng_for("leaks", "scorer").permutation(cases)[:MOST_CASES]
    return np.sort(drawn)


# --- 9: without the history ---------------------------------------------------------------------------------------


def no_history(inputs: ScorerInputs) -> Check:
    """HR@1 of the model when it is shown another user's history, without what is in the list.

    WARN where the true history is not better (one-sided p >= .05): it recommends by popularity at best. FAIL where the
    model then still beats the most popular candidate (p < .01): something else than taste tells it the target.
    """
    cases, lists = inputs.cases, inputs.lists
    histories = strangers(cases, lists.items)
    if histories is None:
        return Check("no_history", None, "ok", note="there is no other user", scorer=inputs.name, about="scorer")
    true = first_places(inputs.scores, lists)
    blind = first_places(inputs.asked(histories, lists.items), lists)
    popular = first_places(cases.split.popularity[lists.items].astype(np.float64), lists)
    value, interval = share(blind, cases)
    p_value = one_sided_mcnemar(true, blind)
    knows = one_sided_mcnemar(blind, popular) < 0.01
    as_good = p_value >= 0.05
    reference = {"true": float(true.mean()), "p": p_value, "popular": float(popular.mean())}
    note = "as good with another user's history" if as_good else ""
    verdict: Word = "ok" if not as_good else "FAIL" if knows else "WARN"
    return Check("no_history", value, verdict, interval, reference, note, inputs.name, "scorer")


def strangers(cases: Cases, candidates: IntArray) -> list[IntArray] | None:
    """For each case the history of a case of another user, less the case's candidates; None with one user alone."""
    if len(np.unique(cases.units)) < 2:
        return None
    units = cases.units
    order = rng_for("leaks", "strangers").permutation(len(cases))
    found: list[IntArray] = []
    for case, row in enumerate(candidates):
        others = order[(case + np.arange(1, len(order))) % len(order)]
        other = next(int(other) for other in others if units[other] != units[case])
        history = cases.history(other)
        found.append(history[~np.isin(history, row)])
    return found


# --- 10: the candidates' order, and the judging itself -------------------------------------------------------------


def order(inputs: ScorerInputs) -> Check:
    """The share of cases whose pick changes when the candidates change places; scores may move by rounding alone.

    A prompt that names the candidates may favour a place: there the share is what one has to know, and warns above .1.
    """
    lists = inputs.lists
    rng = rng_for("leaks", "order")
    places = rng.permuted(np.broadcast_to(np.arange(lists.items.shape[1]), lists.items.shape), axis=1)
    moved = inputs.asked(inputs.cases.histories(), np.take_along_axis(lists.items, places, axis=1))
    back = np.take_along_axis(moved, np.argsort(places, axis=1), axis=1)  # (cases, C), each candidate in its old place
    changed = (back.argmax(axis=1) != inputs.scores.argmax(axis=1)).astype(np.float64)
    value, interval = share(changed, inputs.cases)
    most = float(np.abs(back - inputs.scores).max())
    reference = {"most_moved": most, "tolerance": inputs.tolerance}
    if inputs.reads_list:
        warned = value > 0.1
        note = "the pick depends on the order in the prompt" if warned else "the prompt names the candidates"
        return Check(
            "order", value, "WARN" if warned else "ok", interval, {"most_moved": most}, note, inputs.name, "scorer"
        )
    failed = most > inputs.tolerance
    note = "scores depend on the place in the list" if failed else ""
    return Check("order", value, "FAIL" if failed else "ok", interval, reference, note, inputs.name, "scorer")


def integrity(inputs: LeakInputs) -> Check:
    """The judging, tried with scorers whose figures are known.

    value: HR@1 of random scores, which is 1/C (p >= .001). constant: that of one score for all, which is 0, for ties
    count against it. nan_raises: whether a NaN, and an infinite score, are refused. repeated: lists that name an item
    twice.
    """
    some = sampled(len(inputs.test_cases))
    cases, lists = inputs.test_cases.take(some), inputs.test_lists.take(some)
    hits = evaluate_candidates(Chance(len(inputs.split.catalog)), cases, lists).metrics["HR@1"]
    constant = float(evaluate_candidates(_Constant(0.0), cases, lists).metrics["HR@1"].mean())
    refused = all(_is_refused(_Constant(score), cases, lists) for score in (np.nan, np.inf, -np.inf))
    ordered = np.sort(inputs.test_lists.items, axis=1)
    repeated = int((ordered[:, 1:] == ordered[:, :-1]).any(axis=1).sum())
    p_value = float(stats.binomtest(int(hits.sum()), len(hits), inputs.chance).pvalue)
    value, interval = share(hits, cases)
    failed = constant > 0 or not refused or repeated > 0 or p_value < 0.001
    reference = {
        "chance": inputs.chance,
        "p": p_value,
        "constant": constant,
        "nan_raises": float(refused),
        "repeated": float(repeated),
    }
    return Check("integrity", value, "FAIL" if failed else "ok", interval, reference)


class _Constant:
    """One score for every item, but for the last candidate where that score is no number."""

    def __init__(self, score: float) -> None:
        self.name, self.score = f"constant {score}", score

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        scores = np.zeros(candidates.shape)
        scores[:, -1] = self.score
        return scores


def _is_refused(scorer: CandidateScorer, cases: Cases, lists: CandidateLists) -> bool:
    try:
        evaluate_candidates(scorer, cases, lists)
    except UserError:
        return True
    return False
