"""The pictures of a sweep: accuracy by row, by key, by what it costs; whom the lists favour; margins in training.

Path    experiments.store -> [experiments.figures] -> experiments.page
Takes   Store, a data set, a protocol
Gives   Pictures, each only where the store holds what it shows

A method has one colour, line and marker in all of them; the rows of its grid share it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from napo.evaluation.plot_style import Style, styles_for
from napo.evaluation.plots import Deciles, HitRates, TrainingLog
from napo.evaluation.report_pictures import Picture, file_name, judged_pictures
from napo.evaluation.results import FullResult
from napo.evaluation.statistics import Estimate
from napo.experiments.costs import cell_figure, stage_memory
from napo.experiments.drawings import MARGINS, Line, Point, cost_points, key_lines, margin_panels
from napo.experiments.store import Store

if TYPE_CHECKING:
    from napo.evaluation.table import ResultTable

WITHOUT_DECILES = ("chance", "blind slot rule")
MANY_ROWS = 8  # beyond them HR@k at several k would be a tangle


def row_styles(store: Store) -> dict[str, Style]:
    """By row, its method's style, in the order of the tables."""
    methods = _methods(store)
    styles = styles_for(methods.values())
    return {row: style for method, style in styles.items() for row, its in methods.items() if its == method}


def _methods(store: Store) -> dict[str, str]:
    """By row, in the store's order."""
    return dict(store.cells.unique("row", maintain_order=True).select("row", "method").iter_rows())


def table_pictures(store: Store, data: str, protocol: str, styles: Mapping[str, Style]) -> list[Picture]:
    """What belongs to one table: how often the target was found by row and by key, whom the lists favour."""
    table = store.table(data, protocol)
    found = judged_pictures(
        f"{data} {protocol}", table.metric, hit_rates(table), deciles(store, data, protocol), styles
    )
    return [*found, *_by_key(store, data, protocol, styles)]


def data_pictures(store: Store, data: str, styles: Mapping[str, Style]) -> list[Picture]:
    """What belongs to a data set whatever the protocol: costs, training."""
    return [*_costs(store, data, styles), *_margins(store, data, styles)]


# --- accuracy ------------------------------------------------------------------------------------------------------


def hit_rates(table: ResultTable) -> list[HitRates]:
    """HR@k of each row as the table has it; at the compared k alone where rows are many, or k few."""
    ks = sorted(int(name[3:]) for name in table.rows[0].metrics if re.fullmatch(r"HR@\d+", name))
    if (len(table.rows) > MANY_ROWS or len(ks) < 3) and table.metric.startswith("HR@"):
        ks = [int(table.metric[3:])]
    if not ks:
        return []
    rates = []
    for row in table.rows:
        each = [row.metrics[f"HR@{k}"] for k in ks]
        value, low, high = (np.array([getattr(one, end) for one in each]) for end in ("value", "low", "high"))
        rates.append(HitRates(row.name, np.array(ks), value, low, high))
    return rates


def deciles(store: Store, data: str, protocol: str) -> Deciles | None:
    """Of the rows that rank the whole catalog; None under other protocols."""
    rows = {
        row: [one for one in given if isinstance(one, FullResult)]
        for row, given in store.results(data, protocol).items()
        if row not in WITHOUT_DECILES
    }
    return Deciles.of(rows) if rows and all(rows.values()) else None


def _by_key(store: Store, data: str, protocol: str, styles: Mapping[str, Style]) -> Iterator[Picture]:
    """Accuracy by each numeric key that varies, a line for a method and a choice of its other keys."""
    table = store.table(data, protocol)
    estimates = {row.name: row.metrics[table.metric] for row in table.rows}
    for key, lines in grid_lines(store, data, protocol, estimates).items():
        beside = (
            {table.base: estimates[table.base]} if table.base in estimates and not _varies(store, table.base) else {}
        )
        said = "; ".join(
            f"{line.name}: " + ", ".join(f"{x:g} {one.value:.3f}" for x, one in line.points) for line in lines
        )
        yield Picture(
            file_name(f"{data} {protocol}", f"by {key}"),
            f"{table.metric} by {key}",
            "Whiskers hold the true rate 95 times in 100, over users and over seeds where there are several. Neighbours"
            " met the same cases: their paired difference is surer than two whiskers look."
            + (f" Dashed: {table.base}." if beside else ""),
            said,
            lambda theme, lines=lines, key=key, beside=beside: key_lines(  # type: ignore[misc]
                lines, key, table.metric, beside, styles=styles, theme=theme
            ),
        )


def grid_lines(store: Store, data: str, protocol: str, estimates: Mapping[str, Estimate]) -> dict[str, list[Line]]:
    """By key: its lines of two or more points, by rising value. Keys whose values are no numbers have none."""
    cells = store.cells.filter(data=data, protocol=protocol, kind="model").unique("row", maintain_order=True)
    found: dict[str, dict[tuple[str, str], dict[float, str]]] = {}
    for row, method, said in cells.select("row", "method", "keys").iter_rows():
        keys = json.loads(said)
        for key, value in keys.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and row in estimates:
                others = _in_words({name: one for name, one in keys.items() if name != key})
                found.setdefault(key, {}).setdefault((method, others), {})[float(value)] = row
    lines = {
        key: [
            Line(f"{method}, {others}" if others else method, next(iter(rows.values())), _points(rows, estimates))
            for (method, others), rows in by_line.items()
            if len(rows) > 1
        ]
        for key, by_line in found.items()
    }
    return {key: each for key, each in lines.items() if each}


def _points(rows: Mapping[float, str], estimates: Mapping[str, Estimate]) -> tuple[tuple[float, Estimate], ...]:
    return tuple((value, estimates[rows[value]]) for value in sorted(rows))


def _in_words(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in keys.items())


def _varies(store: Store, row: str) -> bool:
    return bool(store.cells.filter(pl.col("row") == row, pl.col("keys") != "{}").height)


# --- costs -----------------------------------------------------------------------------------------------------------


def _costs(store: Store, data: str, styles: Mapping[str, Style]) -> Iterator[Picture]:
    """Accuracy against memory and minutes, for the rows that have a preference stage."""
    protocol = store.protocols(data)[0]
    table = store.table(data, protocol)
    points = []
    for row in table.rows:
        memory = stage_memory(store, data, row.name) or cell_figure(store, data, row.name, "peak_gb")
        seconds = cell_figure(store, data, row.name, "preference seconds")
        if memory and seconds:
            minutes = float(np.mean(list(seconds.values()))) / 60
            points.append(Point(row.name, row.metrics[table.metric], float(np.mean(list(memory.values()))), minutes))
    if len(points) < 2:
        return
    methods = _methods(store)
    said = (f"{p.row}: {p.accuracy.value:.3f} at {p.gigabytes:.2f} GB and {p.minutes:.1f} min" for p in points)
    yield Picture(
        file_name(data, "costs"),
        f"{table.metric} against what it costs",
        "Means over seeds: peak memory until the preference stage ended, and that stage's minutes on the machine that"
        " ran it. Rows of one method's grid are joined.",
        "; ".join(said),
        lambda theme: cost_points(points, methods, table.metric, styles=styles, theme=theme),
    )


# --- training --------------------------------------------------------------------------------------------------------


def _margins(store: Store, data: str, styles: Mapping[str, Style]) -> Iterator[Picture]:
    logs = preference_logs(store, data)
    shown = [figure for figure in MARGINS if any(figure in log.series for log in logs)]
    if not shown:
        return
    said = (
        f"{log.name}: {MARGINS[figure].partition(' (')[0]} from {log.series[figure][1][0]:.2f}"
        f" to {log.series[figure][1][-1]:.2f}"
        for log in logs
        for figure in shown
        if figure in log.series
    )
    yield Picture(
        file_name(data, "margins"),
        "Margins over the preference stage",
        "Means over seeds, smoothed; rewards and log-probs are the batch's. Where the chosen log-prob falls while the"
        " reward margin grows, the margin is won by pushing rejected titles down.",
        "; ".join(said),
        lambda theme: margin_panels(logs, shown, _methods(store), styles=styles, theme=theme),
    )


def preference_logs(store: Store, data: str) -> list[TrainingLog]:
    """A log for each row: the mean over its seeds at each step that was logged."""
    curves = store.curves
    wanted = [figure for figure in MARGINS if figure in curves.columns]
    if not wanted:
        return []
    mine = curves.filter(data=data, stage="preference").group_by("row", "step", maintain_order=True)
    means = mine.agg(pl.col(wanted).mean()).sort("step", maintain_order=True)
    logs = []
    for (row,), part in means.partition_by("row", as_dict=True, maintain_order=True).items():
        series = {}
        for figure in wanted:
            known = part.drop_nulls(figure)
            if known.height > 1:
                series[figure] = (known["step"].to_numpy(), known[figure].to_numpy())
        if series:
            logs.append(TrainingLog(str(row), series))
    return logs
