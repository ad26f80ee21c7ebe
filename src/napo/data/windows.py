"""Data sets that come as rows: a window of a user's history, and the item taken next.

Path    files -> [data.windows] -> data.window_split
Takes   DataSettings: `train`, `valid`, `test`, files of rows, and `items` with the titles
Gives   Windows: the rows as item numbers, the Catalog, counts of what was left out, notes for people

A file holds JSON lines, {"history": [ids, oldest first], "next": id} with or without "user", or one list of such rows;
or the rows are titles (data.title_rows). Packing and encoding are told as of any file (data.formats).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from napo.arrays import IntArray
from napo.data._digest import digest_of
from napo.data.catalog import Catalog
from napo.data.events import numbered
from napo.data.formats import EMPTY, Told, open_table, text_of
from napo.data.readers import read_items
from napo.data.settings import ROW_FILES, DataSettings
from napo.data.tally import Tally
from napo.data.title_rows import TitleFinder, titles_of_row
from napo.data.titles import titled_items
from napo.errors import UserError, raise_together

MOST_ERRORS = 5


@dataclass(frozen=True)
class Window:
    """A row. file: `train`, `valid` or `test`; number: its place in that file, from 1.

    listed: the candidates that the file itself names, if it does and all of them are in the catalog.
    """

    file: str
    number: int
    history: tuple[int, ...]
    next: int
    user: str | None = None
    listed: tuple[int, ...] | None = None

    @property
    def key(self) -> str:
        """`test:17`, the row's name in draws and messages: rows have no other."""
        return f"{self.file}:{self.number}"

    @property
    def items(self) -> IntArray:
        """The window, oldest first, the next item last."""
        return np.array([*self.history, self.next], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Windows:
    """Rows of all files, in their order. Stands where an InteractionLog stands; counts and notes are of reading."""

    catalog: Catalog
    windows: tuple[Window, ...]
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def have_users(self) -> bool:
        return all(window.user is not None for window in self.windows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of rows, users, titles and candidates."""
        rows = [(*window.history, window.next, *(window.listed or ())) for window in self.windows]
        lengths = [(len(window.history), len(window.listed or ())) for window in self.windows]
        flat = np.array([item for row in rows for item in row], dtype=np.int64)
        users = (window.user or "" for window in self.windows)
        keys = (window.key for window in self.windows)
        return digest_of(self.catalog.digest, keys, users, flat, np.array(lengths, dtype=np.int64))


def load_windows(settings: DataSettings) -> Windows:
    """Read, check and number the rows. Raises UserError for whatever can't be read or does not fit.

    An id without a title follows `untitled`, as in a log: the run stops, or it is left out of histories and rows that
    have it as the next item go, or it is its own title. A title that the catalog does not have is always left out.
    """
    assert settings.items is not None, "DataSettings has made sure"
    tally = Tally()
    paths = {name: path for name in ROW_FILES if (path := getattr(settings, name)) is not None}
    read = {name: _read_rows(path, settings.encoding, tally) for name, path in paths.items()}
    listed = read_items(
        open_table(settings.items, Told(settings.encoding, settings.separator), format=settings.items_format),
        settings.columns,
        tally,
        need_title=settings.untitled != "id",
    )
    catalog = _catalog(read, listed, settings, tally)
    finder = TitleFinder(catalog)
    windows = [
        window
        for name, rows in read.items()
        for number, row in enumerate(rows, start=1)
        if (window := _window(row, name, number, catalog, finder, tally)) is not None
    ]
    finder.report(tally)
    tally.count("items", len(catalog))
    tally.count("titles_shared_by_items", catalog.twins)
    for name, rows in read.items():
        tally.count(f"{name}_rows", len(rows))
    users = [window.user for window in windows]
    if any(user is None for user in users) and any(user is not None for user in users):
        raise UserError(
            "some rows carry a `user` and others do not",
            where=", ".join(str(path) for path in paths.values()),
            remedy="give all rows their user, or none",
        )
    return Windows(catalog, tuple(windows), tally.counts, tally.examples, tuple(tally.notes))


def _read_rows(path: Path, encoding: str | None, tally: Tally) -> list[dict[str, Any]]:
    """The rows as the file has them, each either ids as texts or titles. All its mistakes at once, by line or row."""
    text, note = text_of(path, Told(encoding))
    if note:
        tally.note(note)
    rows: list[dict[str, Any]] = []
    errors: list[UserError] = []
    for place, found in _objects(text, path):
        try:
            rows.append(_checked(found, place))
        except UserError as error:
            errors.append(error)
            if len(errors) == MOST_ERRORS:
                break
    raise_together(errors)
    if not rows:
        raise UserError("the file has no rows", where=str(path), remedy=EMPTY)
    return rows


def _objects(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    """(where it stands, what stands there) of each row: a JSON list, or JSON lines."""
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _no_json(error, f"{path}, line {getattr(error, 'lineno', 1)}") from error
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(found, start=1))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise _no_json(error, f"{path}, line {number}") from error


def _no_json(error: json.JSONDecodeError | RecursionError, where: str) -> UserError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else "brackets within brackets without end"
    remedy = 'a row a line, such as {"history": [3, 7], "next": 5}, or one list of them'
    return UserError(f"no valid JSON: {reason}", where=where, remedy=remedy)


def _checked(row: Any, place: str) -> dict[str, Any]:
    """The row with its ids as texts, or its titles apart."""
    if isinstance(row, dict) and "historyList" in row:
        return titles_of_row(row, place)
    if not isinstance(row, dict) or not isinstance(row.get("history"), list) or "next" not in row:
        raise UserError(
            "a row has no `history`, a list of item ids, with `next`, an id",
            where=place,
            remedy='{"history": [3, 7], "next": 5}; or `historyList`, `itemList`, `trueSelection` with titles',
        )
    ids = [*row["history"], row["next"]]
    wrong = [value for value in ids if isinstance(value, bool) or not isinstance(value, int | str)]
    user = row.get("user")
    if isinstance(user, bool) or not isinstance(user, int | str | None):
        wrong.append(user)
    if wrong:
        raise UserError(f"{wrong[0]!r} is no id", where=place, remedy="ids are whole numbers or texts")
    keys = [str(value) for value in ids]
    return {"history": keys[:-1], "next": keys[-1], "user": None if user is None else str(user)}


def _catalog(
    read: dict[str, list[dict[str, Any]]], listed: pl.DataFrame, settings: DataSettings, tally: Tally
) -> Catalog:
    """The items file's items, in the order of their keys as text."""
    mentions = [
        (row["user"] or f"{name}:{number}", item)
        for name, rows in read.items()
        for number, row in enumerate(rows, start=1)
        if "titles" not in row
        for item in (*row["history"], row["next"])
    ]
    events = pl.DataFrame(mentions, schema={"user": pl.String, "item": pl.String}, orient="row")
    titled = titled_items(numbered(events, Tally()), listed, settings.untitled, tally, str(settings.items)).sort("item")
    return Catalog(tuple(titled["item"]), tuple(titled["title"]), titled.drop("item", "title"))


def _window(
    row: dict[str, Any], name: str, number: int, catalog: Catalog, finder: TitleFinder, tally: Tally
) -> Window | None:
    """The row as numbers; None, and counted, where its next item is not in the catalog."""
    if "titles" in row:
        history, following, listed = finder.items_of(row)
    else:
        history = [catalog.index.get(key) for key in row["history"]]
        following, listed = catalog.index.get(row["next"]), None
    known = tuple(item for item in history if item is not None)
    tally.count("history_items_not_in_catalog", len(history) - len(known))
    if following is None:
        tally.count(f"{name}_rows_whose_next_is_not_in_catalog", 1)
        return None
    return Window(name, number, known, following, row.get("user"), listed)
