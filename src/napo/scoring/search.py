"""The best titles of the whole catalog, and a title's exact rank in it, from a small part of the prefix tree.

Path    histories -> [scoring.search] -> evaluation, serving
Takes   TitleModel, histories, the items that each case leaves out, perhaps a filter that all cases share
Gives   the best k items with their log-probs (n, k), ranks from 1 (n,), or the log-probs of all the items
Oracle  all_log_probs visits every node; tests/scoring/test_search.py holds the searches to it and to plain loops

A title's log-prob only falls with each token. So a beginning that is already below the k-th best finished title (or
below the target, if its rank is wanted) can hold nothing better, and best-first expansion is exact. Each round expands
for all the cases at once the best beginnings that are still open. Under `catalog` forced tokens cost nothing: a search
jumps over them. Items left out close the nodes that hold nothing else, so a list is never short while items are left.

Equal titles share a leaf: a tie, all of their ids are listed, in ascending order; so are other equal log-probs.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.scoring.batch import NONE
from napo.scoring.continuations import Ask, Children, TitleModel, continuations, groups
from napo.scoring.tree import PrefixTree, slices


def exact_top(
    model: TitleModel,
    histories: Sequence[IntArray],
    excluded: Sequence[IntArray],
    k: int,
    *,
    allowed: BoolArray | None = None,
    width: int = 64,
) -> tuple[IntArray, FloatArray]:
    """(n, k) the best items not excluded, best first, and their log-probs; -1 and -inf where fewer than k are left.

    allowed: (items,) a filter that all cases share: where it is False an item is left out. width: most
    beginnings that a case expands in one round. It moves time, never the result: many are few rounds, some in vain.
    """
    mask = Mask.of(model.tree, allowed)
    items, log_probs = no_lists(len(excluded), k)
    found = exact_lists(model, histories, [Wanted(mask, out, k) for out in excluded], width=width)
    for case, (best, scores) in enumerate(found):
        items[case, : len(best)] = best
        log_probs[case, : len(best)] = scores
    return items, log_probs


def exact_lists(
    model: TitleModel, histories: Sequence[IntArray], wanted: "Sequence[Wanted]", *, width: int = 64
) -> list[tuple[IntArray, FloatArray]]:
    """Of each case its best items, best first, and their log-probs; fewer than it wants where fewer are left.

    As exact_top, where every case has a filter and a length of its own.
    """
    found: list[tuple[IntArray, FloatArray]] = [(NONE, np.empty(0))] * len(wanted)
    for cases, ask in groups(model, histories):
        searches = [Top(model, wanted[case].mask, wanted[case].excluded, wanted[case].k) for case in cases]
        run(ask, searches, width)
        for case, search in zip(cases, searches, strict=True):
            found[case] = search.items, search.scores
    return found


def exact_ranks(
    model: TitleModel, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray
) -> IntArray:
    """(n,) ranks from 1: how many of the items not excluded score at least as high as the target, itself among them.

    The target counts even where it is excluded. First its own path is expanded, which gives its log-prob; then only
    beginnings that reach it are.
    """
    mask = Mask.of(model.tree)
    ranks = np.zeros(len(targets), dtype=np.int64)
    for cases, ask in groups(model, histories):
        searches = [Rank(model, mask, excluded[case], int(targets[case])) for case in cases]
        for search, children in zip(searches, ask([search.path for search in searches]), strict=True):
            search.start(children)
        run(ask, searches, width=model.tree.nodes)  # the bound stays as it is: all that reach it must be seen
        ranks[cases] = [search.rank for search in searches]
    return ranks


def all_log_probs(model: TitleModel, histories: Sequence[IntArray]) -> FloatArray:
    """(n, items) the log-prob of every item, by visiting every node."""
    tree = model.tree
    choices = np.flatnonzero(np.diff(tree.child_start) > 1)
    asked = choices
    if model.normalize == "vocabulary":
        counts = tree.child_start[choices + 1] - tree.child_start[choices]
        behind = np.append(0, tree.child_node[slices(tree.child_start[choices], counts)])
        asked = behind[~tree.is_leaf[behind]]
    gained = np.zeros((len(histories), tree.nodes))  # on the way to each node; forced tokens between choices: in one
    for row, children in zip(gained, continuations(model, histories, [asked] * len(histories)), strict=True):
        row[children.node] = children.log_prob
    reached = np.append(tree.node[1:], 0)  # the node after each place: the next place's, or the leaf
    reached[tree.title_start[1:] - 1] = tree.leaf
    return np.asarray(np.add.reduceat(gained[:, reached], tree.title_start[:-1], axis=1))


@dataclass(frozen=True, eq=False)
class Mask:
    """A filter over leaves, pushed up the tree once for all cases.

    items: (items,) whether an item may be found. below: (nodes,) how many such items end at the node or below it.
    """

    items: BoolArray
    below: IntArray

    @cached_property
    def open_at(self) -> BoolArray:
        """(nodes,) whether any such item ends there or below."""
        return np.asarray(self.below > 0)

    @classmethod
    def of(cls, tree: PrefixTree, allowed: BoolArray | None = None) -> "Mask":
        if allowed is None:
            return cls(np.ones(tree.items, dtype=np.bool_), tree.below)
        assert allowed.shape == (tree.items,), f"allowed: ({tree.items},), not {allowed.shape}"
        passed = np.concatenate([tree.node[np.repeat(allowed, tree.lengths)], tree.leaf[allowed]])
        return cls(allowed, np.bincount(passed, minlength=tree.nodes))


@dataclass(frozen=True, eq=False)
class Wanted:
    """What one case asks for: the best k of the items that the mask lets through, but `excluded` (e,)."""

    mask: Mask
    excluded: IntArray
    k: int


class Search(ABC):
    """One case's search: beginnings that are open, each a node with its log-prob."""

    def __init__(self, model: TitleModel, mask: Mask, excluded: IntArray) -> None:
        self.tree, self.mask = model.tree, mask
        self.jumps = model.normalize == "catalog"
        excluded = np.unique(excluded).astype(np.int64)
        excluded = excluded[mask.items[excluded]]  # what the filter leaves out needs no second word
        self.may_be_found = mask.items.copy()  # (items,)
        self.may_be_found[excluded] = False
        self.open_at = mask.open_at.copy()  # (nodes,) whether an item that may be found ends there or below
        self.open_at[_closed_nodes(self.tree, mask, excluded)] = False
        self.open: IntArray = NONE
        self.open_scores: FloatArray = np.empty(0)
        self.asked: IntArray = NONE  # nodes that are being expanded, and their scores
        self.asked_scores: FloatArray = np.empty(0)

    @property
    @abstractmethod
    def bound(self) -> float:
        """What scores below it can't matter any more."""

    @abstractmethod
    def finish(self, items: IntArray, scores: FloatArray) -> None:
        """Take note of finished titles that reach the bound: items (f,), none excluded, and their log-probs."""

    def ask(self, width: int) -> IntArray:
        """The best open nodes, at most `width`, to be expanded now; the others wait, or are dropped for good."""
        wanted = self.open_scores >= self.bound
        nodes, scores = self.open[wanted], self.open_scores[wanted]
        now = np.arange(len(nodes))
        if len(nodes) > width:
            now = np.argpartition(-scores, width - 1)
        self.open, self.open_scores = nodes[now[width:]], scores[now[width:]]
        self.asked, self.asked_scores = nodes[now[:width]], scores[now[:width]]
        return self.asked

    def take(self, children: Children) -> None:
        """The answer to `ask`."""
        self.arrive(children.node, self.asked_scores[children.parent] + children.log_prob)

    def legal(self, nodes: IntArray) -> BoolArray:
        """Whether an item that may be found ends at the node or below it."""
        return self.open_at[nodes]

    def arrive(self, nodes: IntArray, scores: FloatArray) -> None:
        """Nodes that the search has come to: leaves are finished, others open."""
        kept = (scores >= self.bound) & self.legal(nodes)
        nodes, scores = nodes[kept], scores[kept]
        if self.jumps:
            nodes = self.tree.onward[nodes]
        leaf = self.tree.is_leaf[nodes]
        self.finish(*self._items_at(nodes[leaf], scores[leaf]))
        self.open = np.concatenate([self.open, nodes[~leaf]])
        self.open_scores = np.concatenate([self.open_scores, scores[~leaf]])

    def _items_at(self, leaves: IntArray, scores: FloatArray) -> tuple[IntArray, FloatArray]:
        """The items of the leaves that may be found, with their leaf's score."""
        by_leaf, starts = self.tree.by_leaf
        counts = starts[leaves + 1] - starts[leaves]
        items, scores = by_leaf[slices(starts[leaves], counts)], np.repeat(scores, counts)
        allowed = self.may_be_found[items]
        return items[allowed], scores[allowed]


class Top(Search):
    """The best k finished titles so far; the bound is the worst of them, once there are k."""

    def __init__(self, model: TitleModel, mask: Mask, excluded: IntArray, k: int) -> None:
        super().__init__(model, mask, excluded)
        self.k = k
        self.items: IntArray = NONE
        self.scores: FloatArray = np.empty(0)
        self.arrive(np.zeros(1, dtype=np.int64), np.zeros(1))

    @property
    def bound(self) -> float:
        return float(self.scores[-1]) if len(self.items) == self.k else -np.inf

    def _items_at(self, leaves: IntArray, scores: FloatArray) -> tuple[IntArray, FloatArray]:
        if len(leaves) > self.k:  # each holds an item: what scores below the k-th best leaf stands in no list
            near = scores >= np.partition(scores, -self.k)[-self.k]
            leaves, scores = leaves[near], scores[near]
        return super()._items_at(leaves, scores)

    def finish(self, items: IntArray, scores: FloatArray) -> None:
        items, scores = np.concatenate([self.items, items]), np.concatenate([self.scores, scores])
        if len(scores) > 2 * self.k:  # ties with the k-th stay: the ids decide between them
            near = scores >= np.partition(scores, -self.k)[-self.k]
            items, scores = items[near], scores[near]
        best = np.lexsort((items, -scores))[: self.k]
        self.items, self.scores = items[best], scores[best]


class Rank(Search):
    """How many finished titles reach the target's log-prob, which is the bound."""

    def __init__(self, model: TitleModel, mask: Mask, excluded: IntArray, target: int) -> None:
        super().__init__(model, mask, np.setdiff1d(excluded, [target]))
        tree = self.tree
        self.target, self.rank = target, 0
        places = slice(tree.title_start[target], tree.title_start[target + 1])
        choice = tree.branching[places]
        # forced tokens are certain, or are read together with the choice before them
        self.path = tree.node[places][choice if self.jumps else np.append(True, choice[:-1])]
        self._bound = -np.inf

    @property
    def bound(self) -> float:
        return self._bound

    def start(self, children: Children) -> None:
        """children: of all the nodes of the target's path."""
        ends = self.tree.onward[children.node] if self.jumps else children.node
        ahead = np.isin(ends, np.append(self.path[1:], self.tree.leaf[self.target]))  # the path itself
        scores = np.concatenate([[0.0], np.cumsum(children.log_prob[ahead])])  # of the path's nodes, then of the target
        self._bound = float(scores[-1])
        self.arrive(self.tree.leaf[[self.target]], scores[-1:])
        self.arrive(children.node[~ahead], (scores[children.parent] + children.log_prob)[~ahead])

    def finish(self, items: IntArray, scores: FloatArray) -> None:
        self.rank += int((scores >= self.bound).sum())


def _closed_nodes(tree: PrefixTree, mask: Mask, excluded: IntArray) -> IntArray:
    """The nodes with no item below, of those that the mask lets through, but excluded ones. excluded: (e,) distinct."""
    places = slices(tree.title_start[excluded], tree.lengths[excluded])
    nodes, counts = np.unique(np.concatenate([tree.node[places], tree.leaf[excluded]]), return_counts=True)
    return np.asarray(nodes[counts == mask.below[nodes]])


def no_lists(cases: int, k: int) -> tuple[IntArray, FloatArray]:
    """(n, k) items and log-probs of lists that hold nothing yet."""
    return np.full((cases, k), -1, dtype=np.int64), np.full((cases, k), -np.inf)


def run(ask: Ask, searches: Sequence[Search], width: int) -> None:
    """Rounds of expansion until no case of the group has an open node that matters."""
    asked = [search.ask(width) for search in searches]
    while any(map(len, asked)):
        for search, children in zip(searches, ask(asked), strict=True):
            search.take(children)
        asked = [search.ask(width) for search in searches]
