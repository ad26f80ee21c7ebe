"""What a recipe says under `data:` and `split:`. Nothing heavy is imported here: recipes are checked first.

Path    recipe -> [data.settings] -> source, readers, split
Takes   keys that a person typed
Gives   DataSettings, Columns, SplitSettings
"""

import re
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_serializer, field_validator, model_validator

from napo.data.address import address_of, rooted, without_password
from napo.errors import UserError
from napo.settings import Strict

Format = Literal["csv", "parquet", "recbole", "json", "movielens", "amazon", "steam", "goodreads"]
TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
Untitled = Literal["stop", "drop", "id"]
Repeats = Literal["first", "last", "all"]
Renamed = Literal["stop", "old", "new"]
SplitName = Literal["last_tenth", "leave_one_out", "global_time", "users", "files"]
MaskSeen = Literal["history", "none"]
Cold = Literal["apart", "judged"]
OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")  # a time zone such as +01:00

ROW_FILES = ("train", "valid", "test")  # the keys under `data:` that name files of rows
DATA_FILES = ("interactions", "items", "exposures", "catalog", *ROW_FILES)  # those that name files


class Columns(Strict):
    """The keys under `data.columns:`: what the files call each column; `item` and `title` count for both files.

    Left alone, common names are recognised: `user_id`, `item_id`, `timestamp`, `movie_title`, `name`, ...
    """

    user: str = "user"
    item: str = "item"
    rating: str = "rating"
    time: str = "time"
    title: str = "title"


class DataSettings(Strict):
    """The keys under `data:` in a recipe: `source`, or `interactions` or `database` with (mostly) `items`, or rows.

    source: a data set that `napo data fetch` knows.
    train, valid, test: files of rows (history, next item), with `split.name: files`; JSON lines of ids, or the JSON
    of S-DPO and LLaRA. Without `train` the users of `valid` are dealt out: the share `split.valid` of them validates,
    the others train.
    folder: where the relative paths of this section start from; if left out, from the recipe's folder.
    interactions, items: files in any of the formats (docs/data.md), or as `interactions` a folder that
    `napo data convert` wrote; without `items` the log's own title column is used.
    exposures: a file of what users were shown and did not take (`user`, `item`, `time`, and where known `position` and
    `propensity`), for negatives `exposed`; `napo data from-events` writes one.
    catalog: the `catalog.parquet` of an earlier run, whose items keep their numbers, also where the files lack them
    now; new ones come behind. renamed: where an item has another title now, `stop`, or take the `old` or the `new` one.
    database: instead of `interactions`, such as postgresql://user@host/name, sqlite:///shop.db or a DuckDB file; its
    password is never kept. query, items_query: the SQL that gives the events, and where there is no `items` the titles.
    format, items_format: of the two files; told from the file.
    header: what the columns of a log without a header line are, in order, such as [user, item, rating, time].
    columns: what the files call user, item, rating, time, title; common names are recognised.
    encoding, separator, decimal: told from the file; a byte-order mark is stronger than `encoding`.
    time_unit: of times that are numbers; told from their size. time_format: of times that are text, if not ISO 8601,
    in the signs of strptime, such as "%d/%m/%Y %H:%M". time_zone: of times that name none, such as Europe/Berlin; UTC.
    untitled: items without a title `stop` the run, or `drop` their events, or take their `id` as the title.
    repeats: the same user and item again at another time: keep the `first` (the default, so a target was never
    seen before), the `last`, or `all` (where natural, as in music; then say `mask_seen: none` under `split:`).
    core: leave out users and items with fewer events than this, again and again until all that are left have as many;
    counted over the whole log, before it is split.
    """

    source: Literal["ml-100k"] | None = None
    folder: Path | None = None
    interactions: Path | None = None
    items: Path | None = None
    exposures: Path | None = None
    catalog: Path | None = None
    renamed: Renamed = "stop"
    train: Path | None = None
    valid: Path | None = None
    test: Path | None = None
    database: str | None = Field(default=None, min_length=1, repr=False)
    query: str | None = Field(default=None, min_length=1)
    items_query: str | None = Field(default=None, min_length=1)
    format: Format | None = None
    items_format: Format | None = None
    header: tuple[str, ...] | None = Field(default=None, min_length=2, strict=False)
    columns: Columns = Field(default_factory=Columns)
    encoding: str | None = None
    separator: str | None = Field(default=None, min_length=1)
    decimal: Literal[".", ","] | None = None
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    time_zone: str | None = None
    untitled: Untitled = "stop"
    repeats: Repeats | None = None
    core: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _names_one_log(self) -> "DataSettings":
        given = [name for name in ("source", "interactions", "database", "test") if getattr(self, name) is not None]
        rows = [name for name in ROW_FILES if getattr(self, name) is not None]
        if len(given) != 1 or (rows and given != ["test"]):
            raise ValueError("give either `source`, `interactions` or `database`, or rows: `train`, `valid`, `test`")
        if rows and (self.valid is None or self.items is None):
            raise ValueError("rows need `valid` and `test`, and `items` for the titles")
        if rows and self.exposures is not None:
            raise ValueError("`exposures` go with a log of users, and rows are none")
        if rows and self.catalog is not None:
            raise ValueError("`catalog` goes with a log of users, and rows are none")
        if self.source is not None and self.items is not None:
            raise ValueError("`items` goes with `interactions`; a `source` has its own")
        if self.database is None and (self.query is not None or self.items_query is not None):
            raise ValueError(
                "`query` and `items_query` ask a `database`, and none is named; such as `database: shop.db`"
            )
        if self.items is not None and self.items_query is not None:
            raise ValueError("give either `items` or `items_query` for the titles")
        return self

    @field_validator("database")
    @classmethod
    def _is_an_address(cls, database: str | None) -> str | None:
        if database is not None:
            try:
                address_of(database)
            except UserError as error:
                raise ValueError(f"{error.what}; such as {error.remedy}") from error
        return database

    @field_serializer("database", when_used="json")
    def _keeps_no_password(self, database: str | None) -> str | None:
        return None if database is None else without_password(database)

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str | None) -> str | None:
        if zone is not None and not OFFSET.fullmatch(zone):
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"no time zone {zone!r}; such as Europe/Berlin, UTC or +01:00") from error
        return zone

    def relative_to(self, folder: Path) -> "DataSettings":
        """The same settings, with paths taken from `folder` (where the recipe lies)."""
        paths = {name: getattr(self, name) for name in DATA_FILES}
        whole: dict[str, Path | str] = {name: folder / path for name, path in paths.items() if path is not None}
        if self.database is not None:
            whole["database"] = rooted(self.database, folder)
        return self.model_copy(update=whole)

    @property
    def label(self) -> str:
        """What reports call the data: the set, or the file without the folders of one machine."""
        file = self.interactions or self.test
        return str(self.source or (file.name if file is not None else "data"))


class SplitSettings(Strict):
    """The keys under `split:` in a recipe.

    name: `last_tenth` holds out the last tenth of each user's events for test and the tenth before for validation;
    `leave_one_out` the last event and the last but one; `global_time` cuts all users at two instants; `users` holds
    out whole users, drawn by chance; `files` is for rows, whose files say to which part they belong.
    min_rating: only events rated at least so high count as liked; the others are known, but never a target.
    min_history: a case needs at least so many liked items before its target.
    valid, test: shares of the events on each side of the cuts, for `global_time`; shares of the users, for `users`.
    known: candidates avoid `all` the items that the user has events with, or only the `liked` ones.
    mask_seen: `history` (a target is an item the user had not met before) or `none` (repeats count, as in music).
    cold: held-out events of users without training events are counted `apart`, or `judged` with the others, by the
    history that these users have by then.
    join: training rows that go on from each other, a window that slides along one user's items, become that user's
    sequence again, which is read once; for `files` alone.
    """

    name: SplitName = "last_tenth"
    min_rating: float | None = None
    min_history: int = Field(default=3, ge=1)
    valid: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)
    known: Literal["all", "liked"] = "all"
    mask_seen: MaskSeen = "history"
    cold: Cold = "apart"
    join: bool = False

    @model_validator(mode="after")
    def _leaves_something_to_learn(self) -> "SplitSettings":
        if self.valid + self.test >= 1:
            raise ValueError("`valid` and `test` together must stay below 1; such as `valid: 0.1, test: 0.1`")
        if self.join and self.name != "files":
            raise ValueError("`join` is of rows: with `name: files`")
        return self
