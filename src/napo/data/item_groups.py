"""Groups of items that a column of the items file makes: genres, categories, publishers.

Path    Catalog -> [data.item_groups] -> evaluation by group
Takes   the column's name, and what separates the values where an item has several
Gives   ItemGroups: labels, and how much of each item belongs to which
"""

from dataclasses import dataclass

import numpy as np

from napo.arrays import FloatArray
from napo.data.catalog import Catalog
from napo.errors import UserError, did_you_mean


@dataclass(frozen=True, eq=False)
class ItemGroups:
    """membership: (items, groups); an item of m groups has 1/m in each, one without a value zeros."""

    column: str
    labels: tuple[str, ...]
    membership: FloatArray


def item_groups(catalog: Catalog, column: str, separator: str = "") -> ItemGroups:
    """The groups of a column, by label. separator: between the values of one item; "": it has but one.

    Raises UserError where the catalog has no such column, or nothing stands in it.
    """
    where = "evaluation.groups"
    if column not in catalog.columns.columns:
        known = catalog.columns.columns
        raise UserError(
            f"the items have no column {column!r}",
            where=where,
            remedy=did_you_mean(column, known) if known else "name an items file that has one: `data.items`",
        )
    cells = ["" if cell is None else str(cell) for cell in catalog.columns[column]]
    values = [{value.strip() for value in (cell.split(separator) if separator else [cell])} - {""} for cell in cells]
    labels = tuple(sorted(set().union(*values)))
    if not labels:
        raise UserError(f"nothing stands in column {column!r} of the items", where=where)
    place = {label: group for group, label in enumerate(labels)}
    membership = np.zeros((len(catalog), len(labels)))
    for item, mine in enumerate(values):
        for label in mine:
            membership[item, place[label]] = 1 / len(mine)
    return ItemGroups(column, labels, membership)
