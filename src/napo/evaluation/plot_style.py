"""How pictures look: two papers, a style for each method, panels, legends.

Path    names of methods -> [evaluation.plot_style] -> plots, report
Takes   names; a Theme
Gives   Style by name; blank Figures to draw on; `png`, the bytes of one that is done

A method has one colour, line and marker in all pictures. The colours stay apart under simulated red, green and blue
blindness, and never stand alone: a marker, a line or a name beside them says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napo.evaluation.table import ROW_ORDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Keys: TypeAlias = "dict[str, Line2D]"  # a legend: label -> sign

WIDTH = 5.4  # inches: half a page on a screen, a column and a half on paper, and still readable on a phone
TEXT, SMALL = 10.0, 9.0  # points


@dataclass(frozen=True)
class Theme:
    """Colours on light or dark paper. palette: ink, grey, then six that colour blindness leaves apart."""

    paper: str
    ink: str
    muted: str
    grid: str
    palette: tuple[str, ...]
    less: str  # fewer than liked, and more
    more: str


LIGHT = Theme(
    paper="#ffffff",
    ink="#1c1e21",
    muted="#5b626b",
    grid="#e4e7eb",
    palette=("#1c1e21", "#8a9099", "#cc6fa0", "#0066a8", "#009e73", "#d55e00", "#e5a200", "#56b4e9"),
    less="#7db4dc",
    more="#f2a868",
)
DARK = Theme(
    paper="#16191d",
    ink="#e6e8eb",
    muted="#a2aab4",
    grid="#2d3239",
    palette=("#e6e8eb", "#7d8590", "#e79bd3", "#3f97dc", "#1fb487", "#ff7433", "#f2cf5b", "#a6dcfa"),
    less="#2a6ca6",
    more="#b0571a",
)


@dataclass(frozen=True)
class Style:
    """colour: a place in a theme's palette."""

    colour: int
    marker: str
    line: str = "-"


_KNOWN = {
    "chance": Style(1, ".", ":"),
    "blind slot rule": Style(1, "x", "--"),
    "popularity": Style(1, "s", "-."),
    "SASRec": Style(2, "D"),
    "SFT": Style(0, "o"),
    "SFT longer": Style(0, "v", "--"),
    "DPO": Style(3, "^"),
    "S-DPO": Style(4, "s"),
    "NAPO": Style(5, "o"),
}
_LEFT = [
    *(Style(colour, marker, line) for line in ("-", "--") for colour, marker in ((7, "P"), (6, "X"))),
    *(
        Style(colour, marker, line)
        for line in ("--", ":")
        for colour, marker in ((3, "<"), (4, ">"), (5, "d"), (2, "p"))
    ),
]


def styles_for(names: Iterable[str]) -> dict[str, Style]:
    """A style each, in the order of the tables; more than twelve unknown names begin anew."""
    names = sorted(dict.fromkeys(names), key=lambda name: ROW_ORDER.index(name) if name in _KNOWN else len(ROW_ORDER))
    others = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN[name] if name in _KNOWN else _LEFT[others.index(name) % len(_LEFT)] for name in names}


def label(name: str, longest: int = 28) -> str:
    """A name as it can be drawn: cut where it would push the panel aside, with nothing that fonts know no shape for."""
    drawn = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return drawn if len(drawn) <= longest else f"{drawn[: longest - 1]}…"


def png(figure: Figure, dpi: int = 144) -> bytes:
    """The picture as PNG. Equal data give equal bytes: the version of matplotlib is not written into it.

    In 256 colours, which is all that lines, bars and letters need: a third of the size, and pages hold dozens.
    """
    from PIL import Image

    buffer, small = BytesIO(), BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    drawn = Image.open(buffer).convert("RGB")
    drawn.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def blank(
    rows: int, height: float, theme: Theme, *, columns: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Panels without a frame; colours and sizes are set one by one, whatever the reader's own defaults are."""
    from matplotlib.figure import Figure  # a bare Figure: pyplot would want a display and keep state

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=theme.paper)
    same = heights is None
    grid = figure.subplots(
        rows, columns, sharex=same, sharey=same and columns > 1, squeeze=False, height_ratios=heights
    )
    for axes in grid.flat:
        axes.set_facecolor(theme.paper)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(theme.muted)
        axes.grid(visible=True, color=theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=SMALL, color=theme.muted, labelcolor=theme.ink)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(color=theme.ink, fontsize=TEXT)
    return figure, list(grid.flat)


def key(colour: str, line: str, marker: str = "", *, hollow: bool = False) -> Line2D:
    """A legend's sign."""
    from matplotlib.lines import Line2D

    size, fill = (9.0, "none") if hollow else (5.0, colour)
    look: dict[str, Any] = {"color": colour, "linestyle": line, "marker": marker}
    return Line2D([], [], markersize=size, markerfacecolor=fill, **look)


def legend(figure: Figure, keys: Keys, theme: Theme) -> None:
    """Above the panels, where it hides no line; none without keys."""
    if not keys:
        return
    # matplotlib drops labels that begin with an underscore, and takes dollars for mathematics
    labels = [f" {label(name)}" if name.startswith("_") else label(name) for name in keys]
    look: dict[str, Any] = {"fontsize": SMALL, "labelcolor": theme.ink, "frameon": False, "columnspacing": 1.2}
    made = figure.legend(list(keys.values()), labels, loc="outside upper center", ncols=_columns(labels), **look)
    for text in made.get_texts():
        text.set_parse_math(False)


def _columns(labels: Sequence[str], most: int = 4, room: int = 74) -> int:
    """How many columns of a legend fit beside each other: their longest labels, seven letters for sign and space."""
    for columns in range(min(most, len(labels)), 1, -1):
        lengths = np.array_split([len(label) for label in labels], columns)  # so matplotlib fills them
        if sum(int(each.max()) + 7 for each in lengths) <= room:
            return columns
    return 1
