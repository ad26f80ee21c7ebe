"""Which pictures a report has, and what is said under and instead of them.

Path    plots -> [evaluation.report_pictures] -> report
Takes   HitRates, Deciles, TrainingLogs
Gives   Picture: heading, caption, words for those who can't see it, and how to draw it on either paper
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napo.arrays import FloatArray
from napo.evaluation.plot_style import Style, Theme
from napo.evaluation.plots import (
    Deciles,
    HitRates,
    TrainingLog,
    decile_shares,
    hit_rate_curves,
    log_prob_curves,
    margin_curves,
    training_curves,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Picture:
    """One figure and its words. file: its name without an end."""

    file: str
    heading: str
    caption: str
    alt: str
    draw: Callable[[Theme], Figure]


def judged_pictures(
    protocol: str,
    metric: str,
    rates: Sequence[HitRates],
    deciles: Deciles | None,
    styles: Mapping[str, Style],
) -> list[Picture]:
    """How often the target was found, and whom the lists favour. metric: where it is an HR@k, that k is shown large."""
    found = []
    headline = int(metric[3:]) if re.fullmatch(r"HR@\d+", metric) else None
    if rates:
        found.append(
            Picture(
                file_name(protocol, "hit rates"),
                "How often the target was found",
                "Whiskers and bands hold the true rate 95 times in 100. Methods whose intervals overlap may still"
                " differ: they met the same cases, and the paired column of the table counts that in.",
                "; ".join(_hit_rate(rate, headline) for rate in rates),
                lambda theme: hit_rate_curves(rates, headline, styles=styles, theme=theme),
            )
        )
    if deciles is not None:
        found.append(
            Picture(
                file_name(protocol, "popularity"),
                "Whom the lists favour",
                "Of all recommended items, the percentage in each tenth of the catalog by popularity. Orange: more than"
                " users had liked before; blue: less.",
                _favoured(deciles),
                lambda theme: decile_shares(deciles, styles=styles, theme=theme),
            )
        )
    return found


def stage_pictures(group: str, logs: Sequence[TrainingLog], styles: Mapping[str, Style]) -> list[Picture]:
    """How training went; chosen and rejected titles and the margin where they were logged."""
    scales = " Losses of different objectives have no common scale." if len({log.name for log in logs}) > 1 else ""
    found = [
        Picture(
            file_name(group, "training"),
            "How training went",
            f"Step 0 is the model the stage began with. Pale lines behind a loss are its single entries.{scales}",
            "; ".join(filter(None, map(_validated, logs))) or "The loss by step.",
            lambda theme: training_curves(logs, styles=styles, theme=theme),
        )
    ]
    pairs = [log for log in logs if "rejected_log_prob" in log.series]
    if pairs:
        moves = "; ".join(map(_moves, pairs))
        both: dict[str, list[float]] = {}
        for log in filter(both_fall, pairs):
            both.setdefault(log.name, []).append(_fall(log, "chosen_log_prob"))
        named = [f"{name} (chosen titles by {np.mean(falls):.1f} nats)" for name, falls in both.items()]
        fallen = f" Both fell under {', '.join(named)}." if named else " Nowhere did both fall."
        found.append(
            Picture(
                file_name(group, "log-probs"),
                "Chosen and rejected titles",
                "What a preference loss widens is the gap. Where both lines fall, it widened at the cost of the chosen"
                f" titles too.{fallen}",
                moves,
                lambda theme: log_prob_curves(pairs, styles=styles, theme=theme),
            )
        )
    margins = [log for log in logs if "gamma" in log.series]
    if margins:
        found.append(
            Picture(
                file_name(group, "margin"),
                "The margin",
                "By how much a chosen title has to be ahead. It shrinks where the auxiliary model takes rejected titles"
                " for likely favourites.",
                "; ".join(f"{log.name}: {_from_to(log, 'gamma', '.3f')}" for log in margins),
                lambda theme: margin_curves(margins, styles=styles, theme=theme),
            )
        )
    return found


def both_fall(log: TrainingLog, least: float = 0.05) -> bool:
    """Whether chosen and rejected log-probs both fell, by `least` nats or more."""
    names = ("chosen_log_prob", "rejected_log_prob")
    return all(name in log.series and _fall(log, name) >= least for name in names)


def _fall(log: TrainingLog, series: str) -> float:
    first, last = _ends(log.series[series][1])
    return first - last


def _ends(values: FloatArray) -> tuple[float, float]:
    """Means of the first and the last fifth: single entries are batches, and noisy."""
    fifth = max(1, len(values) // 5)
    return float(np.mean(values[:fifth])), float(np.mean(values[-fifth:]))


def _from_to(log: TrainingLog, series: str, form: str) -> str:
    first, last = _ends(log.series[series][1])
    return f"from {first:{form}} to {last:{form}}"


def _moves(log: TrainingLog) -> str:
    chosen = f"chosen {_from_to(log, 'chosen_log_prob', '.1f')}, " if "chosen_log_prob" in log.series else ""
    return f"{log.name}: {chosen}rejected {_from_to(log, 'rejected_log_prob', '.1f')} nats"


def _validated(log: TrainingLog) -> str:
    steps, values = log.series.get("eval_ndcg", (np.empty(0), np.empty(0)))
    if not len(values):
        return ""
    best = f", {values[steps == log.best][0]:.4f} at step {log.best:,}" if log.best in steps else ""
    return f"{log.name}: validation NDCG {values[0]:.4f} at step {steps[0]:,}{best}, {values[-1]:.4f} at the end"


def _hit_rate(rate: HitRates, headline: int | None) -> str:
    at = rate.place_of(headline)
    return f"{rate.name}: HR@{rate.ks[at]} {rate.values[at]:.3f}, {rate.low[at]:.3f} to {rate.high[at]:.3f}"


def _favoured(deciles: Deciles) -> str:
    targets = {} if deciles.targets is None else {"targets": deciles.targets}
    rows = {"liked before": deciles.liked, **targets, **deciles.recommended}
    said = "; ".join(f"{name} {100 * shares[-1]:.0f} %" for name, shares in rows.items())
    return f"Share of the most popular tenth of the items: {said}"


def file_name(part: str, what: str) -> str:
    """`cand20-hit-rates`: letters, digits and dashes alone."""
    return re.sub(r"[^a-z0-9]+", "-", f"{part} {what}".lower()).strip("-")
