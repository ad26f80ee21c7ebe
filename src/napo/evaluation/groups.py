"""For whom, and for which items, does a method work worse?

Path    cases, results -> [evaluation.groups] -> table, report
Takes   Cases and ItemGroups for the groups; a metric's values by case for each method
Gives   CaseGroups: which cases belong to which group; GroupTable: the metric by group, the gap and the worst group

A group is shown from 100 users on: below that its figure says little, and the largest gap is always that of the
smallest group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.evaluation.metrics import PROPORTIONS
from napo.evaluation.popularity_bias import head_items, popularity_groups
from napo.evaluation.statistics import Estimate, bootstrap_intervals, seeds_and_cases
from napo.evaluation.table_text import SideTable, number, with_interval

if TYPE_CHECKING:
    from napo.data.item_groups import ItemGroups
    from napo.data.split import Cases, Split

LEAST_USERS = 100


@dataclass(frozen=True, eq=False)
class CaseGroups:
    """One way of grouping the cases. members: (cases, groups); a case may be in several, or in none."""

    name: str
    labels: tuple[str, ...]
    members: BoolArray


def case_groups(cases: Cases, columns: Sequence[ItemGroups] = ()) -> tuple[CaseGroups, ...]:
    """Users by activity and by taste for the popular, thirds each; targets by popularity and by the items' columns.

    Activity: the user's training events. Taste: the share of them that fell on the head (`head_items`).
    """
    split = cases.split
    head = head_items(split.popularity)
    units, taken = training_events(split)
    users, person = np.unique(cases.units, return_inverse=True)
    size = int(max(units.max(initial=0), users.max())) + 1
    activity = np.bincount(units, minlength=size)[users]
    taste = np.bincount(units, weights=head[taken], minlength=size)[users] / np.maximum(activity, 1)
    cold = split.popularity[cases.target] == 0
    in_head = head[cases.target] & ~cold
    return (
        _thirds("users by training events", activity, person, "{:,.0f}"),
        _thirds("users by share of popular items in training", taste, person, "{:.2f}"),
        CaseGroups(
            "targets by popularity",
            ("never in training", "tail", "head (80 % of training)"),
            np.stack([cold, ~in_head & ~cold, in_head], axis=1),
        ),
        *(
            CaseGroups(f"targets by {column.column}", column.labels, column.membership[cases.target] > 0)
            for column in columns
        ),
    )


def training_events(split: Split) -> tuple[IntArray, IntArray]:
    """(events,) twice: whose each training event is, as `Cases.units` numbers them, and its item."""
    rows = split.rows
    owner = np.arange(len(split.sequences)) if rows is None or rows.users is None else rows.users
    train = [split.train(row) for row in range(len(split.sequences))]
    units = np.repeat(owner, [items.size for items in train])
    return units, np.concatenate([np.empty(0, dtype=np.int64), *train]).astype(np.int64)


def _thirds(name: str, values: FloatArray | IntArray, person: IntArray, form: str) -> CaseGroups:
    """The users in three groups of about one size; equal values stay together. values: (users,)."""
    third = popularity_groups(values, 3)  # type: ignore[arg-type]
    ends = [(values[third == group].min(), values[third == group].max()) for group in np.unique(third)]
    labels = tuple(f"{form.format(low)} to {form.format(high)}" for low, high in ends)
    return CaseGroups(name, labels, third[person][:, None] == np.unique(third))


# --- the table -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupRow:
    """One method. gap: the best group's value less the worst's."""

    name: str
    groups: list[Estimate]
    gap: float
    worst: str


@dataclass(frozen=True)
class GroupTable:
    """A metric by group. users, cases: of each group, by its place among the labels."""

    name: str
    metric: str
    labels: list[str]
    users: list[int]
    cases: list[int]
    rows: list[GroupRow]
    too_small: int  # groups of fewer than 100 users, not shown

    @property
    def line(self) -> str:
        """The gaps, in one line."""
        gaps = ", ".join(f"{row.name} {number(row.gap)} (worst: {row.worst})" for row in self.rows)
        return f"{self.metric} gap between {self.name}: {gaps}"

    @property
    def side(self) -> SideTable:
        """As text, a row a group."""
        body = [
            [label, f"{users:,}", f"{cases:,}", *(with_interval(row.groups[place]) for row in self.rows)]
            for place, (label, users, cases) in enumerate(zip(self.labels, self.users, self.cases, strict=True))
        ]
        body.append(["gap", "", "", *(number(row.gap) for row in self.rows)])
        small = [f"not shown: {self.too_small} of fewer than {LEAST_USERS} users"] if self.too_small else []
        return SideTable(
            f"{self.metric} of {self.name}", ["group", "users", "cases", *(row.name for row in self.rows)], body, small
        )


def group_tables(
    groupings: Sequence[CaseGroups], values: Mapping[str, Sequence[FloatArray]], users: IntArray, metric: str
) -> list[GroupTable]:
    """A table for each grouping that has two groups of 100 users. values: by method, (cases,) one a seed."""
    tables = (_group_table(groups, values, users, metric) for groups in groupings)
    return [table for table in tables if table is not None]


def _group_table(
    groups: CaseGroups, values: Mapping[str, Sequence[FloatArray]], users: IntArray, metric: str
) -> GroupTable | None:
    people = np.array([np.unique(users[inside]).size for inside in groups.members.T])
    shown = np.flatnonzero(people >= LEAST_USERS)
    if shown.size < 2:
        return None
    labels = [groups.labels[group] for group in shown]
    members = groups.members[:, shown]
    rows = []
    for name, seeds in values.items():
        estimates = _by_group(members, labels, seeds, users, hits=metric.startswith(PROPORTIONS))
        by_value = sorted(estimates, key=lambda label: estimates[label].value)
        gap = estimates[by_value[-1]].value - estimates[by_value[0]].value
        rows.append(GroupRow(name, [estimates[label] for label in labels], gap, by_value[0]))
    cases = [int(count) for count in members.sum(axis=0)]
    return GroupTable(
        groups.name, metric, labels, people[shown].tolist(), cases, rows, int(((people > 0).sum()) - shown.size)
    )


def _by_group(
    members: BoolArray, labels: Sequence[str], seeds: Sequence[FloatArray], users: IntArray, *, hits: bool
) -> dict[str, Estimate]:
    inside = [
        {label: np.where(member, column, np.nan) for label, member in zip(labels, members.T, strict=True)}
        for column in seeds
    ]
    if len(seeds) == 1:
        return bootstrap_intervals(inside[0], users, proportions=labels if hits else ())
    return {label: seeds_and_cases([seed[label] for seed in inside], users) for label in labels}
