"""One step's data: rows laid out, rejected items drawn, all as tensors.

Path    training.examples, negatives -> [training.batches] -> training.module
Takes   Plan, Layout, a sampler, the auxiliary model's vectors, stored reference log-probs
Gives   dicts of tensors, one for each step and rank, that accelerate can move and deal out
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError
from napo.negatives._protocol import Example, NegativeSampler
from napo.rng import rng_for
from napo.scoring.batch import NONE, Frame, Normalize, Row, TokenBatch, pack
from napo.scoring.scored import Side
from napo.scoring.tree import PrefixTree, slices
from napo.training.examples import Layout, Plan, Span, TrainingRow, left_in

Form = Literal["trajectory", "prompt"]
Batch = dict[str, Any]
Drawn = tuple[TrainingRow, IntArray, IntArray]  # a row, its rejected items (s, K), what its prompt lists (listed,)
# Side of a step on all ranks, and its number from 1 -> (N, N * K) who takes over whose rejected items
Borrow = Callable[[Side, Tensor], Tensor]
LARGEST_MASK = 2**30  # of a step's rows, bytes


class AuxiliaryVectors:
    """The auxiliary model's frozen vectors: of the items, and of a user's history before each event, kept once made."""

    def __init__(
        self,
        sequences: tuple[IntArray, ...],
        encode: Callable[[int, list[IntArray]], FloatArray],
        items: FloatArray,
        begins: IntArray | None = None,
        length: int | None = None,
    ) -> None:
        """sequences: each user's items up to the end of training. encode: user, histories -> (n, d); items: (items, d).

        A score is the dot product of the two. begins: (users,) the first position that is asked for; None: 0.
        length: so many items of a history, the newest, the model reads; None: all of them.
        """
        self.sequences, self.encode, self.items, self.length = sequences, encode, items, length
        self.begins = begins
        self._users: dict[int, tuple[FloatArray, FloatArray]] = {}

    def histories(self, user: int, positions: IntArray) -> FloatArray:
        """(s, d): vectors of what the user liked before each position."""
        return self._of(user)[0][positions - self._first(user)]

    def means(self, user: int, positions: IntArray) -> FloatArray:
        """(s, d): means of the item vectors of what the user liked before each position; of nothing: 0."""
        return self._of(user)[1][positions - self._first(user)]

    def _first(self, user: int) -> int:
        return 0 if self.begins is None else int(self.begins[user])

    def _of(self, user: int) -> tuple[FloatArray, FloatArray]:
        if user not in self._users:
            # all of a user's at once: in other company they would round otherwise, and the nearest peers be others
            sequence = self.sequences[user]
            stops = np.arange(self._first(user), len(sequence))
            sums = np.concatenate([np.zeros((1, self.items.shape[1])), self.items[sequence].cumsum(0, np.float64)])
            starts = np.zeros_like(stops) if self.length is None else np.maximum(stops - self.length, 0)
            means = (sums[stops] - sums[starts]) / np.maximum(stops - starts, 1)[:, None]
            self._users[user] = self.encode(user, [sequence[:stop] for stop in stops]), means
        return self._users[user]


@dataclass(frozen=True)
class Drawing:
    """How rejected items are drawn. listed: candidates named in a `list` prompt, the chosen one among them.

    borrow: where what an example takes over from others is to be scored beside its own titles.
    relabel: what of a row trains, and which items are chosen, where that is not what was logged (training.pairs).
    side: whether the ids of examples are told even where nothing is drawn.
    """

    sampler: NegativeSampler | None = None
    count: int = 0
    listed: int = 0
    borrow: Borrow | None = None
    relabel: Callable[[TrainingRow], TrainingRow] | None = None
    side: bool = False


@dataclass(frozen=True)
class RowSettings:
    """What the rows of a stage are made with. shared: whether titles stand side by side in a row; see scoring.batch."""

    layout: Layout
    tree: PrefixTree
    frame: Frame
    normalize: Normalize
    form: Form
    seed: int
    leave_out: float = 0.0
    drawing: Drawing = field(default_factory=Drawing)
    auxiliary: AuxiliaryVectors | None = None
    shared: bool = True


class TrainingBatches(Dataset[Batch]):
    """The steps' rows, dealt out: of R ranks, rank r gets the items i with i % R = r, and item i is of step i // R.

    An item is a pure function of (settings, plan, i), and a step holds the same rows however many ranks share them:
    workers, ranks and a resumed run train the same. A rank without a row gets another one's, with none of its examples.
    """

    def __init__(
        self, settings: RowSettings, plan: Plan, reference: list[Tensor] | None = None, *, ranks: int = 1
    ) -> None:
        """reference: (B, 1 + K) log-probs of each item."""
        self.settings, self.plan, self.reference, self.ranks = settings, plan, reference, ranks

    def with_reference(self, reference: list[Tensor]) -> "TrainingBatches":
        return TrainingBatches(self.settings, self.plan, reference, ranks=self.ranks)

    def __len__(self) -> int:
        return len(self.plan) * self.ranks

    def __getitem__(self, index: int) -> Batch:
        step, rank = divmod(index, self.ranks)
        epoch, spans = self.plan.batch(step)
        # in one piece: put together in the ranks' order, they are in the order of the step again
        first, end = (-(-len(spans) * part // self.ranks) for part in (rank, rank + 1))
        if self.settings.drawing.borrow is None:
            drawn = self._drawn(spans[first:end] or spans[:1], epoch)
            batch = {**self._titles(drawn), **self._side(drawn)}
        else:
            batch = self._borrowing(self._drawn(spans, epoch), first, end, step)
        if first == end:
            batch = {name: value if name == "tokens" else value[:0] for name, value in batch.items()}
        if self.reference is not None:
            batch["reference"] = self.reference[index]
        return batch

    def _borrowing(self, everyone: list[Drawn], first: int, end: int, step: int) -> Batch:
        """The rows first..end-1 of a step's, with the titles beside their own that they take over from all of them."""
        borrow, side = self.settings.drawing.borrow, self._side(everyone)
        assert borrow is not None
        shared = borrow(Side(**side), torch.tensor(step + 1))
        if first == end:  # a rank without a row runs another one's, as it is
            first, end, shared = 0, 1, torch.zeros_like(shared)
        examples = np.cumsum([0, *(len(row.chosen) for row, _, _ in everyone)])
        own = slice(int(examples[first]), int(examples[end]))
        lent = _lent(shared[own].numpy(), side["rejected"].numpy())
        batch = self._titles(everyone[first:end], lent)
        rows, width = batch["tokens"]["input_ids"].shape
        if rows * width**2 > LARGEST_MASK:
            raise UserError(
                f"exact sharing lays rows of {width:,} tokens, with {lent.shape[1]} titles beside a position",
                where="objective.sharing.exact",
                remedy="`sharing.max_peers`, fewer rows a step, or a `model.vocabulary` that has titles as tokens",
            )
        return (
            batch
            | {name: value[own] for name, value in side.items()}
            | {"lent": _concatenated([lent]), "shared": shared[own]}
        )

    def _drawn(self, spans: list[Span], epoch: int) -> list[Drawn]:
        return [self._draw(self._lay(span, epoch), epoch) for span in spans]

    def _lay(self, span: Span, epoch: int) -> TrainingRow:
        settings = self.settings
        kept = left_in(settings.layout.split, span.user, epoch, settings.leave_out, settings.seed)
        if settings.form == "trajectory":
            row = settings.layout.trajectory(span, kept)
        else:
            row = settings.layout.prompt(span, kept, settings.drawing.listed)
        return row if settings.drawing.relabel is None else settings.drawing.relabel(row)

    def _draw(self, row: TrainingRow, epoch: int) -> Drawn:
        """The row, its rejected items (s, K), and the candidates that its prompt lists (listed,)."""
        settings, drawing = self.settings, self.settings.drawing
        if drawing.sampler is None and not drawing.listed:
            return row, np.empty((len(row.chosen), 0), dtype=np.int64), NONE
        assert drawing.sampler is not None
        split = settings.layout.split
        met = split.seen(row.user)
        count = max(drawing.count, drawing.listed - 1)
        rejected = np.empty((len(row.chosen), count), dtype=np.int64)
        for index, (position, chosen) in enumerate(zip(row.positions, row.chosen, strict=True)):
            time = None if split.times is None else int(split.times[row.user][position])
            example = Example(row.user, split.sequences[row.user][:position], int(chosen), time)
            rng = rng_for(settings.seed, "negatives", epoch, split.user_keys[row.user], int(position))
            rejected[index] = drawing.sampler.draw(example, np.append(met, chosen), count, rng)
        listed = NONE
        if drawing.listed:
            rng = rng_for(settings.seed, "listed", epoch, split.user_keys[row.user], int(row.positions[0]))
            listed = rng.permutation(np.append(rejected[0, : drawing.listed - 1], row.chosen))
        return row, rejected[:, : drawing.count], listed

    def _titles(self, drawn: list[Drawn], lent: IntArray | None = None) -> Batch:
        """The rows as tokens, and which of their titles an example's are. lent: (B, E) more items, padded with -1."""
        settings = self.settings
        rows, columns, titles, example = [], [], 0, 0
        for row, rejected, listed in drawn:
            beside = rejected
            if lent is not None:
                beside = np.concatenate([rejected, lent[example : example + len(rejected)]], axis=1)
            made, numbers = _row(row, beside, listed, settings.form)
            rows.append(made)
            columns.append(numbers + titles)
            titles += len(made.scored) + len(made.branches)
            example += len(rejected)
        tokens = pack(rows, settings.tree, settings.frame, settings.normalize, shared=settings.shared)
        return {"tokens": _as_dict(tokens), "columns": _concatenated(columns)}

    def _side(self, drawn: list[Drawn]) -> Batch:
        """What is known beside the titles, in the words of scoring.scored.Side."""
        settings = self.settings
        batch: Batch = {
            "chosen": _concatenated([row.chosen for row, _, _ in drawn]),
            "rejected": _concatenated([rejected for _, rejected, _ in drawn]),
            "user": _concatenated([np.full(len(row.chosen), row.user) for row, _, _ in drawn]),
        }
        if settings.drawing.sampler is not None or settings.drawing.side:
            batch["seen"] = self._seen(drawn)
        if settings.auxiliary is not None:
            vectors = [settings.auxiliary.histories(row.user, row.positions) for row, _, _ in drawn]
            scores = [
                np.einsum("sd,skd->sk", vector, settings.auxiliary.items[rejected])
                for vector, (_, rejected, _) in zip(vectors, drawn, strict=True)
            ]
            means = [settings.auxiliary.means(row.user, row.positions) for row, _, _ in drawn]
            batch["history_vectors"] = torch.from_numpy(np.concatenate(vectors)).float()
            batch["history_means"] = torch.from_numpy(np.concatenate(means)).float()
            batch["auxiliary"] = torch.from_numpy(np.concatenate(scores)).float()
        return batch

    def _seen(self, drawn: list[Drawn]) -> Tensor:
        """(B, S) each example's user's training items, padded with -1."""
        split = self.settings.layout.split
        seen = [split.seen(row.user) for row, _, _ in drawn]
        padded = np.full((len(seen), max(map(len, seen))), -1, dtype=np.int64)
        for index, items in enumerate(seen):
            padded[index, : len(items)] = items
        return torch.from_numpy(np.repeat(padded, [len(row.chosen) for row, _, _ in drawn], axis=0))


def _row(row: TrainingRow, beside: IntArray, listed: IntArray, form: Form) -> tuple[Row, IntArray]:
    """The row to pack, and the numbers (s, 1 + C) of its titles within the row: the chosen one, then those beside it.

    beside: (s, C) items, padded with -1; the padding's number is that of some title.
    """
    there = beside >= 0
    branches, sees = beside[there], np.repeat(row.at, there.sum(axis=1))
    numbers = np.zeros_like(beside)
    numbers[there] = len(row.chosen) + np.arange(len(branches))
    numbers = np.concatenate([np.arange(len(row.chosen))[:, None], numbers], axis=1)
    # a chosen item that is not the one taken stands beside the row, as in a prompt
    if form == "trajectory" and np.array_equal(row.items[row.at], row.chosen):
        return Row(row.items, row.at, branches, sees), numbers
    return Row(row.items, NONE, np.append(row.chosen, branches), np.append(row.at, sees), listed), numbers


def _lent(shared: BoolArray, rejected: IntArray) -> IntArray:
    """(s, E): the distinct items that each row of shared (s, N * K) names among rejected (N, K), padded with -1."""
    distinct, column = np.unique(rejected.reshape(-1), return_inverse=True)
    taken = np.zeros((len(shared), len(distinct)), dtype=np.bool_)
    row, title = np.nonzero(shared)
    taken[row, column[title]] = True
    counts = taken.sum(axis=1)
    lent = np.full((len(shared), counts.max(initial=0)), -1, dtype=np.int64)
    row, item = np.nonzero(taken)
    lent[row, slices(np.zeros_like(counts), counts)] = distinct[item]
    return lent


def _as_dict(tokens: TokenBatch) -> Batch:
    return dict(vars(tokens))


def _concatenated(parts: list[IntArray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch with all its tensors on the device."""
    where: Batch = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            where[name] = moved(value, device)
        else:
            where[name] = value.to(device) if isinstance(value, Tensor) else value
    return where
