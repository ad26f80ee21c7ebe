"""What a log holds, before anything is trained on it.

Path    InteractionLog, Split -> [data.inspect] -> `napo data inspect`
Takes   a log, and where wanted its split
Gives   LogSummary (numbers, as JSON too), a rich rendering of it, a picture of popularity
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.arrays import IntArray
from napo.data.log import InteractionLog
from napo.data.split import Split, users_in_words
from napo.data.times import day
from napo.files import write_aside

if TYPE_CHECKING:
    from rich.console import RenderableType

_QUANTILES = {"least": 0.0, "10 %": 0.1, "25 %": 0.25, "half": 0.5, "75 %": 0.75, "90 %": 0.9, "most": 1.0}
_MOST_BARS = 12  # as many different ratings are shown one by one
_BAR = 30  # characters of the longest bar
_NOT_LEFT_OUT = {"events_read", "users", "items", "events"}


@dataclass(frozen=True)
class LogSummary:
    """density: events over users times items. events_per_user: quantiles. ratings: (label, events), lowest first.

    popularity: share of all events that each tenth of the items has, the most popular tenth first.
    """

    users: int
    items: int
    events: int
    density: float
    first_day: str | None
    last_day: str | None
    ratings: tuple[tuple[str, int], ...]
    events_per_user: dict[str, float]
    popularity: tuple[float, ...]
    counts: dict[str, int]
    examples: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    split: dict[str, int] | None
    users_in_words: str | None
    digest: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        return asdict(self)


def summarize(log: InteractionLog, split: Split | None = None) -> LogSummary:
    """The figures of a log, and of its split where there is one."""
    per_user = np.bincount(log.frame["user"].to_numpy(), minlength=len(log.user_keys))
    times = log.frame["time"].drop_nulls().to_numpy()
    return LogSummary(
        users=len(log.user_keys),
        items=len(log.catalog),
        events=log.frame.height,
        density=log.frame.height / (len(log.user_keys) * len(log.catalog)),
        first_day=day(int(times.min())) if times.size else None,
        last_day=day(int(times.max())) if times.size else None,
        ratings=_ratings(log),
        events_per_user={name: float(np.quantile(per_user, share)) for name, share in _QUANTILES.items()},
        popularity=share_of_tenths(_events_per_item(log)),
        counts=log.counts,
        examples=log.examples,
        notes=(*log.notes, *(split.notes if split else ())),
        split=split.counts if split else None,
        users_in_words=users_in_words(split.counts) if split else None,
        digest=log.digest,
    )


def share_of_tenths(events: IntArray) -> tuple[float, ...]:
    """Share of all events that each tenth of the items has, the most popular first; ten numbers that add up to 1."""
    falling = np.sort(events)[::-1]
    total = max(1, int(falling.sum()))
    return tuple(float(tenth.sum()) / total for tenth in np.array_split(falling, 10))


def render(summary: LogSummary) -> "RenderableType":
    """Tables for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = Table(title="The log", show_header=False, title_justify="left")
    figures.add_row("users", f"{summary.users:,}")
    figures.add_row("items", f"{summary.items:,}")
    figures.add_row("events", f"{summary.events:,}")
    figures.add_row("density", f"{summary.density:.2%}")
    span = f"{summary.first_day} to {summary.last_day}" if summary.first_day else "no times: the order of the file"
    figures.add_row("time", span)
    quantiles = ", ".join(f"{name} {value:g}" for name, value in summary.events_per_user.items())
    figures.add_row("events per user", quantiles)
    if summary.users_in_words:
        figures.add_row("evaluation", summary.users_in_words)

    parts: list[RenderableType] = [figures]
    if summary.ratings:
        parts.append(_bars("Ratings", "rating", summary.ratings))
    shares = [
        (f"top {tenth * 10 + 10} %" if tenth == 0 else f"to {tenth * 10 + 10} %", share)
        for tenth, share in enumerate(summary.popularity)
    ]
    parts.append(_bars("Events of each tenth of the items", "items", shares))

    counted = Table("what", "number", "for example", title="Counted", title_justify="left")
    counted.columns[1].justify = "right"
    for name, number in {**summary.counts, **(summary.split or {})}.items():
        if number and name not in _NOT_LEFT_OUT:
            counted.add_row(name.replace("_", " "), f"{number:,}", Text(", ".join(summary.examples.get(name, ()))))
    if counted.row_count:
        parts.append(counted)
    # Text, not str: an id or a file name like "[red]" is no markup
    return Group(*parts, *(Text(f"- {note}") for note in summary.notes))


def draw_popularity(log: InteractionLog, path: Path) -> None:
    """A PNG: events of each item by rank, and the share of each tenth of the items."""
    from matplotlib.figure import Figure  # a bare Figure: pyplot would want a display and keep state

    events = np.sort(_events_per_item(log))[::-1]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    ranks, tenths = figure.subplots(1, 2)
    taken = events[events > 0]
    ranks.loglog(np.arange(1, len(taken) + 1), taken, color="tab:blue")
    ranks.set(title=f"{len(taken):,} of {len(events):,} items have events", xlabel="rank", ylabel="events")
    shares = share_of_tenths(events)
    tenths.bar(np.arange(1, 11), [100 * share for share in shares], color="tab:blue")
    tenths.set(title="events by tenth of the items", xlabel="tenth, most popular first", ylabel="% of events")
    tenths.set_xticks(np.arange(1, 11))
    with write_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=120)


def _bars(title: str, label: str, values: "list[tuple[str, float]] | tuple[tuple[str, int], ...]") -> "RenderableType":
    from rich.table import Table

    table = Table(label, "share", "", title=title, title_justify="left")
    total, largest = sum(value for _, value in values) or 1, max(value for _, value in values) or 1
    for name, value in values:
        table.add_row(name, f"{value / total:.1%}", "█" * round(_BAR * value / largest))
    return table


def _ratings(log: InteractionLog) -> tuple[tuple[str, int], ...]:
    values = log.frame["rating"].drop_nulls().to_numpy()
    if not values.size:
        return ()
    distinct, sizes = np.unique(values, return_counts=True)
    if len(distinct) <= _MOST_BARS:
        return tuple((f"{value:g}", int(size)) for value, size in zip(distinct, sizes, strict=True))
    sizes, edges = np.histogram(values, bins=10)
    return tuple((f"{edges[bin]:.3g} to {edges[bin + 1]:.3g}", int(size)) for bin, size in enumerate(sizes))


def _events_per_item(log: InteractionLog) -> IntArray:
    return np.bincount(log.frame["item"].to_numpy(), minlength=len(log.catalog))
