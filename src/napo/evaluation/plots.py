"""Pictures: how training went, how often the target was found, whom the lists favour.

Path    metrics.jsonl, results -> [evaluation.plots] -> report, or a page of your own
Takes   TrainingLog, HitRates, Deciles: plain arrays by name
Gives   a matplotlib Figure each; `plot_style.png` makes bytes of it

`styles`: one for every name you will ever show, from `styles_for`, so that a method looks alike in all your pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.evaluation.metrics import hr_at
from napo.evaluation.plot_style import LIGHT, SMALL, TEXT, Keys, Style, Theme, blank, key, label, legend, styles_for
from napo.evaluation.results import CandidateResult, FullResult
from napo.evaluation.statistics import Estimate, bootstrap_intervals, seeds_and_cases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# --- what is drawn -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """A stage's figures by step. Logs of one name (several seeds) share a colour.

    series: figure -> (steps, values), by rising step. best: the step whose weights are kept; 0 is the start.
    """

    name: str
    series: Mapping[str, tuple[IntArray, FloatArray]]
    best: int | None = None

    @classmethod
    def of(cls, name: str, entries: Iterable[Mapping[str, Any]], best: int | None = None) -> TrainingLog:
        """From the lines of metrics.jsonl. A step counts once: its last line, since a resumed run looks again."""
        found: dict[str, dict[int, float]] = {}
        for entry in entries:
            for figure, value in entry.items():
                if figure != "step" and "step" in entry and isinstance(value, int | float):
                    found.setdefault(figure, {})[int(entry["step"])] = float(value)
        series = {
            figure: (np.array(sorted(by_step)), np.array([by_step[step] for step in sorted(by_step)]))
            for figure, by_step in found.items()
        }
        return cls(name, series, best)


@dataclass(frozen=True, eq=False)
class HitRates:
    """HR@k of one method at several k, with intervals."""

    name: str
    ks: IntArray  # (n,) rising
    values: FloatArray  # (n,)
    low: FloatArray  # (n,)
    high: FloatArray  # (n,)

    @classmethod
    def of(
        cls, name: str, results: Sequence[CandidateResult | FullResult], ks: Sequence[int] | None = None
    ) -> HitRates:
        """From a method's results, one a seed; 95 % intervals as in the table. ks: 1 to 10 where they fit."""
        first = results[0]
        longest = first.candidates if isinstance(first, CandidateResult) else first.items
        ks = [k for k in (range(1, 11) if ks is None else ks) if k <= longest]
        hits = [{f"HR@{k}": hr_at(result.ranks, k) for k in ks} for result in results]
        estimates: Mapping[str, Estimate]
        if len(results) == 1:
            estimates = bootstrap_intervals(hits[0], first.users, proportions=hits[0])
        else:
            estimates = {one: seeds_and_cases([seed[one] for seed in hits], first.users) for one in hits[0]}
        each = list(estimates.values())
        value, low, high = (np.array([getattr(one, part) for one in each]) for part in ("value", "low", "high"))
        return cls(name, np.array(ks), value, low, high)

    def place_of(self, k: int | None) -> int:
        """Where k stands among the ks; 0 where it does not."""
        return int(np.argmax(self.ks == k))


@dataclass(frozen=True, eq=False)
class Deciles:
    """Shares of the items' popularity deciles, least popular first, each (10,) and summing to 1."""

    recommended: Mapping[str, FloatArray]  # by method
    liked: FloatArray  # in the histories
    targets: FloatArray | None = None  # what was to be found

    @classmethod
    def of(cls, rows: Mapping[str, Sequence[FullResult]]) -> Deciles:
        """From whole-catalog results by method, one a seed, whose mean is taken."""
        bias = {name: [result.bias for result in given] for name, given in rows.items()}
        first = next(iter(bias.values()))[0]
        recommended = {
            name: np.mean([one.recommended_deciles for one in given], axis=0) for name, given in bias.items()
        }
        return cls(recommended, first.liked_deciles, first.target_deciles)


# --- training ------------------------------------------------------------------------------------------------------

_PANELS = {
    "loss": "training loss\n(nats an example)",
    "eval_ndcg": "validation NDCG",
    "eval_hr@1": "validation HR@1",
}


def training_curves(
    logs: Sequence[TrainingLog], *, styles: Mapping[str, Style] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Loss, and validation from the start (step 0) on, by step, one line a run; a ring marks the step that is kept."""
    styles = styles or styles_for(log.name for log in logs)
    shown = [figure for figure in _PANELS if any(figure in log.series for log in logs)] or ["loss"]
    figure, panels = blank(len(shown), 0.6 + 1.75 * len(shown), theme)
    thin = len(logs) > len({log.name for log in logs})  # several seeds
    one_start = False
    for axes, name in zip(panels, shown, strict=True):
        looks = name != "loss"
        starts = {round(float(log.series[name][1][0]), 6) for log in logs if name in log.series}
        if looks and len(starts) == 1:
            one_start = True
            axes.axhline(starts.pop(), color=theme.muted, linestyle=":", linewidth=1.0)
        for log in (log for log in logs if name in log.series):
            style = styles[log.name]
            _line(axes, log, name, style.line, theme.palette[style.colour], style.marker if looks else "", thin=thin)
            if looks:
                _ring(axes, log, name, theme.palette[style.colour], "" if len(logs) > 1 else theme.ink)
        axes.set_ylabel(_PANELS[name])
        axes.margins(y=0.14)
    panels[-1].set_xlabel("step")
    keys = _names(logs, styles, theme)
    if one_start:
        keys["the start"] = key(theme.muted, ":")
    legend(figure, {**keys, "best step, kept": key(theme.muted, "", "o", hollow=True)}, theme)
    return figure


def log_prob_curves(
    logs: Sequence[TrainingLog], *, styles: Mapping[str, Style] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Log-probs of chosen and rejected titles by step, a panel a method; dots mark where each began.

    A preference loss is content with a wider gap: it may widen while both fall, and then both lines go down here.
    """
    styles = styles or styles_for(log.name for log in logs)
    names = [name for name in styles if any(log.name == name for log in logs)]
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure, panels = blank(rows, 0.7 + (2.3 if rows == 1 else 1.75 * rows), theme, columns=columns)
    for axes, name in zip(panels, names, strict=False):
        colour, mine = theme.palette[styles[name].colour], [log for log in logs if log.name == name]
        for series, line in (("chosen_log_prob", "-"), ("rejected_log_prob", "--")):
            began = [
                _line(axes, log, series, line, colour, "", thin=len(mine) > 1) for log in mine if series in log.series
            ]
            if began:
                axes.axhline(float(np.mean(began)), color=theme.muted, linestyle=":", linewidth=1.0)
        axes.set_title(
            label(name, 18 if columns > 1 else 40), fontsize=TEXT, color=theme.ink, loc="left", parse_math=False
        )
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)  # also above a place that stays empty
    figure.supxlabel("step", fontsize=TEXT, color=theme.ink)
    figure.supylabel("log-prob of a title (nats)", fontsize=TEXT, color=theme.ink)
    lines = {"chosen": (theme.ink, "-"), "rejected": (theme.ink, "--"), "where it began": (theme.muted, ":")}
    legend(figure, {name: key(*look) for name, look in lines.items()}, theme)
    return figure


def margin_curves(
    logs: Sequence[TrainingLog], *, styles: Mapping[str, Style] | None = None, theme: Theme = LIGHT
) -> Figure:
    """The margin gamma by step, of the runs that logged one."""
    logs = [log for log in logs if "gamma" in log.series]
    styles = styles or styles_for(log.name for log in logs)
    figure, (axes,) = blank(1, 2.5, theme)
    for log in logs:
        _line(axes, log, "gamma", styles[log.name].line, theme.palette[styles[log.name].colour], "")
    axes.set(xlabel="step", ylabel=r"margin $\gamma$ (nats)")
    axes.margins(y=0.14)
    legend(figure, _names(logs, styles, theme), theme)
    return figure


# --- judged --------------------------------------------------------------------------------------------------------


def hit_rate_curves(
    rates: Sequence[HitRates],
    headline: int | None = None,
    *,
    styles: Mapping[str, Style] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Above, HR at one k by method with its interval; below, HR@k at every k where there are several.

    headline: the k of the upper panel; None, or one that was not measured: the first.
    """
    styles = styles or styles_for(rate.name for rate in rates)
    rates = sorted(rates, key=lambda rate: list(styles).index(rate.name))
    every = np.unique(np.concatenate([rate.ks for rate in rates]))
    tall = 0.55 + 0.24 * len(rates)
    heights = [tall, 2.9] if len(every) > 1 else [tall]
    figure, panels = blank(len(heights), sum(heights) + 0.2, theme, heights=heights)
    for place, rate in enumerate(rates):
        style = styles[rate.name]
        look: dict[str, Any] = {"color": theme.palette[style.colour], "marker": style.marker}
        at = rate.place_of(headline)
        value, low, high = float(rate.values[at]), float(rate.low[at]), float(rate.high[at])
        reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
        panels[0].errorbar([value], [place], xerr=reach, linestyle="", elinewidth=1.6, markersize=5.5, **look)
        if len(every) > 1:
            panels[1].fill_between(rate.ks, rate.low, rate.high, color=look["color"], alpha=0.15, linewidth=0)
            panels[1].plot(rate.ks, rate.values, linestyle=style.line, linewidth=1.2, markersize=4.0, **look)
    panels[0].set_yticks(range(len(rates)), [label(rate.name) for rate in rates], parse_math=False)
    panels[0].invert_yaxis()
    panels[0].margins(y=0.6 / max(len(rates), 1))
    panels[0].grid(visible=False, axis="y")
    panels[0].set_xlabel(f"HR@{rates[0].ks[rates[0].place_of(headline)]} [95 %]")
    if len(every) > 1:
        panels[1].set(xlabel="k", ylabel="HR@k [95 %]", xticks=every, ylim=(0, None))
    return figure


def decile_shares(deciles: Deciles, *, styles: Mapping[str, Style] | None = None, theme: Theme = LIGHT) -> Figure:
    """Shares of the popularity deciles in each method's lists, in percent; the colour says how far from the liked."""
    from matplotlib.colors import LinearSegmentedColormap

    styles = styles or styles_for(deciles.recommended)
    aims = {"liked before": deciles.liked, **({} if deciles.targets is None else {"targets": deciles.targets})}
    rows = {**aims, **{name: deciles.recommended[name] for name in styles if name in deciles.recommended}}
    table = 100 * np.stack(list(rows.values()))  # (rows, 10)
    off = table - 100 * deciles.liked
    widest = float(np.abs(off).max().clip(1, 20))  # or popularity's 50 points would leave all the others pale
    figure, (axes,) = blank(1, 1.25 + 0.3 * len(rows), theme)
    colours = LinearSegmentedColormap.from_list("off", [theme.less, theme.paper, theme.more])
    image = axes.imshow(off, cmap=colours, vmin=-widest, vmax=widest, aspect="auto")
    for row, column in np.ndindex(*table.shape):
        share = f"{table[row, column]:.0f}" if table[row, column] >= 0.95 or table[row, column] == 0 else "<1"
        axes.text(column, row, share, ha="center", va="center", fontsize=SMALL, color=theme.ink)
    axes.axhline(len(aims) - 0.5, color=theme.muted, linewidth=1.0)
    axes.set_yticks(range(len(rows)), [label(name) for name in rows], parse_math=False)
    axes.set_xticks(range(table.shape[1]), [str(tenth + 1) for tenth in range(table.shape[1])])
    axes.set_xlabel("tenth of the items, 1: least popular, 10: most popular")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    bar = figure.colorbar(
        image, ax=axes, pad=0.02, aspect=14, extend="both" if np.abs(off).max() > widest else "neither"
    )
    bar.set_label("points more than liked", fontsize=SMALL, color=theme.ink)
    bar.ax.tick_params(labelsize=SMALL, color=theme.muted, labelcolor=theme.ink)
    bar.outline.set_visible(False)
    return figure


# --- lines ---------------------------------------------------------------------------------------------------------


def _line(
    axes: Axes, log: TrainingLog, series: str, line: str, colour: str, marker: str, *, thin: bool = False
) -> float:
    """One run's line; of many points the running mean over a 25th of them, the points themselves pale behind it.

    Returns the value that the line begins with.
    """
    steps, values = log.series[series]
    values = np.where(np.isfinite(values), values, np.nan)
    window = len(values) // 25
    if not marker and window > 1:
        axes.plot(steps, values, linewidth=0.7, color=colour, alpha=0.25)
        values = running_mean(values, window)
    axes.plot(
        steps,
        values,
        linestyle=line,
        color=colour,
        marker=marker,
        linewidth=0.9 if thin else 1.6,
        markersize=2.5 if thin else 4.5,
    )
    return float(values[0])


def running_mean(values: FloatArray, window: int) -> FloatArray:
    """(n,) the mean of the about `window` values around each; fewer at the ends; NaN is left out."""
    here = np.isfinite(values).astype(np.float64)
    width = min(2 * (window // 2) + 1, len(values))
    ones = np.ones(width)
    total, count = (np.convolve(x, ones, mode="same") for x in (np.where(here > 0, values, 0.0), here))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ring(axes: Axes, log: TrainingLog, series: str, colour: str, words: str) -> None:
    """A ring round the best step. words: the colour to say its value in, above the panel; empty: leave it at that."""
    steps, values = log.series.get(series, (np.array([]), np.array([])))
    if log.best is None or log.best not in steps:
        return
    best = float(values[steps == log.best][0])
    axes.plot([log.best], [best], marker="o", markersize=11, markerfacecolor="none", color=colour, markeredgewidth=1.6)
    if words:
        said = "the start is best" if log.best == 0 else f"{best:.3f} at step {log.best:,}"
        axes.set_title(f"{values[0]:.3f} at the start, {said}", fontsize=SMALL, color=words, loc="right")


def _names(logs: Sequence[TrainingLog], styles: Mapping[str, Style], theme: Theme) -> Keys:
    """Legend keys of the methods; a single one needs none."""
    shown = {name: style for name, style in styles.items() if any(log.name == name for log in logs)}
    if len(shown) < 2:
        return {}
    return {name: key(theme.palette[style.colour], style.line, style.marker) for name, style in shown.items()}
