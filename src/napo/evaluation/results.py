"""What an evaluation leaves behind: one value a case, and under which conditions it was made.

Path    evaluation.protocols -> [evaluation.results] -> table, plots, JSON
Takes   ranks, lists and counts from a protocol
Gives   CandidateResult, FullResult, and Result, what a table needs of either
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.data.candidates import RELEASED
from napo.evaluation.bias_report import BiasReport
from napo.evaluation.calibration import Calibration, brier
from napo.evaluation.groups import CaseGroups
from napo.evaluation.metrics import (
    auc,
    expected_hr_at,
    expected_mrr_at,
    expected_ndcg_at,
    hr_at,
    mrr_at,
    ndcg_at,
)
from napo.evaluation.statistics import Estimate

PromptKind = Literal["next", "list"]
SeenRule = Literal["history", "none"]
Progress = Callable[[int, int], None]  # cases done, of how many


class Result(Protocol):
    """What a table needs of either kind of result."""

    @property
    def scorer(self) -> str: ...
    @property
    def prompt(self) -> PromptKind | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def users(self) -> IntArray: ...
    @property
    def targets(self) -> IntArray: ...
    @property
    def lists(self) -> str | None: ...
    @property
    def conditions(self) -> dict[str, str]: ...
    @property
    def headline(self) -> str: ...
    @property
    def metrics(self) -> dict[str, FloatArray]: ...
    @property
    def expected(self) -> dict[str, FloatArray]: ...
    @property
    def aims(self) -> dict[str, float]: ...
    @property
    def figures(self) -> dict[str, Estimate]: ...
    @property
    def calibration(self) -> Calibration | None: ...
    @property
    def groups(self) -> tuple[CaseGroups, ...]: ...
    @property
    def notes(self) -> list[str]: ...


@dataclass(frozen=True)
class CandidateResult:
    """A scorer's ranks among the candidates of each case."""

    scorer: str
    prompt: PromptKind | None  # how a language model was asked; None for scorers that read ids
    split: str  # name and checksum
    part: str
    lists: str  # checksum of the candidate lists
    negatives: str  # how the others in a list were drawn
    candidates: int
    users: IntArray  # (n,) of each case
    targets: IntArray  # (n,)
    ranks: IntArray  # (n,) pessimistic
    best_ranks: IntArray  # (n,) optimistic
    picks: IntArray  # (n,) the item on top; of equal scores never the target, then the lowest id
    broken: BoolArray  # (n,) a score was NaN or infinite and ranked last
    pick_popularity: FloatArray  # (n,) training events
    target_popularity: FloatArray  # (n,)
    candidate_popularity: float
    ks: tuple[int, ...] = (1, 5, 10)
    unit: str = "users"  # what `users` numbers, and intervals resample; `rows` where rows carry no user
    remarks: tuple[str, ...] = ()  # on how the scores were had
    probability: FloatArray | None = None  # (n,) of the top candidate, for scorers whose scores are log-probs or logits
    groups: tuple[CaseGroups, ...] = ()

    @property
    def conditions(self) -> dict[str, str]:
        """What must be the same in all the rows of a table."""
        drawn = f"cand{self.candidates}, {self.negatives} negatives"
        return {
            "protocol": f"legacy, {self.candidates} candidates as released" if self.negatives == RELEASED else drawn,
            "part": self.part,
            "split": self.split,
        }

    @property
    def headline(self) -> str:
        """The metric that rows are compared by."""
        return "HR@1"

    @property
    def tie_share(self) -> float:
        """The share of cases whose target is tied with another candidate."""
        return float((self.ranks != self.best_ranks).mean())

    @cached_property
    def metrics(self) -> dict[str, FloatArray]:
        """(n,) values by name: HR@k, NDCG of the whole list, NDCG@k, MRR, AUC, Brier, popularity of the pick."""
        found = {f"HR@{k}": hr_at(self.ranks, k) for k in self.ks}
        found["NDCG"] = ndcg_at(self.ranks)
        found |= {f"NDCG@{k}": ndcg_at(self.ranks, k) for k in self.ks if k > 1}
        found["MRR"] = mrr_at(self.ranks)
        found["AUC"] = auc(self.ranks, self.candidates, self.best_ranks)
        if self.probability is not None:
            found["Brier"] = brier(self.probability, hr_at(self.ranks, 1))
        found["popularity"] = self.pick_popularity
        found["log popularity"] = np.log1p(self.pick_popularity)
        return found

    @cached_property
    def calibration(self) -> Calibration | None:
        """Whether the top candidate is right as often as its probability says; None without probabilities."""
        return None if self.probability is None else Calibration.of(self.probability, hr_at(self.ranks, 1))

    @property
    def expected(self) -> dict[str, FloatArray]:
        """The same where equal scores are shuffled: for scorers with many ties, to print beside."""
        first, last = self.best_ranks, self.ranks
        found = {f"HR@{k}": expected_hr_at(first, last, k) for k in self.ks}
        return {**found, "NDCG": expected_ndcg_at(first, last), "MRR": expected_mrr_at(first, last)}

    @property
    def aims(self) -> dict[str, float]:
        """The popularity of the targets and of all candidates, without which that of the picks says nothing."""
        return {
            "popularity of targets": float(self.target_popularity.mean()),
            "log popularity of targets": float(np.log1p(self.target_popularity).mean()),
            "popularity of candidates": self.candidate_popularity,
        }

    @property
    def figures(self) -> dict[str, Estimate]:
        """Figures that are not means over cases: none here."""
        return {}

    @property
    def notes(self) -> list[str]:
        """What a reader must know of this row."""
        notes = _unit_note(self.unit) + _cold_note(int((self.target_popularity == 0).sum()), self.users.size)
        if self.candidates in self.ks:
            notes.append(f"HR@{self.candidates} of {self.candidates} candidates is 1 whoever ranks them")
        if self.tie_share > 0.001:
            expected = float(self.expected["HR@1"].mean()) if 1 in self.ks else float("nan")
            notes.append(
                f"{self.scorer}: {self.tie_share:.1%} of targets tie with another candidate and count as below it"
                f" (HR@1 {expected:.3f} if ties were drawn)"
            )
        if self.broken.any():
            notes.append(f"{self.scorer}: {int(self.broken.sum()):,} cases with NaN or infinite scores, ranked last")
        return [*notes, *self.remarks]


@dataclass(frozen=True)
class FullResult:
    """A scorer's ranks and lists over the whole catalog."""

    scorer: str
    prompt: PromptKind | None
    split: str
    part: str
    mask_seen: SeenRule
    k: int
    items: int
    cases: IntArray  # (n,) places in the Cases it was run over
    dropped: IntArray  # places of cases whose target the user had seen: there is nothing to predict
    cold: int  # targets without a training event
    users: IntArray  # (n,)
    targets: IntArray  # (n,)
    ranks: IntArray  # (n,)
    top: IntArray  # (n, k)
    bias: BiasReport
    groups: tuple[CaseGroups, ...] = ()
    lists: None = None
    unit: str = "users"
    remarks: tuple[str, ...] = ()  # on how the lists were had
    calibration: None = None

    @property
    def conditions(self) -> dict[str, str]:
        """What must be the same in all the rows of a table."""
        seen = "all of the user's earlier items left out" if self.mask_seen == "history" else "repeats allowed"
        return {
            "protocol": f"full, {self.items:,} items",
            "list length": str(self.k),
            "seen items": seen,
            "part": self.part,
            "split": self.split,
        }

    @property
    def headline(self) -> str:
        """The metric that rows are compared by."""
        return f"HR@{self.k}"

    @cached_property
    def metrics(self) -> dict[str, FloatArray]:
        """(n,) values by name: HR, NDCG, MRR at 1 and k, and the popularity and variety of the lists."""
        return {
            **{f"HR@{k}": hr_at(self.ranks, k) for k in sorted({1, self.k})},
            f"NDCG@{self.k}": ndcg_at(self.ranks, self.k),
            f"MRR@{self.k}": mrr_at(self.ranks, self.k),
            **self.bias.by_case,
        }

    @property
    def expected(self) -> dict[str, FloatArray]:
        """None: the optimistic rank is not known over a whole catalog."""
        return {}

    @property
    def aims(self) -> dict[str, float]:
        """The targets' own figures."""
        return {f"{name} of targets": value for name, value in self.bias.aims.items()}

    @property
    def figures(self) -> dict[str, Estimate]:
        """Figures of all the lists together."""
        return self.bias.figures

    @property
    def notes(self) -> list[str]:
        """What a reader must know of this row."""
        notes = _unit_note(self.unit) + _cold_note(self.cold, self.users.size)
        if self.dropped.size:
            notes.append(
                f"{self.dropped.size:,} cases left out: their target is among the user's earlier items,"
                " which are never recommended"
            )
        if unreached := int((self.ranks == 0).sum()):
            notes.append(f"{self.scorer}: {unreached:,} targets outside what was searched or listed, counted as misses")
        return [*notes, *self.remarks]


def _unit_note(unit: str) -> list[str]:
    """Rows of one user overlap, which nothing can account for where they do not say whose they are."""
    return ["rows carry no user: intervals resample rows, and are narrower than users' would be"] * (unit == "rows")


def _cold_note(cold: int, cases: int) -> list[str]:
    return [f"{cold:,} of {cases:,} targets never occur in training"] if cold else []
