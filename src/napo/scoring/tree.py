"""The prefix tree of all titles, as flat arrays.

Path    catalog -> [scoring.tree] -> token batch, log-probabilities, search
Takes   the token ids of every title, each ended by the end token
Gives   PrefixTree: children of a node are one slice of `child_token`; the places of a title are one slice of `token`

Titles that came after the training stand behind the others; `ceiling` says what they may have (scoring.newcomers).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError


@dataclass(frozen=True)
class ItemTokens:
    """A text of each item, as tokens: those of item i are token[start[i] : start[i + 1]]."""

    start: IntArray  # (items + 1,)
    token: IntArray

    @classmethod
    def build(cls, texts: Sequence[Sequence[int]]) -> "ItemTokens":
        flat = np.array([token for text in texts for token in text], dtype=np.int64)
        return cls(_starts([len(text) for text in texts]), flat)

    @cached_property
    def lengths(self) -> IntArray:
        """(items,) tokens of each text."""
        return np.diff(self.start)

    def of(self, items: IntArray) -> IntArray:
        """The tokens of these items' texts, one after the other."""
        return self.token[slices(self.start[items], self.lengths[items])]


@dataclass(frozen=True)
class PrefixTree:
    """Titles as paths from node 0, the root; compressed sparse rows in both directions.

    A *place* is where one token of a title is predicted. A place whose node has a single child is *forced*: under
    catalog normalization its log-probability is 0.
    """

    child_start: IntArray  # (nodes + 1,) node's children are the edges child_start[node] : child_start[node + 1]
    child_token: IntArray  # (edges,) ascending within a node
    child_node: IntArray  # (edges,) the node that the edge leads to
    title_start: IntArray  # (items + 1,) an item's places are title_start[item] : title_start[item + 1]
    token: IntArray  # (places,) token to predict at the place
    node: IntArray  # (places,) node where it is predicted
    leaf: IntArray  # (items,) node after the end token; items of equal title share it
    vocabulary: IntArray  # (used,) all tokens that occur in titles, ascending
    end: int  # the end token
    trained: int  # items that training knew: 0 to trained - 1

    @classmethod
    def build(cls, titles: Sequence[Sequence[int]], end: int, *, trained: int | None = None) -> "PrefixTree":
        """titles: token ids of each item's title, the end token last and nowhere else. trained: None is all of them.

        Raises UserError for a title without tokens or with the end token inside: it could not be told from others.
        """
        children: list[dict[int, int]] = [{}]
        nodes: list[int] = []
        leaf = np.empty(len(titles), dtype=np.int64)
        for item, title in enumerate(titles):
            if len(title) < 2 or title[-1] != end or end in title[:-1]:
                raise UserError(
                    f"the title of item {item} can't be told from others by its tokens {list(title)[:8]}",
                    remedy="give the item a title that is not blank and does not hold the tokenizer's end token",
                )
            node = 0
            for token in title:
                nodes.append(node)
                following = children[node].setdefault(int(token), len(children))
                if following == len(children):
                    children.append({})
                node = following
            leaf[item] = node
        return cls._flatten(children, titles, nodes, leaf, end, len(titles) if trained is None else trained)

    @classmethod
    def _flatten(
        cls,
        children: list[dict[int, int]],
        titles: Sequence[Sequence[int]],
        nodes: list[int],
        leaf: IntArray,
        end: int,
        trained: int,
    ) -> "PrefixTree":
        edges = [edge for node in children for edge in sorted(node.items())]
        tokens = np.array([token for title in titles for token in title], dtype=np.int64)
        return cls(
            child_start=_starts([len(node) for node in children]),
            child_token=np.array([token for token, _ in edges], dtype=np.int64),
            child_node=np.array([node for _, node in edges], dtype=np.int64),
            title_start=_starts([len(title) for title in titles]),
            token=tokens,
            node=np.array(nodes, dtype=np.int64),
            leaf=leaf,
            vocabulary=np.unique(tokens),
            end=end,
            trained=trained,
        )

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def items(self) -> int:
        return len(self.leaf)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what it is built from: the titles' tokens, and how many of them training knew."""
        parts = (self.title_start, self.token, np.array([self.end, self.trained], dtype=np.int64))
        return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()

    @property
    def nodes(self) -> int:
        return len(self.child_start) - 1

    @cached_property
    def titles(self) -> ItemTokens:
        """The titles' tokens, item by item, each ended by the end token."""
        return ItemTokens(self.title_start, self.token)

    @property
    def lengths(self) -> IntArray:
        """(items,) tokens of each title, the end token among them."""
        return self.titles.lengths

    @cached_property
    def branching(self) -> BoolArray:
        """(places,) whether more than one token may stand at the place."""
        children = np.diff(self.child_start)
        return np.asarray(children[self.node] > 1)

    def title(self, item: int) -> IntArray:
        """(T,) the item's tokens, the end token last."""
        return self.token[self.title_start[item] : self.title_start[item + 1]]

    @cached_property
    def child_column(self) -> IntArray:
        """(edges,) index into `vocabulary` of each edge's token."""
        return np.searchsorted(self.vocabulary, self.child_token)

    @cached_property
    def is_leaf(self) -> BoolArray:
        """(nodes,) whether nothing comes after the node."""
        return np.asarray(np.diff(self.child_start) == 0)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest title, the end token among them."""
        return int(self.lengths.max())

    @cached_property
    def paths(self) -> tuple[IntArray, IntArray]:
        """(nodes,) begins and lengths: the tokens that lead to a node, unless it is a leaf, are a slice of `token`."""
        inner, first = np.unique(self.node, return_index=True)  # any title that comes by will do: the first
        begins, lengths = np.zeros((2, self.nodes), dtype=np.int64)
        begins[inner] = self.title_start[np.searchsorted(self.title_start, first, side="right") - 1]
        lengths[inner] = first - begins[inner]
        return begins, lengths

    @cached_property
    def below(self) -> IntArray:
        """(nodes,) how many items' titles end at the node or below it."""
        return np.bincount(np.concatenate([self.node, self.leaf]), minlength=self.nodes)

    @cached_property
    def ceiling(self) -> FloatArray:
        """(edges,) most that the log-prob of an edge may be: inf, but where new titles alone leave a node of old ones.

        There it is the share of as many average old titles of that node: log(new below the edge / old below the node).
        """
        places = self.node[: self.title_start[self.trained]]
        old = np.bincount(np.concatenate([places, self.leaf[: self.trained]]), minlength=self.nodes)  # (nodes,)
        parent = np.repeat(np.arange(self.nodes), np.diff(self.child_start))
        ceiling = np.full(len(parent), np.inf)
        new = (old[self.child_node] == 0) & (old[parent] > 0)
        shares = self.below[self.child_node[new]] / old[parent[new]]
        ceiling[new] = np.minimum(np.log(shares), 0.0)  # a probability, however many they are
        return ceiling

    @cached_property
    def by_leaf(self) -> tuple[IntArray, IntArray]:
        """Items (items,) sorted by leaf, then id; a node's are the slice starts[node] : starts[node + 1] of them."""
        return np.argsort(self.leaf, kind="stable"), _starts(np.bincount(self.leaf, minlength=self.nodes))

    @cached_property
    def in_order(self) -> tuple[IntArray, IntArray]:
        """Items (items,) sorted by their titles' tokens, and begins (nodes,): what lies below a node is one slice.

        It is order[begins[node] : begins[node] + below[node]].
        """
        order = np.array(sorted(range(self.items), key=lambda item: self.title(item).tolist()), dtype=np.int64)
        rank = np.empty_like(order)
        rank[order] = np.arange(self.items)
        begins = np.full(self.nodes, self.items, dtype=np.int64)
        np.minimum.at(begins, self.node, np.repeat(rank, self.lengths))
        np.minimum.at(begins, self.leaf, rank)
        return order, begins

    @cached_property
    def onward(self) -> IntArray:
        """(nodes,) where forced places lead from a node: to the first node with a choice, or to the leaf."""
        forced = np.diff(self.child_start) == 1
        onward = np.arange(self.nodes)
        onward[forced] = self.child_node[self.child_start[:-1][forced]]
        while not np.array_equal(further := onward[onward], onward):  # each round doubles the steps taken
            onward = further
        return onward

    @cached_property
    def last_place(self) -> IntArray:
        """(nodes,) the last node, forced places on from a node, where something is predicted: `onward` but no leaf."""
        before = np.arange(self.nodes)
        before[self.leaf] = self.node[self.title_start[1:] - 1]
        return before[self.onward]


def _starts(lengths: Sequence[int] | IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def slices(starts: IntArray, lengths: IntArray) -> IntArray:
    """The indices of many slices after one another: slices([5, 0], [2, 3]) is [5, 6, 0, 1, 2]."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
