"""Rows of tokens: one prompt or history each, with titles beside it that see only what came before.

Path    prompts, examples -> [scoring.batch] -> log-probabilities
Takes   Row: items on the main path, which of them are scored, titles that branch off
Gives   TokenBatch: packed rows (B, L), what each token sees, flat places and targets of the scored tokens
Oracle  scoring.naive runs every title as a sequence of its own
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from napo.arrays import IntArray
from napo.scoring.tree import ItemTokens, PrefixTree, slices

Normalize = Literal["catalog", "vocabulary"]
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Frame:
    """The words of a prompt, as tokens: header, history, middle, listed candidates, tail.

    header: at least one token, since the first title is predicted from what stands before it.
    history, listed: what the prompt says of each item in its history and among its candidates; None: the title alone.
    titles_first: each text of `history` begins with the item's title, so that the title can be scored where it stands.
    """

    header: IntArray
    middle: IntArray = field(default_factory=lambda: NONE)
    tail: IntArray = field(default_factory=lambda: NONE)
    history: ItemTokens | None = None
    listed: ItemTokens | None = None
    titles_first: bool = True

    def __post_init__(self) -> None:
        assert len(self.header) > 0

    @property
    def open(self) -> bool:
        """Whether the history can go on as a trajectory: nothing follows it, and its titles stand there as scored."""
        return self.titles_first and not len(self.middle) and not len(self.tail)

    @property
    def words(self) -> int:
        """Tokens that are no titles."""
        return len(self.header) + len(self.middle) + len(self.tail)

    def history_tokens(self, tree: PrefixTree) -> ItemTokens:
        """What the prompt says of each item of the history."""
        return tree.titles if self.history is None else self.history

    def listed_tokens(self, tree: PrefixTree) -> ItemTokens:
        """What the prompt says of each listed candidate."""
        return tree.titles if self.listed is None else self.listed


@dataclass(frozen=True)
class Row:
    """One row. items: (n,) titles on the main path, oldest first, each ended by the end token.

    scored: (s,) indices into items whose titles are scored where they stand, from what comes before them.
    branches: (b,) items scored beside the row; sees: (b,) how many items of the main path each of them sees.
    listed: (c,) candidates named in the prompt after the history. A branch that sees all n items also sees what
    follows them; other branches, and titles scored where they stand, exist only where nothing does.
    """

    items: IntArray
    scored: IntArray = field(default_factory=lambda: NONE)
    branches: IntArray = field(default_factory=lambda: NONE)
    sees: IntArray = field(default_factory=lambda: NONE)
    listed: IntArray = field(default_factory=lambda: NONE)


@dataclass(frozen=True)
class TokenBatch:
    """Packed rows. Titles are numbered through the batch: row by row, first those on the main path, then the branches.

    input_ids, positions, branch, limit: (B, L). A token sees the main path (branch 0) up to index `limit` and, in its
    own branch, itself and what stands before it. Padding sees itself alone.
    places: (P,) flat indices into B * L, each once, from which some title token is predicted; nodes: (P,) their tree
    nodes. Scored tokens: place (M,) index into places, target (M,) token id, title (M,) whose sum it belongs to.
    """

    input_ids: Tensor
    positions: Tensor
    branch: Tensor
    limit: Tensor
    places: Tensor
    nodes: Tensor
    place: Tensor
    target: Tensor
    title: Tensor
    titles: int
    tokens: int  # without padding

    def __post_init__(self) -> None:
        assert self.input_ids.shape == self.positions.shape == self.branch.shape == self.limit.shape
        assert self.place.shape == self.target.shape == self.title.shape

    @property
    def lengths(self) -> Tensor:
        """(titles,) scored tokens of each title."""
        return torch.bincount(self.title, minlength=self.titles)

    @property
    def plain(self) -> bool:
        """Whether no row has branches, so that ordinary causal attention serves."""
        return not bool(self.branch.any())

    def mask(self) -> Tensor:
        """(B, 1, L, L) bool, True where the query (dim 2) sees the key (dim 3)."""
        index = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        main = (self.branch == 0)[:, None, :] & (index <= self.limit[:, :, None])
        own = (self.branch[:, :, None] == self.branch[:, None, :]) & (index <= index[:, None])
        own &= self.branch[:, :, None] != 0
        return (main | own | torch.eye(len(index), dtype=torch.bool, device=index.device))[:, None]

    def to(self, device: torch.device | str) -> "TokenBatch":
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        return TokenBatch(**moved, titles=self.titles, tokens=self.tokens)


_TENSORS = ("input_ids", "positions", "branch", "limit", "places", "nodes", "place", "target", "title")


def pack(
    rows: Sequence[Row], tree: PrefixTree, frame: Frame, normalize: Normalize, pad: int = 0, *, shared: bool = True
) -> TokenBatch:
    """Lay rows out as tokens.

    Under `catalog` forced places are left out (their log-probability is 0), and so are the tokens of a branch behind
    its last place that is not forced: nobody reads them.

    shared: whether branches share their row. If not, each becomes a row of its own, in one line, so that plain causal
    attention serves; the titles keep their numbers. That is the naive amount of work.
    """
    layout = _Layout(tree, frame, normalize)
    if not shared:
        rows = [one for row in rows for one in _apart(row)]
    packed = [layout.row(row) if shared else layout.line(row) for row in rows]
    grid = stack(packed, pad)
    width = grid["input_ids"].shape[1]
    titles = 0
    for index, row in enumerate(packed):
        row["place"] = row["place"] + index * width
        row["title"] = row["title"] + titles
        titles += len(rows[index].scored) + len(rows[index].branches)
    flat = {name: np.concatenate([row[name] for row in packed]) for name in ("place", "node", "target", "title")}
    places, first, place = np.unique(flat["place"], return_index=True, return_inverse=True)
    return TokenBatch(
        **grid,
        places=torch.from_numpy(places),
        nodes=torch.from_numpy(flat["node"][first]),
        place=torch.from_numpy(place),
        target=torch.from_numpy(flat["target"]),
        title=torch.from_numpy(flat["title"]),
        titles=titles,
        tokens=sum(len(row["input_ids"]) for row in packed),
    )


def _apart(row: Row) -> Iterator[Row]:
    """The row without its branches, if titles are scored in it, and then a row for each branch."""
    if len(row.scored):
        yield Row(row.items, row.scored)
    for item, sees in zip(row.branches, row.sees, strict=True):
        listed = row.listed if sees == len(row.items) else NONE
        yield Row(row.items[:sees], NONE, np.array([item]), np.array([sees]), listed)


@dataclass(frozen=True)
class Beginnings:
    """Beginnings of titles: paths from the root to the nodes `last` (c,), which are no leaves.

    since: (c,) the depth from which on it is asked what comes next: at `last` alone, if that is its own depth.
    """

    last: IntArray
    since: IntArray


def pack_beginnings(
    histories: Sequence[IntArray], beginnings: Sequence[Beginnings], tree: PrefixTree, frame: Frame, pad: int = 0
) -> TokenBatch:
    """Lay out beginnings of titles beside each history; no title is scored.

    `places` and `nodes`: beginning by beginning, from `since` on. A row of a single beginning is laid out in one line,
    so that ordinary causal attention serves.
    """
    packed, places, nodes = [], [], []
    for items, asked in zip(histories, beginnings, strict=True):
        main = main_path(Row(items), tree, frame)
        begins, lengths = (array[asked.last] for array in tree.paths)
        if len(lengths) == 1:
            line = np.concatenate([main, tree.token[slices(begins, lengths)]])
            packed.append(beside(line, NONE, NONE, NONE, tree))
        else:
            packed.append(beside(main, np.full(len(lengths), len(main)), begins, lengths, tree))
        counts = lengths - asked.since + 1
        depth = slices(asked.since, counts)
        nodes.append(tree.node[slices(begins + asked.since, counts)])
        # the root's place is the last of the main path's, whatever stands beside it
        places.append(len(main) - 1 + np.where(depth == 0, 0, np.repeat(np.cumsum(lengths) - lengths, counts) + depth))
    grid = stack(packed, pad)
    width = grid["input_ids"].shape[1]
    none = torch.from_numpy(NONE)
    return TokenBatch(
        **grid,
        places=torch.from_numpy(np.concatenate([place + row * width for row, place in enumerate(places)])),
        nodes=torch.from_numpy(np.concatenate(nodes)),
        place=none,
        target=none,
        title=none,
        titles=0,
        tokens=sum(len(row["input_ids"]) for row in packed),
    )


def batches_by_width(widths: IntArray, tokens: int) -> Iterator[IntArray]:
    """Indices of rows of like width, batch by batch: at most `tokens` with the padding, or else a single row."""
    order = np.argsort(widths, kind="stable")
    while len(order):
        padded = widths[order] * np.arange(1, len(order) + 1)  # rising: the last row of a batch is its widest
        count = max(1, int(np.searchsorted(padded, tokens, side="right")))
        yield order[:count]
        order = order[count:]


class _Layout:
    def __init__(self, tree: PrefixTree, frame: Frame, normalize: Normalize) -> None:
        self.tree, self.frame = tree, frame
        self.is_scored = tree.branching if normalize == "catalog" else np.ones(len(tree.token), dtype=bool)
        # index of the last scored place in its title: so many of a branch's tokens are read by a later place
        within = np.arange(len(tree.token)) - np.repeat(tree.title_start[:-1], tree.lengths)
        self.read = np.maximum.reduceat(np.where(self.is_scored, within, 0), tree.title_start[:-1])

    def row(self, row: Row) -> dict[str, IntArray]:
        frame, tree = self.frame, self.tree
        assert len(row.branches) == len(row.sees)
        main = main_path(row, tree, frame)
        lengths = frame.history_tokens(tree).lengths[row.items]
        begins = len(frame.header) + np.concatenate([[0], np.cumsum(lengths)])  # the last: of what comes after
        after = len(main) - int(begins[-1])
        assert frame.open or (not len(row.scored) and bool((row.sees == len(row.items)).all()))
        sees = begins[row.sees] + np.where(row.sees == len(row.items), after, 0)  # main tokens a branch sees

        read = self.read[row.branches]
        branch_begins = len(main) + np.cumsum(read) - read
        places = [
            self._places(row.items[row.scored], begins[row.scored] - 1, begins[row.scored], 0),
            self._places(row.branches, sees - 1, branch_begins, len(row.scored)),
        ]
        return {
            **beside(main, sees, tree.title_start[row.branches], read, tree),
            **{name: np.concatenate([part[name] for part in places]) for name in places[0]},
        }

    def line(self, row: Row) -> dict[str, IntArray]:
        """As row(), for a row of one branch at most: the branch goes on where the main path ends."""
        laid = self.row(row)
        assert len(row.branches) == 0 or (len(row.branches) == 1 and row.sees[0] == len(row.items))
        index = np.arange(len(laid["input_ids"]))
        return laid | {"positions": index, "branch": np.zeros_like(index), "limit": index}

    def _places(self, items: IntArray, before: IntArray, begins: IntArray, first_title: int) -> dict[str, IntArray]:
        """Scored places of titles. before: index of the token each title follows; begins: of its own first token."""
        lengths = self.tree.lengths[items]
        flat = slices(self.tree.title_start[items], lengths)
        within = flat - np.repeat(self.tree.title_start[items], lengths)
        place = np.where(within == 0, np.repeat(before, lengths), np.repeat(begins, lengths) + within - 1)
        keep = self.is_scored[flat]
        return {
            "place": place[keep],
            "node": self.tree.node[flat][keep],
            "target": self.tree.token[flat][keep],
            "title": first_title + np.repeat(np.arange(len(items)), lengths)[keep],
        }


def main_path(row: Row, tree: PrefixTree, frame: Frame) -> IntArray:
    """The tokens of header, items, and what follows them."""
    items, listed = frame.history_tokens(tree).of(row.items), frame.listed_tokens(tree).of(row.listed)
    return np.concatenate([frame.header, items, frame.middle, listed, frame.tail])


def beside(
    main: IntArray, sees: IntArray, begins: IntArray, lengths: IntArray, tree: PrefixTree
) -> dict[str, IntArray]:
    """One row: the main path, and beside it slices of the tree's tokens, each behind the first `sees` main tokens."""
    index = np.arange(len(main))
    return {
        "input_ids": np.concatenate([main, tree.token[slices(begins, lengths)]]),
        "positions": np.concatenate([index, slices(sees, lengths)]),
        "branch": np.concatenate([np.zeros_like(index), np.repeat(np.arange(1, len(lengths) + 1), lengths)]),
        "limit": np.concatenate([index, np.repeat(sees - 1, lengths)]),
    }


def stack(rows: Sequence[dict[str, IntArray]], pad: int) -> dict[str, Tensor]:
    """Rows of unlike length, one under the other: (B, L) each."""
    width = max(len(row["input_ids"]) for row in rows)
    grid = {}
    for name, value in {"input_ids": pad, "positions": 0, "branch": 0, "limit": -1}.items():
        filled = np.full((len(rows), width), value, dtype=np.int64)
        for index, row in enumerate(rows):
            filled[index, : len(row[name])] = row[name]
        grid[name] = torch.from_numpy(filled)
    return grid
