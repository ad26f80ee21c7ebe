"""Ranks from scores, with ties against the model.

Path    scorer -> [evaluation.ranks] -> metrics
Takes   scores of candidates (cases, C) or of the whole catalog (cases, items), higher is better; where the target is
Gives   Ranks: the pessimistic and the optimistic rank of each target, from 1; and the best k items of a catalog

A model that gives every item one score must look as bad as it is, so among equal scores the target comes last. It is
never the place in the list, nor the id, that decides. The optimistic rank is kept for the metrics' expected values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError

OnNan = Literal["error", "worst"]


@dataclass(frozen=True)
class Ranks:
    """Where the target stands in each case, from 1; 0 where it could not be ranked at all."""

    worst: IntArray  # (cases,) the candidates that score at least as high, itself among them
    best: IntArray  # (cases,) one more than the candidates that score higher
    broken: BoolArray  # (cases,) a score was NaN or infinite and counted as the worst

    @property
    def tied(self) -> BoolArray:
        """(cases,) whether another candidate has the target's score."""
        return np.asarray(self.worst != self.best)

    @property
    def tie_share(self) -> float:
        """The share of cases whose target is tied; above 0.001 it is worth a warning."""
        return float(self.tied.mean()) if self.tied.size else 0.0


def candidate_ranks(
    scores: FloatArray, column: IntArray, *, items: IntArray | None = None, on_nan: OnNan = "error"
) -> Ranks:
    """Ranks among the candidates of each case:  worst = #{j: s_j >= s_t},  best = 1 + #{j: s_j > s_t}.

    scores: (cases, C). column: (cases,), the target's. items: (cases, C), the candidates' ids, for messages.
    A score that is NaN or infinite raises UserError naming case and item; with on_nan="worst" it ranks last.
    """
    scores, broken = finite_scores(scores, items=items, on_nan=on_nan)
    target = np.take_along_axis(scores, column[:, None], axis=1)  # (cases, 1)
    return Ranks(worst=(scores >= target).sum(axis=1), best=1 + (scores > target).sum(axis=1), broken=broken)


def full_ranks(
    scores: FloatArray, excluded: Sequence[IntArray], targets: IntArray, *, on_nan: OnNan = "error"
) -> Ranks:
    """Ranks over all the items that are not excluded; 0 where the target is itself excluded.

    scores: (cases, items). excluded: item ids of each case, repeats allowed. targets: (cases,).
    """
    scores, broken = finite_scores(scores, on_nan=on_nan)
    worst = np.zeros(len(targets), dtype=np.int64)
    best = np.zeros(len(targets), dtype=np.int64)
    for case, (row, out, target) in enumerate(zip(scores, excluded, targets, strict=True)):
        out = np.unique(out).astype(np.int64)
        if target in out:
            continue
        worst[case] = np.count_nonzero(row >= row[target]) - np.count_nonzero(row[out] >= row[target])
        best[case] = 1 + np.count_nonzero(row > row[target]) - np.count_nonzero(row[out] > row[target])
    return Ranks(worst=worst, best=best, broken=broken)


def top_items(scores: FloatArray, excluded: Sequence[IntArray], k: int, *, on_nan: OnNan = "error") -> IntArray:
    """The best k items of each case that are not excluded, best first; -1 where there are fewer.

    scores: (cases, items). Equal scores are listed by id, so that a list is the same on every machine.
    """
    scores, _ = finite_scores(scores, on_nan=on_nan)
    lists = np.full((len(scores), k), -1, dtype=np.int64)
    for case, (row, out) in enumerate(zip(scores, excluded, strict=True)):
        allowed = np.ones(row.size, dtype=bool)
        allowed[out.astype(np.int64)] = False
        kept = np.flatnonzero(allowed)
        if kept.size > k:
            # all that reach the k-th best score, not argpartition's k: which of equal scores it keeps is arbitrary
            kept = kept[row[kept] >= np.partition(row[kept], -k)[-k]]
        best_first = kept[np.argsort(-row[kept], kind="stable")][:k]
        lists[case, : best_first.size] = best_first
    return lists


def finite_scores(
    scores: FloatArray, *, items: IntArray | None = None, first_case: int = 0, on_nan: OnNan = "error"
) -> tuple[FloatArray, BoolArray]:
    """The scores with nothing but numbers in them, and which cases had something else.

    on_nan="error" raises UserError with the first case and item; "worst" puts them below every number, which sorting
    would not do: numpy sorts NaN last, torch first, and an infinite score is as often a fault as a wish.
    """
    scores = np.asarray(scores)
    wrong = np.asarray(~np.isfinite(scores))
    if not wrong.any():
        return scores, np.zeros(len(scores), dtype=bool)
    if on_nan == "error":
        case, place = (int(x) for x in np.argwhere(wrong)[0])
        item = place if items is None else int(items[case, place])
        raise UserError(
            f"the score of item {item} in case {first_case + case} is {scores[case, place]}",
            where=f"{int(wrong.sum()):,} of {scores.size:,} scores",
            remedy='mend the model, or count such items as the worst: on_nan="worst"',
        )
    return np.where(wrong, -np.inf, scores), np.asarray(wrong.any(axis=1))
