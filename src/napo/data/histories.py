"""What a delivered model remembers of the log: who took what, and how popular each item is.

Path    split -> [data.histories] -> training.run saves it beside the weights, serving reads it
Takes   Split, or a folder that `save` has filled
Gives   Histories
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from napo.arrays import IntArray
from napo.data.split import Split
from napo.errors import UserError
from napo.files import write_aside

USERS, POPULARITY = "histories.parquet", "popularity.parquet"


@dataclass(frozen=True, eq=False)
class Histories:
    """liked: per user, all liked items, held-out ones too, oldest first: what a served model goes on from.

    known: per user, the distinct items of all the user's events, by default at any rating: what is not recommended.
    popularity: (items,) events of each item in training alone, as in every table's popularity row.
    """

    user_keys: tuple[str, ...]
    liked: tuple[IntArray, ...]
    known: tuple[IntArray, ...]
    popularity: IntArray

    def __post_init__(self) -> None:
        assert len(self.user_keys) == len(self.liked) == len(self.known)

    @classmethod
    def of(cls, split: Split) -> "Histories":
        """All users of the split. Of rows: each user's newest window, and nobody where rows carry no user."""
        if split.rows is None:
            return cls(split.user_keys, split.sequences, split.known, split.popularity)
        users = [] if split.rows.users is None else split.rows.users.tolist()
        newest = {user: row for row, user in enumerate(users)}  # files are ordered in time: the last row stays
        rows = [newest[user] for user in range(len(split.rows.user_keys))]
        liked, known = (tuple(arrays[row] for row in rows) for arrays in (split.sequences, split.known))
        return cls(split.rows.user_keys, liked, known, split.popularity)

    @cached_property
    def index(self) -> dict[str, int]:
        """The user of each key."""
        return {key: user for user, key in enumerate(self.user_keys)}

    def without_users(self) -> "Histories":
        """What is left when nobody's events are kept: how popular each item is."""
        return Histories((), (), (), self.popularity)

    def save(self, folder: Path) -> None:
        """Write `histories.parquet` (user, liked, known) and `popularity.parquet` (events, a row an item)."""
        items = pl.List(pl.Int64)
        users = pl.DataFrame(
            {"user": self.user_keys, "liked": _lists(self.liked), "known": _lists(self.known)},
            schema={"user": pl.String, "liked": items, "known": items},
        )
        with write_aside(folder / USERS) as aside:
            users.write_parquet(aside)
        with write_aside(folder / POPULARITY) as aside:
            pl.DataFrame({"events": self.popularity.astype(np.int64)}).write_parquet(aside)

    @classmethod
    def load(cls, folder: Path, items: int) -> "Histories":
        """Read what `save` wrote, for a catalog of so many items.

        Raises UserError where a file is missing, can't be read, or goes with another catalog.
        """
        users, events = _read(folder / USERS), _read(folder / POPULARITY)
        try:
            keys = tuple(users["user"].cast(pl.String))
            liked, known = (_arrays(users[name]) for name in ("liked", "known"))
            popularity = events["events"].cast(pl.Int64).to_numpy()
        except pl.exceptions.PolarsError as error:
            raise UserError(f"no histories can be read: {error}", where=str(folder), remedy=_COPY) from error
        highest = max((int(array.max()) for array in (*liked, *known) if len(array)), default=-1)
        if len(popularity) != items or highest >= items:
            raise UserError(
                f"the histories are of a catalog of {max(len(popularity), highest + 1)} items, the model's has {items}",
                where=str(folder),
                remedy=_COPY,
            )
        return cls(keys, liked, known, popularity)


_COPY = "the folder is not whole or mixes two models: copy the run's `model` folder again"


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read: {error}"
        raise UserError(f"{path.name} {reason}", where=str(path), remedy=_COPY) from error


def _lists(arrays: tuple[IntArray, ...]) -> list[list[int]]:
    return [array.tolist() for array in arrays]


def _arrays(column: pl.Series) -> tuple[IntArray, ...]:
    return tuple(np.array(row, dtype=np.int64) for row in column.cast(pl.List(pl.Int64)).to_list())
