"""How a sweep's own pictures are drawn.

Path    experiments.figures -> [experiments.drawings] -> matplotlib
Takes   Lines, Points, TrainingLogs; styles by row; a Theme
Gives   a Figure each
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.evaluation.plot_style import SMALL, Style, Theme, blank, key, label, legend
from napo.evaluation.plots import TrainingLog, running_mean
from napo.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# figures of metrics.jsonl that say how far chosen and rejected titles are apart, and what their axes say
MARGINS = {
    "reward_margin": "reward margin (nats)",
    "gamma": r"margin $\gamma$ (nats)",
    "chosen_log_prob": "chosen log-prob (nats)",
}
FEW_TICKS = 8


@dataclass(frozen=True)
class Line:
    """Accuracy by the values of a key. row: one of its rows, for the style."""

    name: str
    row: str
    points: tuple[tuple[float, Estimate], ...]


@dataclass(frozen=True)
class Point:
    """Accuracy of a row and what it costs."""

    row: str
    accuracy: Estimate
    gigabytes: float
    minutes: float


def key_lines(
    lines: Sequence[Line],
    name: str,
    metric: str,
    beside: Mapping[str, Estimate],
    *,
    styles: Mapping[str, Style],
    theme: Theme,
) -> Figure:
    """Accuracy by a key's values, a line each; rows without the key as dashed lines across.

    The scale is logarithmic where all values are above 0 and the highest is eight times the lowest or more.
    """
    figure, (axes,) = blank(1, 3.0, theme)
    values = sorted({value for line in lines for value, _ in line.points})
    logarithmic = values[0] > 0 and values[-1] >= 8 * values[0]
    for row, one in beside.items():
        axes.axhspan(one.low, one.high, color=theme.palette[styles[row].colour], alpha=0.08, linewidth=0)
        axes.axhline(one.value, color=theme.palette[styles[row].colour], linestyle="--", linewidth=1.2)
    for place, line in enumerate(lines):
        aside = (place - (len(lines) - 1) / 2) * 0.008  # or the whiskers of two lines hide each other
        x = [_beside(value, aside, values, logarithmic) for value, _ in line.points]
        _whiskers(axes, x, [one for _, one in line.points], styles[line.row], theme, marker_of=place)
    if logarithmic:
        axes.set_xscale("log")
    shown = values if len(values) <= FEW_TICKS else values[:: -(-len(values) // FEW_TICKS)]
    axes.set_xticks(shown, [f"{value:g}" for value in shown])
    axes.minorticks_off()
    axes.set(xlabel=name, ylabel=f"{metric} [95 %]")
    signs = {
        line.name: key(theme.palette[styles[line.row].colour], styles[line.row].line, _marker(styles[line.row], place))
        for place, line in enumerate(lines)
    }
    legend(figure, signs | {row: key(theme.palette[styles[row].colour], "--") for row in beside}, theme)
    return figure


def _beside(value: float, aside: float, values: Sequence[float], logarithmic: bool) -> float:
    if logarithmic:
        return float(value * (values[-1] / values[0]) ** aside)
    return value + aside * (values[-1] - values[0])


def _whiskers(
    axes: Axes, x: Sequence[float], each: Sequence[Estimate], style: Style, theme: Theme, *, marker_of: int = 0
) -> None:
    y = np.array([one.value for one in each])
    reach = np.array(
        [[max(0.0, one.value - one.low) for one in each], [max(0.0, one.high - one.value) for one in each]]
    )
    look: dict[str, Any] = {"color": theme.palette[style.colour], "marker": _marker(style, marker_of)}
    axes.errorbar(x, y, yerr=reach, linestyle=style.line, linewidth=1.3, elinewidth=1.2, markersize=5, **look)


def _marker(style: Style, place: int) -> str:
    """Lines of one method share its colour; further ones have other markers."""
    return style.marker if place < 1 else ("^", "D", "v", "P", "X", "s", "o")[place % 7]


def cost_points(
    points: Sequence[Point],
    methods: Mapping[str, str],
    metric: str,
    *,
    styles: Mapping[str, Style],
    theme: Theme,
) -> Figure:
    """Accuracy against memory, and against minutes; rows of one method joined in their order."""
    figure, (memory, minutes) = blank(1, 3.1, theme, columns=2, heights=[1])
    minutes.sharey(memory)
    minutes.tick_params(labelleft=False)
    by_method: dict[str, list[Point]] = {}
    for point in points:
        by_method.setdefault(methods[point.row], []).append(point)
    for axes, of in ((memory, "gigabytes"), (minutes, "minutes")):
        for mine in by_method.values():
            _whiskers(axes, [getattr(p, of) for p in mine], [p.accuracy for p in mine], styles[mine[0].row], theme)
        # from 0 on: two rows a megabyte apart must look alike
        axes.set_xlim(0, 1.1 * max(getattr(point, of) for point in points))
    memory.set(xlabel="peak memory (GB)", ylabel=f"{metric} [95 %]")
    minutes.set_xlabel("preference stage (min)")
    signs = {}
    for method, mine in by_method.items():
        style = styles[mine[0].row]
        signs[label(method)] = key(theme.palette[style.colour], style.line, style.marker)
    legend(figure, signs, theme)
    return figure


def margin_panels(
    logs: Sequence[TrainingLog],
    shown: Sequence[str],
    methods: Mapping[str, str],
    *,
    styles: Mapping[str, Style],
    theme: Theme,
) -> Figure:
    """A panel for each of `shown` by step, a line for each row; methods: by row, for the legend."""
    figure, panels = blank(len(shown), 0.6 + 1.7 * len(shown), theme)
    for axes, name in zip(panels, shown, strict=True):
        for log in logs:
            if name in log.series:
                steps, values = log.series[name]
                values = running_mean(values, max(1, len(values) // 25))
                style = styles[log.name]
                axes.plot(steps, values, linestyle=style.line, color=theme.palette[style.colour], linewidth=1.4)
        axes.set_ylabel(MARGINS[name], fontsize=SMALL)
    panels[-1].set_xlabel("step")
    alike = Counter(methods[log.name] for log in logs)  # the rows of a grid share a line's look
    signs = {}
    for log in logs:
        method, style = methods[log.name], styles[log.name]
        name = f"{method} ({alike[method]} rows)" if alike[method] > 1 else log.name
        signs[name] = key(theme.palette[style.colour], style.line)
    legend(figure, signs, theme)
    return figure
