"""Which events train, in which rows, in which order: all of it a function of (seed, epoch), so a resumed run agrees.

Path    split -> [training.examples] -> training.batches
Takes   Split, the share of each user's events that a stage trains on, how rows are cut
Gives   Plan: for each step its epoch and spans; laid out as TrainingRow: history, what is trained, where
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from napo.arrays import BoolArray, IntArray
from napo.data.split import Split
from napo.errors import UserError
from napo.rng import rng_for
from napo.scoring.batch import Frame
from napo.scoring.tree import PrefixTree


@dataclass(frozen=True)
class Span:
    """The events begin..end-1 of a user's sequence, trained together in one row."""

    user: int
    begin: int
    end: int


@dataclass(frozen=True)
class TrainingRow:
    """items: (n,) on the main path, oldest first. positions: (s,) trained places in the user's sequence; chosen: (s,).

    at: (s,) how many items of the main path stand before each chosen item. In a trajectory the chosen item is itself
    items[at]; in a prompt row there is one, and it stands beside the row.
    """

    user: int
    items: IntArray
    positions: IntArray
    chosen: IntArray
    at: IntArray


@dataclass(frozen=True)
class Limits:
    """history: most items before a chosen one. tokens: most tokens of a row's main path.

    overlap: items repeated before a trajectory's first trained one; None: as many as `history`.
    """

    history: int
    tokens: int
    overlap: int | None = None


def kept_back(split: Split, share: float) -> tuple[IntArray, IntArray]:
    """The cut in each user's training events: SFT trains before it, the preference stage may train from it on.

    share: of each user's training events, the newest, kept back from SFT; 0 keeps none. Returns (first, end): (users,).
    Rows train one event each: there the share is that of the rows, drawn by chance.
    """
    trained = split.valid_from - split.begins
    if split.trains_one_each:
        back = trained * (rng_for("kept_back").random(len(trained)) < share)
    else:
        back = np.floor(trained * share).astype(np.int64)
    return split.valid_from - back, split.valid_from


def check_titles_fit(tree: PrefixTree, frame: Frame, limits: Limits, listed: int) -> None:
    """Raises UserError where some title can't stand in a row at all: titles and words are never cut."""
    longest = int(max(tree.lengths.max(), frame.history_tokens(tree).lengths.max()))
    needed = frame.words + longest + listed * int(frame.listed_tokens(tree).lengths.max())
    if needed > limits.tokens:
        raise UserError(
            f"a row of {limits.tokens} tokens can't hold the prompt's {frame.words} and a title of {longest} tokens"
            + (f" and {listed} candidates" if listed else ""),
            where="prompt.max_tokens",
            remedy=f"at least {needed}",
        )


class Layout:
    """Cuts users' events into spans and lays a span out as a row."""

    def __init__(self, split: Split, tree: PrefixTree, frame: Frame, limits: Limits) -> None:
        self.split, self.limits = split, limits
        self.lengths = frame.history_tokens(tree).lengths
        self.longest_title, self.longest_listed = int(tree.lengths.max()), int(frame.listed_tokens(tree).lengths.max())
        self.room = limits.tokens - frame.words

    def spans(self, begin: IntArray, end: IntArray, per_row: int) -> list[Span]:
        """begin, end: (users,) events to train. Rows of at most per_row of them, and at most half a row's tokens."""
        found = []
        for user, (low, high) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            lengths = self.lengths[self.split.sequences[user][:high]]
            while low < high:
                fits = int(np.searchsorted(np.cumsum(lengths[low:]), max(self.room // 2, 1), side="right"))
                stop = min(low + max(min(per_row, fits), 1), high)
                found.append(Span(user, low, stop))
                low = stop
        return found

    def shifted_spans(self, begin: IntArray, end: IntArray, per_row: int, epoch: int, seed: int) -> list[Span]:
        """As spans(), cut at other places each epoch, so that an event meets histories of all lengths.

        A user's first row has from r to per_row events, where r is what full rows would leave over: so the number of
        rows, and with it that of steps, is the same in every epoch.
        """
        per_row = max(1, min(per_row, self.room // 2 // int(self.lengths.max())))
        found = []
        for user, (low, high) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            if low == high:
                continue
            left = (high - low) % per_row
            rng = rng_for(seed, "cut", epoch, self.split.user_keys[user])
            first = int(rng.integers(left or 1, max(per_row - (left == 0), 1) + 1))
            cuts = [low, *range(low + first, high, per_row), high]
            found += [Span(user, start, stop) for start, stop in pairwise(cuts)]
        return found

    def trajectory(self, span: Span, kept: BoolArray | None = None) -> TrainingRow:
        """The span's events behind those before it, one row. kept: (events,) what an epoch does not leave out."""
        overlap = self.limits.history if self.limits.overlap is None else self.limits.overlap
        positions: IntArray = np.arange(max(0, span.begin - overlap), span.end)
        if kept is not None:
            remaining = positions[kept[positions]]
            # a row without a trained event would train nothing: its last one stays
            trains = len(remaining) > 0 and remaining[-1] >= span.begin
            positions = remaining if trains else np.append(remaining, positions[-1:])
        items = self.split.sequences[span.user][positions]
        positions = self._newest(positions, items)
        items = items[-len(positions) :]
        at = np.flatnonzero(positions >= span.begin)
        return TrainingRow(span.user, items, positions[at], items[at], at)

    def prompt(self, span: Span, kept: BoolArray | None = None, listed: int = 0) -> TrainingRow:
        """One event behind its history. listed: how many candidates the prompt will name beside it."""
        assert span.end == span.begin + 1
        sequence = self.split.sequences[span.user]
        positions: IntArray = np.arange(max(0, span.begin - self.limits.history), span.begin)
        if kept is not None:
            positions = positions[kept[positions]]
        reserved = self.longest_title + listed * self.longest_listed
        positions = self._newest(positions, sequence[positions], reserved)
        items = sequence[positions]
        at = np.array([len(items)])
        return TrainingRow(span.user, items, np.array([span.begin]), sequence[span.begin : span.end], at)

    def _newest(self, positions: IntArray, items: IntArray, reserved: int = 0) -> IntArray:
        """The newest positions whose titles fit the row: a history too long loses its oldest events whole."""
        if not len(items):
            return positions
        total = np.cumsum(self.lengths[items][::-1])
        return positions[len(positions) - int(np.searchsorted(total, self.room - reserved, side="right")) :]


def left_in(split: Split, user: int, epoch: int, share_out: float, seed: int) -> BoolArray | None:
    """(events,) True where an event stays in this epoch; each goes with probability share_out. None: all stay."""
    if share_out == 0:
        return None
    drawn = rng_for(seed, "leave_out", epoch, split.user_keys[user]).random(int(split.valid_from[user]))
    return np.asarray(drawn >= share_out)


class Plan:
    """The steps of a stage: step i trains the spans of batch(i). Rows of like length share a batch.

    spans: the same for every epoch, or a function of the epoch that always gives the same number.
    """

    def __init__(self, spans: list[Span] | Callable[[int], list[Span]], batch: int, epochs: float, seed: int) -> None:
        self.cut = spans if callable(spans) else lambda _: spans
        self.spans, self.size, self.epochs, self.seed = self.cut(0), batch, epochs, seed
        if not self.spans:
            raise UserError("there is nothing to train on", remedy="a larger log, or a smaller share kept back")
        self.steps = -(-len(self.spans) // batch)  # of an epoch
        self._order: tuple[int, list[IntArray]] = (-1, [])

    def __len__(self) -> int:
        return max(1, round(self.epochs * self.steps))

    def batch(self, step: int) -> tuple[int, list[Span]]:
        """(epoch, spans), both counted from 0."""
        epoch, within = divmod(step, self.steps)
        if self._order[0] != epoch:
            self.spans = self.cut(epoch)
            self._order = (epoch, self._draw(epoch))
            assert len(self._order[1]) == self.steps
        return epoch, [self.spans[index] for index in self._order[1][within]]

    def _draw(self, epoch: int) -> list[IntArray]:
        rng = rng_for(self.seed, "order", epoch)
        ends = np.array([span.end for span in self.spans], dtype=np.float64)
        spread = max(float(ends.max()) / 16, 1.0)
        order = np.argsort(ends + rng.uniform(0, spread, len(ends)), kind="stable")
        batches = [order[start : start + self.size] for start in range(0, len(order), self.size)]
        return [batches[index] for index in rng.permutation(len(batches))]
