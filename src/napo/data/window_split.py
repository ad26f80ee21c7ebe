"""Which rows are learnt from, chosen on, and judged by.

Path    Windows -> [data.window_split] -> examples, candidates, evaluation
Takes   Windows, SplitSettings with `name: files`
Gives   Split, whose "users" are the rows: of each row its next item is trained or judged, and nothing else. With
        `join` training rows are whole sequences, and all that is new in their windows is trained

What a user is known to have met is what the user's rows hold; where rows carry no user, what the one window holds.
"""

from collections.abc import Sequence

import numpy as np

from napo.arrays import BoolArray, IntArray
from napo.data.joined import Joined, joined
from napo.data.rows import Rows
from napo.data.settings import SplitSettings
from napo.data.split import Split, dealt
from napo.data.windows import Window, Windows
from napo.errors import UserError

TRAIN, VALID, TEST = range(3)


def split_windows(windows: Windows, settings: SplitSettings) -> Split:
    """The parts are the files'. Without a training file, the users of the validation file are dealt out to train
    and to validate. Training windows shorter than `min_history` are dropped, and counted; joined ones, where the last
    of them is.
    """
    parts, all_rows = _rows(windows.windows, _parts(windows, settings), join=settings.join)
    short = np.array([len(row.window.history) < settings.min_history for row in all_rows])
    dropped = short & (parts == TRAIN)
    kept = np.flatnonzero(~dropped)
    rows, own = [all_rows[row].window for row in kept.tolist()], [all_rows[row].own for row in kept.tolist()]
    parts = parts[kept]
    sequences = tuple(window.items for window in rows)
    known, seen, users, keys = _met(rows, sequences, parts, windows.have_users)
    ends = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    begins = ends - np.array(own, dtype=np.int64)
    repeated = tuple(_repeats(sequence, begin) for sequence, begin in zip(sequences, begins.tolist(), strict=True))
    split = Split(
        name=settings.name,
        catalog=windows.catalog,
        user_keys=tuple(window.key for window in rows),
        sequences=sequences,
        known=known,
        valid_from=np.where(parts == TRAIN, ends, begins),
        test_from=np.where(parts != TEST, ends, begins),
        min_history=settings.min_history,
        mask_seen=settings.mask_seen,
        met_before=repeated if any(flags.any() for flags in repeated) else None,
        rows=Rows(begins, seen, users, keys, joined=settings.join),
        notes=_notes(windows, settings),
    )
    split.counts.update(
        {
            "rows": len(windows.windows),
            "training_rows": int((parts == TRAIN).sum()),
            "training_rows_too_short": int(dropped.sum()),
            **({"users": len(keys)} if users is not None else {}),
            **split.left_out("valid"),
            **split.left_out("test"),
        }
    )
    if split.counts["training_rows"] == 0 or split.counts["test_cases"] == 0:
        raise UserError(
            f"{split.counts['training_rows']:,} training rows and {split.counts['test_cases']:,} test cases are left,"
            f" of windows of at least {settings.min_history} items",
            where="split.min_history",
            remedy="lower `min_history`, or use larger files",
        )
    return split


def _rows(windows: Sequence[Window], parts: IntArray, *, join: bool) -> tuple[IntArray, list[Joined]]:
    """Parts and rows; where those that train are joined, they come first."""
    if not join:
        return parts, [Joined(window, 1) for window in windows]
    training, others = np.flatnonzero(parts == TRAIN).tolist(), np.flatnonzero(parts != TRAIN).tolist()
    chains = joined([windows[row] for row in training])
    rows = [*chains, *(Joined(windows[row], 1) for row in others)]
    return np.concatenate([np.full(len(chains), TRAIN, dtype=np.int64), parts[others]]), rows


def _repeats(sequence: IntArray, begin: int) -> BoolArray:
    """Where a row's own items stand before in the same row."""
    flags = np.zeros(len(sequence), dtype=np.bool_)
    for place in range(begin, len(sequence)):
        flags[place] = sequence[place] in sequence[:place]
    return flags


def _parts(windows: Windows, settings: SplitSettings) -> IntArray:
    """(rows,) TRAIN, VALID or TEST."""
    numbers = {"train": TRAIN, "valid": VALID, "test": TEST}
    parts = np.array([numbers[window.file] for window in windows.windows], dtype=np.int64)
    if (parts == TRAIN).any():
        return parts
    if not windows.have_users:
        raise UserError(
            "there is no training file, and rows without a `user` can't be dealt out: those of one user overlap",
            where="data.train",
            remedy="name a training file, or give each row its `user`",
        )
    valid_users = sorted({str(window.user) for window in windows.windows if window.file == "valid"})
    validating, _ = dealt(valid_users, settings.valid)
    trains = [window.file == "valid" and window.user not in validating for window in windows.windows]
    return np.where(trains, TRAIN, parts)


def _met(
    rows: list[Window], sequences: tuple[IntArray, ...], parts: IntArray, have_users: bool
) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...], IntArray | None, tuple[str, ...]]:
    """Known items of each row, those that training knows, each row's user, the users' keys."""
    nothing = np.zeros(0, dtype=np.int64)
    training = (parts == TRAIN).tolist()
    if not have_users:
        known = tuple(np.unique(sequence) for sequence in sequences)
        seen = tuple(items if trains else nothing for items, trains in zip(known, training, strict=True))
        return known, seen, None, ()
    keys = tuple(sorted({str(window.user) for window in rows}))
    index = {key: user for user, key in enumerate(keys)}
    users = np.array([index[str(window.user)] for window in rows], dtype=np.int64)
    of_all, of_training = _by_user(sequences, users), _by_user(sequences, np.where(parts == TRAIN, users, -1))
    return (
        tuple(of_all[user] for user in users.tolist()),
        tuple(of_training[user] if trains else nothing for user, trains in zip(users.tolist(), training, strict=True)),
        users,
        keys,
    )


def _by_user(sequences: tuple[IntArray, ...], users: IntArray) -> dict[int, IntArray]:
    """The distinct items of all the rows of each user."""
    gathered: dict[int, list[IntArray]] = {}
    for user, sequence in zip(users.tolist(), sequences, strict=True):
        gathered.setdefault(user, []).append(sequence)
    return {user: np.unique(np.concatenate(found)) for user, found in gathered.items()}


def _notes(windows: Windows, settings: SplitSettings) -> tuple[str, ...]:
    notes = ["split files: the rows' files say what is training, validation and test; each row trains or tests once"]
    if not any(window.file == "train" for window in windows.windows):
        notes.append(
            f"no training file: the validation rows of {1 - settings.valid:.0%} of their users are trained on, those of"
            " the others validate"
        )
    if not windows.have_users:
        notes.append(
            "rows carry no user: intervals resample rows, which overlap where one user has several, and are too narrow"
            " for it; candidates avoid what the window shows, not all that the user met"
        )
    return tuple(notes)
