"""What a recommender answers with.

Path    recommender -> [serving.answer] -> a table on the terminal, JSON
Takes   ranked items
Gives   Recommendation, Recommendations
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Recommendation:
    """One item. log_prob: of its title, nats, summed over its tokens; None where popularity ranked it.

    tied: another item that may be recommended has the very same score, as films of one title have. Ties stand in the
    catalog's order, and the list may end between them. columns: what else the items file says of it. popularity: events
    of it in training.
    """

    item: int
    key: str
    title: str
    log_prob: float | None
    tied: bool
    columns: dict[str, Any] = field(default_factory=dict, hash=False)
    popularity: int = 0


@dataclass(frozen=True)
class Recommendations:
    """The best items, best first; a sequence of them. notes: sentences on how the list came about.

    asked: the columns that a filter asked about; the table shows them.
    """

    items: tuple[Recommendation, ...]
    notes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists; ranks count from 1."""
        return {
            "items": [
                # not asdict, which copies deeply: every answer of a server passes here
                {"rank": rank, **vars(item), "columns": plain_columns(item.columns)}
                for rank, item in enumerate(self.items, start=1)
            ],
            "notes": list(self.notes),
        }

    def table(self, show: Sequence[str] = ()) -> "RenderableType":
        """For a terminal; `=` marks a tie. show: columns of the items file, besides those of the filter."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        others = list(dict.fromkeys([*self.asked, *show]))
        table = Table()
        table.add_column("", justify="right")
        for name in ("title", "key", *others):
            table.add_column(Text(name), overflow="fold")  # never "Alien…"
        table.add_column("log-prob", justify="right")
        for rank, item in enumerate(self.items, start=1):
            score = "" if item.log_prob is None else f"{item.log_prob:.3f}"
            # Text, not str: a title like "[Rec]" is no markup
            cells = [item.title, item.key, *(_shown(item.columns.get(name)) for name in others)]
            table.add_row(f"{rank}{'=' if item.tied else ''}", *(Text(cell) for cell in cells), score)
        return Group(table, *(Text(f"- {note}") for note in self.notes))


def plain_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """An item's columns as JSON can say them."""
    return {name: _plain(value) for name, value in columns.items()}


def _plain(value: Any) -> Any:
    """As JSON can say it: a date, or whatever else Parquet files hold, as text; NaN, which JSON lacks, as null."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _shown(value: Any) -> str:
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
