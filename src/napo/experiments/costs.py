"""What the rows of a store cost: memory and seconds of their preference stage, seed by seed.

Path    experiments.store -> [experiments.costs] -> experiments.claims, experiments.figures
Takes   Store
Gives   gigabytes and seconds by seed; where rows have no preference stage in common, those of the whole cell
"""

from collections.abc import Mapping

import numpy as np

from napo.errors import UserError
from napo.evaluation.table_text import SideTable
from napo.experiments.store import Store

IN_STAGE = "peak until the preference stage ended"
IN_CELL = "peak of the whole cell, judging included"


def memory_by_seed(store: Store, data: str, row: str, other: str) -> tuple[dict[int, float], dict[int, float], str]:
    """Peak memory in GB of two rows by seed, and of what: of the same in both. Raises UserError where there is none."""
    both = [stage_memory(store, data, name) for name in (row, other)]
    where = IN_STAGE
    if not (set(both[0]) & set(both[1])):
        both, where = [cell_figure(store, data, name, "peak_gb") for name in (row, other)], IN_CELL
    for name, found in zip((row, other), both, strict=True):
        if not found:
            raise UserError(f"no cell of {name} is done")
    if not (set(both[0]) & set(both[1])):
        raise UserError(f"{row} and {other} have no seed in common")
    return both[0], both[1], where


def stage_memory(store: Store, data: str, row: str) -> dict[int, float]:
    """By seed, the peak memory at the end of the preference stage; empty where none was logged.

    On a CPU it is the process's, so that a cell which trained its own supervised start shows that too.
    """
    curves = store.curves
    if not {"memory_gb", "stage"} <= set(curves.columns):
        return {}
    mine = curves.filter(data=data, row=row, stage="preference").drop_nulls("memory_gb")
    return dict(mine.group_by("seed").max().select("seed", "memory_gb").iter_rows())


def cell_figure(store: Store, data: str, row: str, figure: str) -> dict[int, float]:
    """By seed, a column of costs.parquet: `seconds`, `peak_gb`, `preference seconds`; empty where it has none."""
    if figure not in store.costs.columns:
        return {}
    mine = store.costs.filter(data=data, row=row).drop_nulls(figure)
    return dict(mine.select("seed", figure).iter_rows())


def cost_table(store: Store, data: str) -> SideTable | None:
    """A row for each that was trained: mean over seeds, and from the least to the most. None without any."""
    rows = store.cells.filter(data=data, kind="model")["row"].unique(maintain_order=True).to_list()
    body = []
    for row in rows:
        seconds, whole = (cell_figure(store, data, row, name) for name in ("preference seconds", "seconds"))
        cell = cell_figure(store, data, row, "peak_gb")
        body.append([row, *map(_spread, (stage_memory(store, data, row), cell, _minutes(seconds), _minutes(whole)))])
    header = ["method", "peak GB, preference stage", "peak GB, whole cell", "preference stage, min", "training, min"]
    note = (
        "Means over seeds (least to most), on the machine that ran them. A cell that trained the supervised start which"
        " others share has its memory and minutes too."
    )
    return SideTable("What each row costs", header, body, [note]) if body else None


def _minutes(seconds: Mapping[int, float]) -> dict[int, float]:
    return {seed: value / 60 for seed, value in seconds.items()}


def _spread(by_seed: Mapping[int, float]) -> str:
    """`1.52 (1.50 to 1.55)`."""
    if not by_seed:
        return "-"
    values = list(by_seed.values())
    ends = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{ends}"
