"""What a log has that an earlier run did not know: users, items, and which of each user's events.

Path    InteractionLog, an earlier run's Histories -> [data.news] -> training.refresh
Takes   a log whose catalog goes on from the earlier one (data.known_items), the rating from which events are liked
Gives   News, by number; no key of a user leaves it
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl

from napo.arrays import BoolArray, IntArray
from napo.data.histories import Histories
from napo.data.log import InteractionLog


@dataclass(frozen=True, eq=False)
class News:
    """is_new: per user, True where a liked event was not known before, in the order of `Split.sequences`.

    users, items: how many have come. known_items: how many there were; new items have the numbers from there on.
    """

    is_new: tuple[BoolArray, ...]
    users: int
    items: int
    known_items: int

    @property
    def interactions(self) -> int:
        """New liked events."""
        return sum(int(mine.sum()) for mine in self.is_new)

    @property
    def liked(self) -> int:
        """All liked events."""
        return sum(map(len, self.is_new))

    @cached_property
    def begins(self) -> IntArray:
        """(users,) the place of each user's first new event; where there is none, how many events there are."""
        return np.array([int(mine.argmax()) if mine.any() else len(mine) for mine in self.is_new], dtype=np.int64)

    def counts(self) -> dict[str, int]:
        """In short, for people and reports."""
        return {
            "new_users": self.users,
            "new_items": self.items,
            "new_interactions": self.interactions,
            "interactions_known_before": self.liked - self.interactions,
        }


def news_of(log: InteractionLog, before: Histories, min_rating: float | None) -> News:
    """Hold a log against what an earlier run knew. An event is known as often as the run had its user and item."""
    liked = log.frame if min_rating is None else log.frame.filter(pl.col("rating") >= min_rating)
    users = len(log.user_keys)
    events = liked.select(pl.col("user").cast(pl.Int64), pl.col("item").cast(pl.Int64))
    known = _known_events(log, before)
    pair = ["user", "item"]
    nth = pl.int_range(pl.len()).over(pair).alias("nth")
    marked = events.with_columns(nth).join(
        known.with_columns(nth, known=pl.lit(True)), on=[*pair, "nth"], how="left", maintain_order="left"
    )
    is_new = marked["known"].is_null().to_numpy()
    borders = np.searchsorted(events["user"].to_numpy(), np.arange(users + 1))
    parts = tuple(is_new[start:stop] for start, stop in pairwise(borders.tolist()))
    strangers = sum(key not in before.index for key in log.user_keys)
    known_items = len(before.popularity)
    return News(parts, strangers, len(log.catalog) - known_items, known_items)


def _known_events(log: InteractionLog, before: Histories) -> pl.DataFrame:
    """`user` and `item`, as this log numbers them, of what the earlier run knew of its users."""
    numbers = [before.index.get(key) for key in log.user_keys]
    rows = [(user, before.liked[number]) for user, number in enumerate(numbers) if number is not None]
    schema = {"user": pl.Int64, "item": pl.Int64}
    items = [liked for _, liked in rows]
    return pl.DataFrame(
        {
            "user": np.repeat([user for user, _ in rows], [len(liked) for liked in items]).astype(np.int64),
            "item": np.concatenate([np.zeros(0, dtype=np.int64), *items]),
        },
        schema=schema,
    )
