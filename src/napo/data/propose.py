"""Which column of a log is what, where names alone don't say it; and the section of a recipe that reads the log so.

Path    DataSettings, a log -> [data.propose] -> `napo data inspect`, `napo train --data`
Takes   settings as typed; the first rows of the file
Gives   settings with columns, each with a reason; a recipe's `data:` and `split:` as plain data

A guess is a proposal: it is shown with its reason, and is written out for people to change.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from napo.data.formats import OpenFile
from napo.data.log import InteractionLog
from napo.data.readers import Columns, column_of
from napo.data.settings import DataSettings
from napo.data.source import opened
from napo.data.times import FIRST_CLOCK, HowTimes, to_milliseconds
from napo.errors import UserError

LOOK = 50_000  # rows that are looked at
_FOREIGN = {  # parts of names, in the tongues that we can read
    "user": "user|customer|client|member|account|visitor|person|reader|listener|kund|nutzer|usuario|utilisateur",
    "item": "item|product|produ[kc]t|arti[kc]|movie|film|book|buch|libro|song|track|game|sku|asin|isbn",
    "rating": "rating|rate|star|stern|score|grade|bewert|punkt|vote|mark|nota",
    "time": "time|date|datum|zeit|when|stamp|fecha|_at$|_on$|_am$|_ts$|^ts$",
    "title": "title|titel|titre|titulo|name|bezeichnung|nombre|label",
}


@dataclass(frozen=True)
class Proposal:
    """settings: how to read the log. reasons: of each column that its name alone did not tell, and of other choices."""

    settings: DataSettings
    reasons: tuple[str, ...] = ()
    min_rating: float | None = None

    def sections(self, folder: Path | None = None) -> dict[str, Any]:
        """`data:` and, where needed, `split:`. folder: where the recipe lies, from which paths start; None: here."""
        data = self.settings.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        for name in ("interactions", "items", "exposures", "database"):
            if name in data and "://" not in data[name]:
                data[name] = os.path.relpath(data[name], folder or Path())
        split = {} if self.min_rating is None else {"split": {"min_rating": self.min_rating}}
        return {"data": data, **split}


def propose_columns(settings: DataSettings) -> Proposal:
    """The settings with the columns that no known name tells. Raises UserError where rows are not to be understood.

    Of data sets, converted folders and publishers' formats nothing is guessed: they say what they hold.
    """
    if settings.source is not None or (settings.interactions is not None and settings.interactions.is_dir()):
        return Proposal(settings)
    log, items = opened(settings)
    if log.means:
        return Proposal(settings)
    found, missing = _by_name(log, settings.columns)
    if items is not None:
        missing.discard("title")
    if not missing or len(log.columns) < 2:
        return Proposal(settings)
    if not found and log.format == "csv" and settings.header is None and any(map(_is_value, log.columns)):
        return _with_header(settings, log)
    frame = log.load(None, ())[0].head(LOOK)
    guesses = _Guesses(frame, found, HowTimes(settings.time_unit, settings.time_format, settings.time_zone))
    told = dict(guesses.of(missing))
    reasons = tuple(f"{role} = {column!r}: {reason}" for role, (column, reason) in told.items())
    if not told:
        return Proposal(settings)
    named = settings.columns.model_dump(exclude_defaults=True)
    columns = Columns(**named, **{role: column for role, (column, _) in told.items()})
    return Proposal(settings.model_copy(update={"columns": columns}), reasons)


def _with_header(settings: DataSettings, log: OpenFile) -> Proposal:
    """The settings of a file whose first line is no header: names for its columns, in their order."""
    names = tuple(f"column {number}" for number in range(1, len(log.columns) + 1))
    frame = opened(settings.model_copy(update={"header": names}))[0].load(None, ())[0].head(LOOK)
    guesses = _Guesses(frame, {}, HowTimes(settings.time_unit, settings.time_format, settings.time_zone), named=False)
    told = dict(guesses.of(set(Columns.model_fields)))
    roles = {column: role for role, (column, _) in told.items()}
    if not {"user", "item"} <= set(roles.values()):
        return Proposal(settings)
    header = tuple(roles.get(name, name) for name in names)
    first = f"header: the first line holds values, {', '.join(log.columns)}"
    reasons = (first, *(f"{column} is the {role}: {reason}" for role, (column, reason) in told.items()))
    return Proposal(settings.model_copy(update={"header": header}), reasons)


def _is_value(name: str) -> bool:
    """Whether a column can't be called so: a number, or nothing."""
    return re.fullmatch(r"[-+]?\d*[.,]?\d*", name.strip()) is not None


def propose_rest(proposal: Proposal, log: InteractionLog) -> Proposal:
    """The proposal with what only the read log shows: the rating from which on an event counts as liked."""
    ratings = log.frame["rating"].drop_nulls()
    if ratings.n_unique() < 2:
        return proposal
    highest, lowest = float(ratings.max()), float(ratings.min())  # type: ignore[arg-type]
    if not (lowest >= 0 and highest <= 10):
        reason = f"ratings go from {lowest:g} to {highest:g}: no scale that we know, so every event counts as liked"
        return _with(proposal, reason, None)
    least = float(ratings.filter(ratings >= 0.8 * highest).min())  # type: ignore[arg-type]
    share = (ratings >= least).sum() / len(ratings)
    return _with(
        proposal, f"min_rating {least:g}: {share:.0%} of the ratings are that high, of at most {highest:g}", least
    )


def without_untitled(proposal: Proposal, why: UserError) -> Proposal:
    """The proposal where items lack titles: their events are left out, counted."""
    settings = proposal.settings.model_copy(update={"untitled": "drop"})
    return replace(proposal, settings=settings, reasons=(*proposal.reasons, f"untitled: drop, as {why.what}"))


def _with(proposal: Proposal, reason: str, min_rating: float | None) -> Proposal:
    return Proposal(proposal.settings, (*proposal.reasons, reason), min_rating)


def _by_name(log: OpenFile, columns: Columns) -> tuple[dict[str, str], set[str]]:
    """The columns that names tell, and the roles of which none does. UserError for a name that was said wrongly."""
    found, missing = dict[str, str](), set[str]()
    for role in Columns.model_fields:
        said = role in columns.model_fields_set and role != "title"
        try:
            column = column_of(log, columns, role, optional=role in ("rating", "time", "title"))
        except UserError:
            if said:
                raise
            column = None
        if column is None:
            missing.add(role)
        else:
            found[role] = column
    return found, missing


class _Guesses:
    """What the columns that are left could be."""

    def __init__(self, frame: pl.DataFrame, found: dict[str, str], times: HowTimes, *, named: bool = True) -> None:
        self.frame, self.found, self.times, self.named = frame, dict(found), times, named

    def of(self, missing: set[str]) -> Iterator[tuple[str, tuple[str, str]]]:
        for role, guess in (("time", self._time), ("rating", self._rating), ("title", self._title)):
            # a title that tells which column is the item comes before it
            if role in missing and (told := guess()) is not None:
                self.found[role] = told[0]
                yield role, told
        for role in ("item", "user"):
            if role in missing and (told := self._key(role)) is not None:
                self.found[role] = told[0]
                yield role, told

    def _left(self) -> list[str]:
        return [name for name in self.frame.columns if name not in self.found.values()]

    def _sounds_like(self, role: str, names: list[str]) -> str | None:
        called = (name for name in names if re.search(_FOREIGN[role], name.casefold()))
        return next(called, None) if self.named else None

    def _time(self) -> tuple[str, str] | None:
        able = [name for name in self._left() if self._is_time(name)]
        column = self._sounds_like("time", able) or (able[0] if able else None)
        return None if column is None else (column, f"its values are times, such as {self._example(column)}")

    def _is_time(self, name: str) -> bool:
        values = self.frame[name].drop_nulls()
        if not len(values) or values.dtype == pl.Boolean:
            return False
        try:
            stamps, _ = to_milliseconds(values, lambda row: f"row {row}", self.times)
        except UserError:
            return False
        return bool((stamps >= FIRST_CLOCK * 1000).all())  # smaller numbers are an order, or anything

    def _rating(self) -> tuple[str, str] | None:
        able = [name for name in self._left() if self._numbers(name) is not None]
        column = self._sounds_like("rating", able)
        if column is not None:
            return column, f"it is called so, and holds numbers, such as {self._example(column)}"
        # with names that say something else it may be any number
        small = () if self.named else (name for name in able if self._is_scale(name))
        column = next(iter(small), None)
        return None if column is None else (column, f"it holds few numbers, all small, such as {self._example(column)}")

    def _is_scale(self, name: str) -> bool:
        numbers = self._numbers(name)
        return numbers is not None and numbers.n_unique() <= 11 and bool(numbers.is_between(0, 10).all())

    def _numbers(self, name: str) -> pl.Series | None:
        values = self.frame[name]
        if values.dtype == pl.String:
            values = values.str.replace(",", ".", literal=True)
        numbers = values.cast(pl.Float64, strict=False)
        return None if numbers.null_count() > self.frame[name].null_count() or not numbers.len() else numbers

    def _title(self) -> tuple[str, str] | None:
        texts = [name for name in self._left() if self._is_worded(name)]
        column = self._sounds_like("title", texts) or next(iter(texts), None)
        return None if column is None else (column, f"it holds words, such as {self._example(column)}")

    def _is_worded(self, name: str) -> bool:
        values = self.frame[name].drop_nulls()
        if values.dtype != pl.String or not len(values) or values.n_unique() < 2:
            return False
        worded = values.str.strip_chars().str.contains(r"[^\W\d_]{2,}[ :'-]")
        return int(worded.sum()) > 0.3 * len(values)

    def _key(self, role: str) -> tuple[str, str] | None:
        able = [name for name in self._left() if self._repeats(name)]
        if (column := self._sounds_like(role, able)) is not None:
            return column, "it is called so"
        title = self.found.get("title")
        if role == "item" and title is not None:
            for name in able:
                pairs = self.frame.select(name, title).n_unique()
                if pairs == self.frame[name].n_unique() and self.frame[title].n_unique() > 0.9 * pairs:
                    return name, f"each of its values has one {title!r}"
            if not able or (len(able) == 1 and "user" not in self.found):
                return title, "there are no ids, so titles stand for them"
        other = "user" if role == "item" else "item"
        rest = [name for name in able if name != self._sounds_like(other, able)]
        if not rest:
            return None
        # user, item is the custom; users are asked for last, so only what is theirs is left
        column = rest[1 if role == "item" and other not in self.found and len(rest) > 1 else 0]
        return column, f"of the columns that are left it repeats its values, {self.frame[column].n_unique():,} of them"

    def _repeats(self, name: str) -> bool:
        """Ids of users and items come again; a number of an order does not, nor is a fraction an id."""
        values = self.frame[name].drop_nulls()
        return values.dtype != pl.Float64 and 1 < values.n_unique() < len(values)

    def _example(self, name: str) -> str:
        return repr(self.frame[name].drop_nulls().first())
