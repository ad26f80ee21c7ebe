"""Figures as the cells of a table, and small tables of text.

Path    Estimate -> [evaluation.table_text] -> table, groups, report
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from napo.evaluation.statistics import Estimate


@dataclass(frozen=True)
class SideTable:
    """A table that stands below the main one, all cells text."""

    heading: str
    header: list[str]
    body: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """For a results page."""
        notes = "".join(f"\n* {note}" for note in self.notes)
        return f"**{self.heading}**\n\n{markdown_table(self.header, self.body)}\n" + (f"{notes}\n" if notes else "")


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """First column to the left, the figures to the right."""
    align = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in (header, align, *body))


def number(value: float) -> str:
    """Three decimals, one where the figure is large."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    """`0.401 [0.386, 0.417]`."""
    large = abs(estimate.value) >= 10
    form = "{:+,.1f}" if sign and large else "{:,.1f}" if large else "{:+.3f}" if sign else "{:.3f}"
    value, low, high = (form.format(x) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def p_value(value: float) -> str:
    """`0.013`, `< .001`."""
    return "< .001" if value < 0.001 else f"{value:.3f}"
