"""Histories that are run once, however many rounds of a search go on from them.

Path    histories -> [scoring.encoded] -> continuations
Takes   a policy that keeps rows, the histories of some cases; beginnings of titles behind them
Gives   hidden states at the places asked about (P, d), and these places' tree nodes
Oracle  the same without keeping: tests/scoring/test_encoded.py

What is run in each round is the beginnings' own tokens, a few each: those of earlier rounds again, which costs less
than to keep them in as many rows as there are beginnings.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from napo.arrays import IntArray
from napo.scoring.batch import NONE, Beginnings, Frame, Row, main_path
from napo.scoring.prefix_cache import PrefixCache, Remembered, key_of
from napo.scoring.shared_prefix import Policy, device_of
from napo.scoring.tree import PrefixTree, slices

if TYPE_CHECKING:
    from napo.models.kept_states import KeptStates


class KeepingPolicy(Policy, Protocol):
    """A policy that can go on from rows that it has run; see models.policy."""

    def keep(self, input_ids: Tensor) -> "tuple[Tensor, KeptStates]":
        """(B, L) -> (B, L, d), and what is kept."""

    def hidden_behind(
        self, kept: "KeptStates", rows: Tensor, input_ids: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """(R,) kept rows; (R, Q) ids and positions, (R, 1, Q, L + Q) bool -> (R, Q, d)."""


class Encoded:
    """The histories of some cases; run when first asked about."""

    def __init__(
        self,
        policy: KeepingPolicy,
        tree: PrefixTree,
        frame: Frame,
        histories: Sequence[IntArray],
        remembers: PrefixCache | None = None,
    ) -> None:
        self.policy, self.tree, self.remembers = policy, tree, remembers
        self.prompts = [main_path(Row(items), tree, frame) for items in histories]
        self.lengths = np.array([len(prompt) for prompt in self.prompts], dtype=np.int64)

    @cached_property
    def _states(self) -> "tuple[Tensor, KeptStates]":
        """(B, d) each history's last state, from which the first token of a title is predicted; and what is kept."""
        if self.remembers is None:
            return self._run(self.prompts)
        keys = [key_of(prompt.tobytes()) for prompt in self.prompts]
        known = {key: state for key in dict.fromkeys(keys) if (state := self.remembers.get(key)) is not None}
        new = {key: prompt for key, prompt in zip(keys, self.prompts, strict=True) if key not in known}
        if new:
            last, kept = self._run(list(new.values()))
            for row, (key, prompt) in enumerate(new.items()):
                known[key] = Remembered.copied(last[row], kept.row(row, len(prompt)))
                self.remembers.put(key, known[key])
            if len(new) == len(keys):  # all are new: they lie side by side already
                return last, kept
        states = [known[key] for key in keys]
        return torch.stack([state.last for state in states]), states[0].kept.stacked([state.kept for state in states])

    def _run(self, prompts: Sequence[IntArray]) -> "tuple[Tensor, KeptStates]":
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        ids = np.zeros((len(prompts), int(lengths.max())), dtype=np.int64)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        hidden, kept = self.policy.keep(torch.from_numpy(ids).to(device_of(self.policy)))
        return hidden[torch.arange(len(ids)), torch.from_numpy(lengths - 1)], kept

    def at_places(self, cases: IntArray, rows: Sequence[Beginnings]) -> tuple[Tensor, IntArray]:
        """(P, d) and (P,) nodes: beginning by beginning, from its `since` on. cases: (R,) whose each row is."""
        tree = self.tree
        last, since = (np.concatenate([NONE, *(getattr(row, name) for row in rows)]) for name in ("last", "since"))
        owner = np.repeat(np.arange(len(rows)), [len(row.last) for row in rows])  # (beginnings,)
        begins, lengths = (array[last] for array in tree.paths)
        counts = lengths - since + 1
        depth = slices(since, counts)
        nodes = tree.node[slices(begins + since, counts)]
        states, _ = self._states
        cases_of = torch.from_numpy(np.asarray(cases)).to(states.device)
        row_of = torch.from_numpy(np.repeat(owner, counts)).to(states.device)
        at_places = states[cases_of[row_of]]  # right where the place is a title's first
        if lengths.any():
            column = _columns(owner, lengths)  # of each beginning's first token in its row
            place = torch.from_numpy(np.repeat(column, counts) + depth - 1).to(states.device)
            later = torch.from_numpy(depth > 0).to(states.device)
            grid = self._grid(np.asarray(cases)[owner], owner, column, begins, lengths)
            at_places[later] = self._behind(grid, cases_of)[row_of[later], place[later]]
        return at_places, nodes

    def _grid(
        self, case: IntArray, row: IntArray, column: IntArray, begins: IntArray, lengths: IntArray
    ) -> dict[str, Tensor]:
        """(R, Q) each: beginnings' tokens side by side in their rows, each behind all of its case's history."""
        token_row, token_column = np.repeat(row, lengths), slices(column, lengths)
        values = {
            "input_ids": (0, self.tree.token[slices(begins, lengths)]),
            "positions": (0, slices(self.lengths[case], lengths)),
            "branch": (0, np.repeat(np.arange(1, len(lengths) + 1), lengths)),
            "limit": (-1, np.repeat(self.lengths[case] - 1, lengths)),
        }
        grid = {}
        for name, (padding, value) in values.items():
            filled = np.full((int(row[-1]) + 1, int(token_column.max()) + 1), padding, dtype=np.int64)
            filled[token_row, token_column] = value
            grid[name] = torch.from_numpy(filled)
        return grid

    def _behind(self, grid: dict[str, Tensor], case_of: Tensor) -> Tensor:
        """(R, Q, d) the states of titles' tokens: each sees its history and what stands before it in its own title."""
        _, kept = self._states
        grid = {name: value.to(case_of.device) for name, value in grid.items()}
        branch, limit = grid["branch"], grid["limit"]
        index = torch.arange(branch.shape[1], device=branch.device)
        before = torch.arange(kept.length, device=branch.device) <= limit[:, :, None]  # (R, Q, L)
        own = (branch[:, :, None] == branch[:, None, :]) & (index <= index[:, None]) & (branch[:, :, None] != 0)
        own |= torch.eye(len(index), dtype=torch.bool, device=branch.device)  # padding sees itself
        mask = torch.cat([before, own], dim=2)[:, None]
        return self.policy.hidden_behind(kept, case_of, grid["input_ids"], grid["positions"], mask)


def _columns(row: IntArray, lengths: IntArray) -> IntArray:
    """(n,) where each of many slices begins, when they stand side by side in their rows. row: (n,) ascending."""
    ends = np.cumsum(lengths)
    before = np.append(0, ends)[np.searchsorted(row, row)]  # tokens of all the rows above
    return np.asarray(ends - lengths - before)
