"""What a split has beside where its data come as rows.

Path    data.window_split -> [data.rows] -> data.split, candidates, evaluation
Takes   windows of history and what was taken next
Gives   Rows
"""

from dataclasses import dataclass

from napo.arrays import IntArray


@dataclass(frozen=True, eq=False)
class Rows:
    """Of a split whose "users" are rows, a window of history and the next item each; or sequences of them, joined.

    begins: (rows,) where the row's own items begin: what is before them is read, never trained, judged or counted.
    seen: per row, what training may know its user to have met; empty for rows that are not trained.
    users: (rows,) the user of each; None where the rows carry no user, and are taken for one each.
    joined: whether a training row may have many items of its own (data.joined); else each has one.
    """

    begins: IntArray
    seen: tuple[IntArray, ...]
    users: IntArray | None
    user_keys: tuple[str, ...]
    joined: bool = False
