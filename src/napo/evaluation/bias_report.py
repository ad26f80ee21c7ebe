"""All that is said of one scorer's lists over the whole catalog, beside the same of the targets.

Path    evaluation.protocols -> [evaluation.bias_report] -> results, table, plots
Takes   lists (cases, k), ranks (cases,), the cases they are of, the groups of items that catalog columns make
Gives   BiasReport: values by case, figures with intervals, and the targets' own figures, the aim
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.evaluation import concentration, popularity_bias
from napo.evaluation.calibration import user_miscalibration
from napo.evaluation.groups import training_events
from napo.evaluation.popularity_bias import group_weights, shares
from napo.evaluation.statistics import Estimate, ListFigure, jackknife_intervals, recommendation_counts

if TYPE_CHECKING:
    from napo.data.item_groups import ItemGroups
    from napo.data.split import Cases, Split


@dataclass(frozen=True, eq=False)
class BiasReport:
    """Deciles: (10,) shares of the popularity deciles of items, least popular first."""

    by_case: dict[str, FloatArray]  # (cases,) each; NaN where a case has no value
    figures: dict[str, Estimate]  # of all the lists together; what is not defined is not among them
    aims: dict[str, float]  # by the names of the two above: what lists of the targets alone would have
    recommended_deciles: FloatArray
    liked_deciles: FloatArray  # in the histories
    target_deciles: FloatArray
    # (cases, 5) how many items of the list, and of the history, lie in each fifth of the items by popularity: with them
    # two reports can be compared user by user, which MGU alone does not allow
    recommended_fifths: IntArray | None = None
    liked_fifths: IntArray | None = None
    # the same by the columns that results are broken down by: (cases, groups) shares of items, an item's groups alike
    recommended_groups: dict[str, FloatArray] = field(default_factory=dict)
    liked_groups: dict[str, FloatArray] = field(default_factory=dict)

    def weights(self, grouping: str) -> tuple[FloatArray, FloatArray] | None:
        """(cases, groups) twice, of lists and histories, by `popularity` (fifths) or a column; None: not kept."""
        if grouping == "popularity":
            if self.recommended_fifths is None or self.liked_fifths is None:
                return None
            return self.recommended_fifths.astype(np.float64), self.liked_fifths.astype(np.float64)
        if grouping not in self.recommended_groups:
            return None
        return self.recommended_groups[grouping], self.liked_groups[grouping]

    @property
    def coverage(self) -> Estimate:
        """The share of the catalog that is recommended to anybody."""
        return self.figures["coverage"]

    @property
    def lift(self) -> float:
        """How much more popular than the histories, 0.45 for 45 %; NaN without histories."""
        return self.figures["lift"].value if "lift" in self.figures else float("nan")


def bias_report(lists: IntArray, ranks: IntArray, cases: Cases, columns: Sequence[ItemGroups] = ()) -> BiasReport:
    """lists: (cases, k), -1 where shorter. ranks: (cases,), 0 where a target was not reached."""
    split, aim = cases.split, cases.target[:, None]  # the targets, as lists of one
    figures = {**_of_counts(lists, cases), **_of_popularity(lists, ranks, cases)}
    by_case = _by_case(lists, split)
    aims = {name: float(values.mean()) for name, values in _by_case(aim, split).items()} | _aims_of_counts(cases)
    lift = popularity_bias.popularity_lift(aim, cases.histories(), cases.units, split.popularity)
    aims |= {"lift": lift.value} if lift is not None else {}
    fifths = np.eye(5)[popularity_bias.popularity_groups(split.popularity, 5)]
    by_fifth = [group_weights(of, fifths).astype(np.int32) for of in (lists, cases.histories())]
    by_column: tuple[dict[str, FloatArray], dict[str, FloatArray]] = ({}, {})
    for name, membership in {"popularity": fifths, **{one.column: one.membership for one in columns}}.items():
        recommended, liked, wanted = (group_weights(of, membership) for of in (lists, cases.histories(), aim))
        mine, goal = _of_groups(name, recommended, liked, wanted, cases.units)
        figures, aims = figures | mine, aims | goal
        if name != "popularity":
            by_case[f"ILD {name}"] = concentration.diversity(lists, membership)
            by_case[f"KL {name}"] = user_miscalibration(liked, recommended, cases.units)
            by_column[0][name], by_column[1][name] = recommended, liked
    tenths = np.eye(10)[popularity_bias.popularity_groups(split.popularity, 10)]
    deciles = [shares(group_weights(of, tenths).sum(axis=0)) for of in (lists, cases.histories(), aim)]
    return BiasReport(
        by_case, figures, aims, deciles[0], deciles[1], deciles[2], by_fifth[0], by_fifth[1], by_column[0], by_column[1]
    )


def list_figures(items: int) -> dict[str, ListFigure]:
    """The figures of recommendation counts, by the names that tables give them."""
    return {
        "coverage": ListFigure(concentration.coverage),
        "Gini": ListFigure(concentration.gini),
        "entropy": ListFigure(concentration.entropy, float(np.log(items))),
        "relative entropy": ListFigure(concentration.relative_entropy),
        "effective items": ListFigure(concentration.effective_items, float(items)),
        "DivRatio": ListFigure(concentration.distinct_ratio),
        "ORRatio": ListFigure(concentration.over_recommendation),
    }


def _by_case(lists: IntArray, split: Split) -> dict[str, FloatArray]:
    popularity, (units, taken) = split.popularity, training_events(split)
    pairs = np.unique(np.stack([units, taken]), axis=1)  # a user who took an item twice is one user
    item_users, users = np.bincount(pairs[1], minlength=popularity.size), np.unique(units).size
    return {
        "popularity": popularity_bias.average_popularity(lists, popularity),
        "popularity share": popularity_bias.average_popularity(lists, popularity, "share"),
        "log popularity": popularity_bias.average_popularity(lists, popularity, "log"),
        "tail": popularity_bias.tail_share(lists, popularity_bias.head_items(popularity)),
        "novelty": concentration.novelty(lists, item_users, users),
    }


def _of_counts(lists: IntArray, cases: Cases) -> dict[str, Estimate]:
    items = cases.split.popularity.size
    return jackknife_intervals(lists, cases.units, items, list_figures(items))


def _aims_of_counts(cases: Cases) -> dict[str, float]:
    """Not coverage and its like: they depend on how many recommendations there are, and targets are fewer."""
    items = cases.split.popularity.size
    counts, figures = recommendation_counts(cases.target[:, None], items), list_figures(items)
    return {name: float(figures[name].of(counts)) for name in ("Gini", "entropy", "relative entropy")}


def _of_popularity(lists: IntArray, ranks: IntArray, cases: Cases) -> dict[str, Estimate]:
    popularity, users = cases.split.popularity, cases.units
    hits = (ranks >= 1) & (ranks <= lists.shape[1])
    head = popularity_bias.head_items(popularity)
    found = {
        "lift": popularity_bias.popularity_lift(lists, cases.histories(), users, popularity),
        "PopREO": popularity_bias.equal_opportunity(hits, cases.target, users, head),
        "PRU": popularity_bias.rank_bias(ranks, cases.target, users, popularity),
    }
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _of_groups(
    name: str, recommended: FloatArray, liked: FloatArray, wanted: FloatArray, users: IntArray
) -> tuple[dict[str, Estimate], dict[str, float]]:
    """MGU and DGU over one kind of groups, of the lists and of the targets."""
    unfair = popularity_bias.group_unfairness(recommended, liked, users)
    goal, past = shares(wanted.sum(axis=0)), shares(liked.sum(axis=0))
    aims = {"MGU": popularity_bias.mgu(goal, past), "DGU": popularity_bias.dgu(goal, past)}
    return (
        {f"{figure} {name}": estimate for figure, estimate in unfair.items()},
        {f"{figure} {name}": float(value) for figure, value in aims.items()},
    )
