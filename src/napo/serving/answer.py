"""What a recommender answers with.

Path    recommender -> [serving.answer] -> a table on the terminal, JSON
Takes   ranked items
Gives   Recommendation, Recommendations
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Recommendation:
    """One item. log_prob: of its title, nats, summed over its tokens; None where popularity ranked it.

    tied: another item that may be recommended has the very same score, as films of one title have. Ties stand in the
    catalog's order, and the list may end between them.
    """

    item: int
    key: str
    title: str
    log_prob: float | None
    tied: bool


@dataclass(frozen=True)
class Recommendations:
    """The best items, best first; a sequence of them. notes: sentences on how the list came about."""

    items: tuple[Recommendation, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists; ranks count from 1."""
        return {
            "items": [{"rank": rank, **asdict(item)} for rank, item in enumerate(self.items, start=1)],
            "notes": list(self.notes),
        }

    def table(self) -> "RenderableType":
        """For a terminal; `=` marks a tie."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("", "title", "key", "log-prob")
        for column in (0, 3):
            table.columns[column].justify = "right"
        for column in (1, 2):
            table.columns[column].overflow = "fold"  # never "Alien…"
        for rank, item in enumerate(self.items, start=1):
            score = "" if item.log_prob is None else f"{item.log_prob:.3f}"
            # Text, not str: a title like "[Rec]" is no markup
            table.add_row(f"{rank}{'=' if item.tied else ''}", Text(item.title), Text(item.key), score)
        return Group(table, *(Text(f"- {note}") for note in self.notes))
