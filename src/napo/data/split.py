"""Which events are learnt from, chosen on, and judged by.

Path    InteractionLog -> [data.split] -> examples, candidates, evaluation
Takes   InteractionLog, SplitSettings
Gives   Split: each user's liked items in time order, and the places where validation and test begin; its Cases
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from napo.arrays import BoolArray, IntArray
from napo.data._digest import digest_of
from napo.data.catalog import Catalog
from napo.data.keys import met_before
from napo.data.log import InteractionLog
from napo.data.rows import Rows
from napo.data.settings import Cold, MaskSeen
from napo.data.settings import SplitSettings as SplitSettings
from napo.errors import UserError
from napo.rng import rng_for

Part = Literal["valid", "test"]
UNSEEN_USERS = ("users", "files")  # splits whose held-out users have no training events
LEAKS = {
    "last_tenth": "training holds other users' events that are later than a test case",
    "leave_one_out": "training holds other users' events that are later than a test case, most of all those of users"
    " who went on longer",
    "global_time": "nothing of the future is known in training",
    "users": "no test user was trained on; training holds other users' events of the same time and later",
}


@dataclass(frozen=True, eq=False)
class Split:
    """Each user's liked items, oldest first, cut in three: training, validation, test.

    sequences: per user (events,). Training is [:valid_from], validation [valid_from:test_from], test [test_from:].
    known: per user, the distinct items of all the user's events, held out or not, by default liked or not; sorted.
    times: per user, the milliseconds of `sequences`; None without times.
    met_before: per user, True where the user had met the item earlier, at any rating; None: nowhere.
    cold: whether users without training events are judged with the others (SplitSettings).
    rows: for data that come as rows (data.windows); a "user" above is then a row. None for a log.
    notes: sentences that a reader of the figures must know.
    """

    name: str
    catalog: Catalog
    user_keys: tuple[str, ...]
    sequences: tuple[IntArray, ...]
    known: tuple[IntArray, ...]
    valid_from: IntArray
    test_from: IntArray
    counts: dict[str, int] = field(default_factory=dict)
    min_history: int = 3
    mask_seen: MaskSeen = "history"
    cold: Cold = "apart"
    times: tuple[IntArray, ...] | None = None
    met_before: tuple[BoolArray, ...] | None = None
    rows: Rows | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of who, what, and where the cuts are."""
        lengths = np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)
        flat = [_joined(self.sequences), _joined(self.known), lengths, self.valid_from, self.test_from]
        if self.rows is not None:
            flat += [self.rows.begins, _joined(self.rows.seen), *([] if self.rows.users is None else [self.rows.users])]
        return digest_of(self.name, self.min_history, self.mask_seen, self.user_keys, self.catalog.digest, *flat)

    @cached_property
    def popularity(self) -> IntArray:
        """(items,): training events of each item."""
        train = _joined([self.train(user) for user in range(len(self.sequences))])
        return np.bincount(train, minlength=len(self.catalog)).astype(np.int64)

    @cached_property
    def begins(self) -> IntArray:
        """(users,) where each user's own events begin: 0 but for rows, which bring a history."""
        return np.zeros_like(self.valid_from) if self.rows is None else self.rows.begins

    @property
    def trains_one_each(self) -> bool:
        """Whether its "users" are rows that train their last item alone."""
        return self.rows is not None and not self.rows.joined

    def train(self, user: int) -> IntArray:
        """The user's training items, oldest first."""
        return self.sequences[user][int(self.begins[user]) : int(self.valid_from[user])]

    def seen(self, user: int) -> IntArray:
        """The items that training may know the user to have met: those that are never drawn as rejected ones."""
        return self.train(user) if self.rows is None else self.rows.seen[user]

    @property
    def unit(self) -> str:
        """What intervals resample: users, or rows that carry no user."""
        return "rows" if self.rows is not None and self.rows.users is None else "users"

    def cases(self, part: Part) -> "Cases":
        """What the table's figures are made of: every held-out event whose history is long enough."""
        user, position = self._held_out(part)
        keep = ~(self._is_cold(user) | self._is_short(position) | self._is_repeat(user, position))
        return self._cases(part, user[keep], position[keep])

    def cold_cases(self, part: Part) -> "Cases":
        """The held-out events of users without any training event: judged apart, with whatever history there is."""
        user, position = self._held_out(part)
        keep = self._is_cold(user) & ~self._is_repeat(user, position)
        return self._cases(part, user[keep], position[keep])

    def left_out(self, part: Part) -> dict[str, int]:
        """Why held-out events are not among `cases`: each is counted once, under its first reason."""
        user, position = self._held_out(part)
        repeat, cold, short = self._is_repeat(user, position), self._is_cold(user), self._is_short(position)
        return {
            f"{part}_events": len(user),
            f"{part}_targets_seen_before": int(repeat.sum()),
            f"{part}_cold_cases": int((cold & ~repeat).sum()),
            f"{part}_histories_too_short": int((short & ~cold & ~repeat).sum()),
            f"{part}_cases": int((~(repeat | cold | short)).sum()),
        }

    def _held_out(self, part: Part) -> tuple[IntArray, IntArray]:
        """(events,) twice: user and position of each held-out event, by user, then position."""
        lengths = np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)
        start, stop = (self.valid_from, self.test_from) if part == "valid" else (self.test_from, lengths)
        count = stop - start
        user = np.repeat(np.arange(len(lengths)), count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return user, start[user] + within

    def _is_cold(self, user: IntArray) -> BoolArray:
        # that nobody in test was trained on is what some splits are for
        if self.cold == "judged" or self.name in UNSEEN_USERS:
            return np.zeros(len(user), dtype=np.bool_)
        return np.asarray(self.valid_from[user] == 0)

    def _is_short(self, position: IntArray) -> BoolArray:
        return np.asarray(position < self.min_history)

    def _is_repeat(self, user: IntArray, position: IntArray) -> BoolArray:
        if self.met_before is None or self.mask_seen == "none":
            return np.zeros(len(user), dtype=np.bool_)
        pairs = zip(user.tolist(), position.tolist(), strict=True)
        return np.array([self.met_before[u][p] for u, p in pairs], dtype=np.bool_)

    def _cases(self, part: Part, user: IntArray, position: IntArray) -> "Cases":
        pairs = zip(user.tolist(), position.tolist(), strict=True)
        target = np.array([self.sequences[u][p] for u, p in pairs], dtype=np.int64)
        return Cases(part, user, position, target, self)


@dataclass(frozen=True, eq=False)
class Cases:
    """Held-out events to judge by: user[c] takes target[c] at position[c] of the user's sequence."""

    part: Part
    user: IntArray
    position: IntArray
    target: IntArray
    split: Split

    def __len__(self) -> int:
        return len(self.user)

    @property
    def units(self) -> IntArray:
        """(cases,) what each belongs to when intervals are made: its user, or its row where rows carry no user."""
        rows = self.split.rows
        return self.user if rows is None or rows.users is None else rows.users[self.user]

    def history(self, case: int) -> IntArray:
        """The liked items before the target, oldest first, all of them, earlier held-out ones too."""
        return self.split.sequences[int(self.user[case])][: int(self.position[case])]

    def histories(self) -> list[IntArray]:
        """The history of every case."""
        return [self.history(case) for case in range(len(self))]

    def take(self, cases: IntArray | BoolArray) -> "Cases":
        """Some of the cases, by number or by mask."""
        return Cases(self.part, self.user[cases], self.position[cases], self.target[cases], self.split)

    def subset(self, count: int, seed: int) -> "Cases":
        """`count` cases drawn without replacement, order kept; all of them where there are fewer."""
        if count >= len(self):
            return self
        drawn = rng_for("subset", seed, self.split.name, self.part).choice(len(self), size=count, replace=False)
        return self.take(np.sort(drawn))


def make_split(log: InteractionLog, settings: SplitSettings | None = None) -> Split:
    """Cut a log. Users who are too short for a test contribute training events only, and are counted."""
    settings = settings or SplitSettings()
    liked = _liked(log, settings)
    users = len(log.user_keys)
    known = log.frame if settings.known == "all" else liked
    sequences = _by_user(liked, "item", users)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    times = _by_user(liked, "time", users) if log.has_times else None
    if settings.name == "global_time":
        if times is None:
            raise UserError("`global_time` needs times", remedy="name the time column, or use `last_tenth`")
        valid_from, test_from = _cut_by_time(times, settings)
    elif settings.name == "users":
        valid_from, test_from = _cut_by_user(log.user_keys, lengths, settings)
    else:
        valid_from, test_from = _cut_by_count(lengths, settings)
    split = Split(
        name=settings.name,
        catalog=log.catalog,
        user_keys=log.user_keys,
        sequences=sequences,
        known=tuple(np.unique(items) for items in _by_user(known, "item", users)),
        valid_from=valid_from,
        test_from=test_from,
        min_history=settings.min_history,
        mask_seen=settings.mask_seen,
        cold=settings.cold,
        times=times,
        met_before=_flags_by_user(liked, users) if liked["met_before"].any() else None,
        notes=_notes(settings.name, times),
    )
    split.counts.update(_counts(split, log, lengths))
    if split.counts["test_cases"] + split.counts["test_cold_cases"] == 0:
        longest = int(lengths.max(initial=0))
        raise UserError(
            f"no test case is left: the longest user has {longest} liked events, and {settings.min_history} must "
            "come before the held-out ones",
            where="split",
            remedy="lower `min_history` or `min_rating`, or use a larger log",
        )
    return split


def _liked(log: InteractionLog, settings: SplitSettings) -> pl.DataFrame:
    # before the rating is looked at: an item met and disliked is an item met
    frame = log.frame.with_columns(pl.Series("met_before", met_before(log.frame)))
    if settings.min_rating is None:
        return frame
    if not log.has_ratings:
        raise UserError(
            f"`min_rating: {settings.min_rating:g}` needs ratings, and the log has none",
            where="split.min_rating",
            remedy="name the rating column, or leave `min_rating` out",
        )
    liked = frame.filter(pl.col("rating") >= settings.min_rating)
    if liked.height == 0:
        highest = float(log.frame["rating"].fill_null(-np.inf).to_numpy().max())
        raise UserError(
            f"no event is rated {settings.min_rating:g} or more; the highest rating is {highest:g}",
            where="split.min_rating",
            remedy="lower `min_rating`",
        )
    return liked


def _flags_by_user(frame: pl.DataFrame, users: int) -> tuple[BoolArray, ...]:
    return tuple(flags.astype(np.bool_) for flags in _by_user(frame, "met_before", users))


def _by_user(frame: pl.DataFrame, column: str, users: int) -> tuple[IntArray, ...]:
    """Cut a column of a frame sorted by user into one array for each user."""
    values = frame[column].to_numpy().astype(np.int64)
    borders = np.searchsorted(frame["user"].to_numpy(), np.arange(users + 1))
    return tuple(values[start:stop] for start, stop in pairwise(borders.tolist()))


def _cut_by_count(lengths: IntArray, settings: SplitSettings) -> tuple[IntArray, IntArray]:
    """(users,) twice. A user of n events gives max(1, n // 10) to test and as many to validation, or 1 and 1."""
    held = np.ones_like(lengths) if settings.name == "leave_one_out" else np.maximum(1, lengths // 10)
    test_from = lengths - held
    valid_from = test_from - held
    short = valid_from < settings.min_history
    return np.where(short, lengths, valid_from), np.where(short, lengths, test_from)


def _cut_by_time(times: tuple[IntArray, ...], settings: SplitSettings) -> tuple[IntArray, IntArray]:
    """(users,) twice: training is before t1, validation from t1 to before t2, test from t2 on."""
    instants = np.sort(np.concatenate(times))
    t2 = instants[-max(1, round(len(instants) * settings.test))]
    before = instants[instants < t2]
    t1 = before[-max(1, round(len(instants) * settings.valid)) :][0] if len(before) else t2
    if t1 in (t2, instants[0]):
        raise UserError(
            "the events fall on too few instants to be cut in three by time",
            where="split.name: global_time",
            remedy="use `last_tenth`, or change `valid` and `test`",
        )
    # all events of one instant stay on one side: searchsorted puts those equal to a cut behind it
    valid_from = np.array([np.searchsorted(user, t1) for user in times], dtype=np.int64)
    test_from = np.array([np.searchsorted(user, t2) for user in times], dtype=np.int64)
    return valid_from, test_from


def _cut_by_user(keys: Sequence[str], lengths: IntArray, settings: SplitSettings) -> tuple[IntArray, IntArray]:
    """(users,) twice: whole users validate or test, of those who have a case to give; all others train."""
    able = np.flatnonzero(lengths > settings.min_history)
    if len(able) < 3:
        raise UserError(
            f"{len(able)} users have more than {settings.min_history} liked events: too few to hold some of them out",
            where="split.name: users",
            remedy="use `last_tenth`, or lower `min_history`",
        )
    test, valid, _ = dealt(sorted(keys[user] for user in able.tolist()), settings.test, settings.valid)
    in_test, in_valid = (np.array([key in held for key in keys]) for held in (test, valid))
    return np.where(in_test | in_valid, 0, lengths), np.where(in_test, 0, lengths)


def dealt(users: Sequence[str], *shares: float) -> list[set[str]]:
    """Users drawn by chance into sets of these shares, one at least each, and the rest; no seed moves the draw."""
    order = rng_for("users").permutation(len(users)).tolist()
    sets, start = [], 0
    for share in shares:
        stop = start + max(1, round(share * len(users)))
        sets.append({users[place] for place in order[start:stop]})
        start = stop
    return [*sets, {users[place] for place in order[start:]}]


def _notes(name: str, times: tuple[IntArray, ...] | None) -> tuple[str, ...]:
    notes = [f"split {name}: {LEAKS[name]}"]
    if times is not None and (tied := _at_one_instant(times)):
        share = tied / sum(map(len, times))
        notes.append(f"{share:.1%} of events share their time with another of their user: the file's order decides")
    return tuple(notes)


def _counts(split: Split, log: InteractionLog, lengths: IntArray) -> dict[str, int]:
    """Every user and every held-out event under exactly one heading."""
    users = np.arange(len(lengths))
    evaluated = np.zeros(len(users), dtype=np.bool_)
    evaluated[split.cases("test").user] = True
    cold = np.zeros(len(users), dtype=np.bool_)
    cold[split.cold_cases("test").user] = True
    none = lengths == 0
    held_out = lengths > split.test_from
    validated = (split.name == "users") & (split.valid_from < split.test_from)
    whole = split.name in ("global_time", "users")  # a user may well have nothing held out, however many events
    short = ~(evaluated | cold | none | validated) & (held_out | (lengths <= split.min_history) | (not whole))
    return {
        "users": len(users),
        "users_evaluated": int(evaluated.sum()),
        "users_too_short": int(short.sum()),
        "users_without_training_events": int(cold.sum()),
        "users_without_liked_events": int(none.sum()),
        "users_only_in_training": int((~(evaluated | cold | none | short | validated)).sum()),
        **({"users_only_in_validation": int(validated.sum())} if split.name == "users" else {}),
        "events": log.frame.height,
        "events_liked": int(lengths.sum()),
        "events_at_one_instant": _at_one_instant(split.times),
        "training_events": int(split.valid_from.sum()),
        **split.left_out("valid"),
        **split.left_out("test"),
    }


def _at_one_instant(times: tuple[IntArray, ...] | None) -> int:
    """Liked events whose user has another at the same time: their order is the file's."""
    if times is None:
        return 0
    flat, user = _joined(times), np.repeat(np.arange(len(times)), [len(own) for own in times])
    tied = (flat[1:] == flat[:-1]) & (user[1:] == user[:-1])  # each user's are in order
    return int((np.append(tied, False) | np.append(False, tied)).sum())


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays]).astype(np.int64)


def users_in_words(counts: dict[str, int]) -> str:
    """`33 users: 30 evaluated, 2 too short, 1 without training events (evaluated apart)`; absent kinds left out."""
    kinds = (
        ("users_evaluated", "evaluated"),
        ("users_too_short", "too short"),
        ("users_without_training_events", "without training events, evaluated apart"),
        ("users_without_liked_events", "without liked events"),
        ("users_only_in_validation", "only in validation"),
        ("users_only_in_training", "with nothing held out"),
    )
    said = [f"{counts[key]:,} {words}" for key, words in kinds if counts.get(key) or key == "users_evaluated"]
    return f"{counts['users']:,} users: {', '.join(said)}"
