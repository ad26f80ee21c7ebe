"""All the items: their keys, their titles, and what else the items file says of them.

Path    items file -> [data.catalog] -> split, prompts, scoring, serving
Takes   keys and titles, in the order that gives items their numbers
Gives   Catalog; find() for a title that a person typed
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from napo.arrays import IntArray
from napo.data._digest import digest_of
from napo.errors import UserError, nearest, short
from napo.files import write_aside

_PREFIX = "column."  # in the file: so that an items file may have columns called "key" or "title" of its own


@dataclass(frozen=True, eq=False)
class Catalog:
    """Item `i` has the key `keys[i]`, the title `titles[i]` and row `i` of `columns`.

    Two items may have one title: identity is the number, never the text.
    """

    keys: tuple[str, ...]
    titles: tuple[str, ...]
    columns: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __post_init__(self) -> None:
        assert len(self.keys) == len(self.titles), "one title for each key"
        assert len(set(self.keys)) == len(self.keys), "keys are distinct"
        assert self.columns.width == 0 or self.columns.height == len(self.keys), "one row for each item"

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def index(self) -> dict[str, int]:
        """The item of each key."""
        return {key: item for item, key in enumerate(self.keys)}

    @cached_property
    def title_groups(self) -> IntArray:
        """(items,): equal numbers where titles are equal, letter by letter. Numbers count from 0 by first item."""
        return equal_titles(self.titles)

    @cached_property
    def twins(self) -> int:
        """How many items have a title that an earlier item has."""
        return len(self.titles) - len(set(self.titles))

    @cached_property
    def digest(self) -> str:
        return digest_of(self.keys, self.titles)

    @cached_property
    def _by_folded_title(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for item, title in enumerate(self.titles):
            found[_folded(title)].append(item)
        return dict(found)

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """The items of each title and key as it stands, which one look-up finds; where one is both, of the title."""
        named = {key: [item] for key, item in self.index.items() if not self.of_title(key)}
        titles: dict[str, list[int]] = defaultdict(list)
        for item, title in enumerate(self.titles):
            titles[title].append(item)
        return named | titles

    def of_title(self, title: str) -> list[int]:
        """The items of a title, case and outer blanks forgiven; none where there is no such title."""
        return list(self._by_folded_title.get(_folded(title), ()))

    def find(
        self, title: str, *, where: str | None = None, suggest: Callable[[str], list[str]] | None = None
    ) -> list[int]:
        """The items of a title, case and outer blanks forgiven; several where films share a title.

        Raises UserError with the nearest titles where there is none; suggest: what finds these, best first.
        """
        if items := self.of_title(title):
            return items
        title = short(title)
        close = nearest(title.strip(), self.titles, 3) if suggest is None else suggest(title.strip())[:3]
        remedy = f"nearest titles: {', '.join(close)}" if close else "no title of the catalog looks like it"
        raise UserError(f"{title!r} is not a title of the catalog", where=where, remedy=remedy)

    def row(self, item: int) -> dict[str, Any]:
        """The item's values in the other columns, by name."""
        return dict(self._rows[item]) if self.columns.width else {}

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return self.columns.rows(named=True)

    def save(self, path: Path) -> None:
        """Write the catalog as Parquet: `key`, `title`, and the other columns as `column.<name>`."""
        frame = pl.DataFrame({"key": self.keys, "title": self.titles}, schema={"key": pl.String, "title": pl.String})
        others = self.columns.rename({name: _PREFIX + name for name in self.columns.columns})
        if others.width:
            frame = frame.hstack(others)
        with write_aside(path) as aside:
            frame.write_parquet(aside)

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read what `save` wrote. Raises UserError where the file is missing or is no catalog."""
        try:
            frame = pl.read_parquet(path, glob=False)
            keys, titles = tuple(frame["key"]), tuple(frame["title"])
        except (OSError, pl.exceptions.PolarsError) as error:
            remedy = "copy the run's `model` folder again"
            raise UserError(f"no catalog can be read: {error}", where=str(path), remedy=remedy) from error
        others = frame.select(name for name in frame.columns if name.startswith(_PREFIX))
        return cls(keys, titles, others.rename({name: name.removeprefix(_PREFIX) for name in others.columns}))


def equal_titles(titles: Sequence[str]) -> IntArray:
    """(titles,) equal numbers where titles are equal, letter by letter. Numbers count from 0 by first title."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(title, len(first)) for title in titles], dtype=np.int64)


def _folded(title: str) -> str:
    return " ".join(title.split()).casefold()
