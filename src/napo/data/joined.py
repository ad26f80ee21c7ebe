"""Windows that slide along one sequence, put together again.

Path    Windows -> [data.joined] -> data.window_split
Takes   training rows, each a window of history and the next item, in the order of their file
Gives   the sequences they were cut from, as windows; how many of a sequence's items are its own

Files of (history, next item) rows often hold every prefix of a user's sequence, cut to the newest few items. Trained
row by row each title is read as often as it stands in a window; as one sequence it is read once, behind its past.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from napo.data.windows import Window


@dataclass(frozen=True)
class Joined:
    """window: its history is all but the last item. own: how many of its last items were the `next` of a row."""

    window: Window
    own: int


def joined(windows: Sequence[Window]) -> list[Joined]:
    """The windows, those that go on from the one before put into one; in order, named after their first.

    A window goes on where its history is the end of what the one before holds, `next` included, and is no shorter
    than that one's history; windows of different users never do.
    """
    chains: list[list[Window]] = []
    for window in windows:
        if chains and _goes_on(chains[-1][-1], window):
            chains[-1].append(window)
        else:
            chains.append([window])
    return [_as_one(chain) for chain in chains]


def _goes_on(before: Window, window: Window) -> bool:
    history = window.history
    if not history or len(history) < len(before.history) or window.user != before.user:
        return False
    return history == (*before.history, before.next)[-len(history) :]


def _as_one(chain: Sequence[Window]) -> Joined:
    *history, last = (*chain[0].history, *(window.next for window in chain))
    return Joined(replace(chain[0], history=tuple(history), next=last, listed=None), len(chain))
