"""Titles that a model generates, held to the catalog: beam search, and sampling with or without repeats.

Path    histories -> [scoring.generate] -> negatives, evaluation, serving
Takes   TitleModel, histories, the items that each case leaves out, perhaps a filter that all cases share
Gives   item ids (n, k) and their log-probs; never a text that would have to be compared with titles
Oracle  search.exact_top for beams as many as titles; enumeration of the catalog: tests/scoring/test_generate.py

Both walk the prefix tree as search.py does, by its answers to "what may come next?": a step goes from choice to
choice, forced tokens in one, and items left out close the nodes that hold nothing else. So no list is short while items
are left.

Beam search keeps the best `beams` beginnings of each step. Scores are sums: no length normalization.

Sampling chooses among the tokens that lead to an item that may be found. The softmax over these alone is the same under
both normalizations (but for the ceiling of new titles, scoring.newcomers): a probability over the whole vocabulary,
divided by what the legal tokens have of it. What differs is the log-prob that a list comes with, which is the model's
own, without temperature and cuts.

So items left out, or filtered, are masked token by token: their probability goes to the titles that share the longest
beginning with them. With titles of one token these are all, and a draw has the probability that the model gives it,
given that nothing left out comes up; with longer ones it has not.

Without repeats: Gumbel-top-k over sequences (Kool, van Hoof, Welling, ICML 2019, section 4): each beginning carries the
largest of its titles' perturbed log-probs, so the k best of each step hold the k best titles, and these are a draw
without replacement from the sampled distribution, in the order drawn. One pass, no rejections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError
from napo.rng import rng_for
from napo.scoring.continuations import Children, TitleModel, groups
from napo.scoring.search import Mask, Search, Top, no_lists, run

Key = tuple[int | str, ...]
CUT = (
    1e10  # nats that a token outside top_k or top_p loses: more than titles differ by, and finite, to fill a list with
)


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen, in the order of `transformers`: temperature, then top_k, then top_p of what is left.

    distinct: whether a list may hold an item once only. Then titles that need a token outside top_k or top_p stand
    behind all others, and only where those don't fill the list; with repeats they are never drawn.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    distinct: bool = True

    def __post_init__(self) -> None:
        top_k = self.top_k is None or self.top_k >= 1
        said = {"temperature": self.temperature > 0, "top_p": 0 < self.top_p <= 1, "top_k": top_k}
        for name, right in said.items():
            if not right:
                remedy = "temperature above 0, top_p above 0 and at most 1, top_k at least 1 or none"
                raise UserError(f"{name} can't be {getattr(self, name)}", where=f"sampling.{name}", remedy=remedy)

    def log_probs(self, logits: FloatArray) -> FloatArray:
        """(c,) logits, up to a constant -> (c,) log-probs of those chosen among; the others' are lower by CUT."""
        log_probs = _log_softmax(logits / self.temperature)
        order = np.argsort(-log_probs, kind="stable")
        kept = order[: self.top_k]
        if self.top_p < 1:
            before = np.cumsum(np.exp(_log_softmax(log_probs[kept])))
            kept = kept[: 1 + int(np.searchsorted(before[:-1], self.top_p))]  # the first that reach it
        if len(kept) == len(order):
            return log_probs
        cut = log_probs - CUT
        cut[kept] = _log_softmax(log_probs[kept])
        return cut


def beam_top(
    model: TitleModel,
    histories: Sequence[IntArray],
    excluded: Sequence[IntArray],
    k: int,
    *,
    beams: int | None = None,
    allowed: BoolArray | None = None,
) -> tuple[IntArray, FloatArray]:
    """(n, k) items, best first, and their log-probs; -1 and -inf where fewer than k are left.

    beams: beginnings that a case keeps from a step to the next; None: k. The log-probs are exact; whether better items
    were passed over exact_top alone can tell. Equal titles: all of them, by id.
    """
    beams = k if beams is None else beams
    if beams < k:
        raise UserError(f"{beams} beams can't make a list of {k}", where="beams", remedy=f"{k} or more")
    mask = Mask.of(model.tree, allowed)
    items, log_probs = no_lists(len(excluded), k)
    for cases, ask in groups(model, histories):
        searches = [_Beams(model, mask, excluded[case], k) for case in cases]
        run(ask, searches, beams)
        for case, search in zip(cases, searches, strict=True):
            items[case, : len(search.items)] = search.items
            log_probs[case, : len(search.items)] = search.scores
    return items, log_probs


def sample_titles(
    model: TitleModel,
    histories: Sequence[IntArray],
    excluded: Sequence[IntArray],
    k: int,
    *,
    keys: Sequence[Key],
    sampling: Sampling,
    allowed: BoolArray | None = None,
) -> tuple[IntArray, FloatArray]:
    """(n, k) items in the order drawn, and the log-probs that the model gives them.

    Each token is drawn in proportion to the model's probability among those that lead to an item that may be found. So
    what an excluded item had falls to the titles that share the longest beginning with it, not to all: the distribution
    is the model's, given that none of them comes up, only where titles are one token each.
    keys: (n,) what each case's draws depend on (rng.rng_for), whoever is asked beside it. `distinct`: -1 and -inf where
    fewer than k are left; of equal titles all are listed, by id, as one draw. With repeats a draw is one of them, by
    chance, and a list is short only where nothing is left at all.
    """
    assert len(keys) == len(histories) == len(excluded)
    mask = Mask.of(model.tree, allowed)
    kind: type[_Draws] | type[_Repeats] = _Draws if sampling.distinct else _Repeats
    items, log_probs = no_lists(len(excluded), k)
    for cases, ask in groups(model, histories):
        searches = [kind(model, mask, excluded[case], k, sampling, keys[case]) for case in cases]
        run(ask, searches, k)
        for case, search in zip(cases, searches, strict=True):
            drawn, scores = search.drawn()
            items[case, : len(drawn)], log_probs[case, : len(drawn)] = drawn, scores
    return items, log_probs


class _Beams(Top):
    """The best open beginnings of each step; the others are dropped."""

    def ask(self, width: int) -> IntArray:
        nodes = super().ask(width)
        self.open, self.open_scores = self.open[:0], self.open_scores[:0]
        return nodes


class _Draws(_Beams):
    """A list without repeats: the scores are perturbed log-probs of the distribution that is drawn from."""

    def __init__(self, model: TitleModel, mask: Mask, excluded: IntArray, k: int, sampling: Sampling, key: Key) -> None:
        super().__init__(model, mask, excluded, k)
        self.sampling, self.key = sampling, key
        # of each node come to: log-prob under the sampling, and the model's own
        self.walked: dict[int, tuple[float, ...]] = {int(self.tree.onward[0] if self.jumps else 0): (0.0, 0.0)}

    def take(self, children: Children) -> None:
        for number, (node, score) in enumerate(zip(self.asked, self.asked_scores, strict=True)):
            reached, steps = _among(self, children, number)
            sampled, own = self.walked.pop(int(node))
            log_probs = sampled + self.sampling.log_probs(steps)
            noise = rng_for(*self.key, int(node)).gumbel(size=len(log_probs))
            scores = _with_maximum(log_probs + noise, score)
            if len(scores) > self.k:  # below each node lies an item of its very score: others can't be in the list
                best = np.sort(np.argpartition(-scores, self.k - 1)[: self.k])
                reached, steps, log_probs, scores = reached[best], steps[best], log_probs[best], scores[best]
            ends = self.tree.onward[reached] if self.jumps else reached
            both = np.stack([log_probs, own + steps], axis=1)
            self.walked.update(zip(ends.tolist(), map(tuple, both.tolist()), strict=True))
            self.arrive(reached, scores)

    def drawn(self) -> tuple[IntArray, FloatArray]:
        """The items in the order drawn, and the model's log-probs of them."""
        return self.items, np.array([self.walked[leaf][1] for leaf in self.tree.leaf[self.items].tolist()])


class _Repeats(Search):
    """Draws that know nothing of each other: how many of them have come to each node."""

    def __init__(self, model: TitleModel, mask: Mask, excluded: IntArray, k: int, sampling: Sampling, key: Key) -> None:
        super().__init__(model, mask, excluded)
        self.sampling, self.key = sampling, key
        self.counts = {int(self.tree.onward[0] if self.jumps else 0): k}
        self.found: list[tuple[IntArray, FloatArray]] = []
        self.arrive(np.zeros(1, dtype=np.int64), np.zeros(1))

    @property
    def bound(self) -> float:
        return -np.inf

    def take(self, children: Children) -> None:
        for number, (node, score) in enumerate(zip(self.asked, self.asked_scores, strict=True)):
            reached, steps = _among(self, children, number)
            chances = np.exp(self.sampling.log_probs(steps))
            counts = rng_for(*self.key, int(node)).multinomial(self.counts.pop(int(node)), chances / chances.sum())
            met = counts > 0
            ends = self.tree.onward[reached] if self.jumps else reached
            self.counts.update(zip(ends[met].tolist(), counts[met].tolist(), strict=True))
            self.arrive(reached[met], score + steps[met])

    def finish(self, items: IntArray, scores: FloatArray) -> None:
        """items: of equal titles all are here; each draw takes one of them."""
        leaves = self.tree.leaf[items]
        for leaf in np.unique(leaves):
            here = np.flatnonzero(leaves == leaf)
            chosen = here[rng_for(*self.key, int(leaf)).integers(len(here), size=self.counts[int(leaf)])]
            self.found.append((items[chosen], scores[chosen]))

    def drawn(self) -> tuple[IntArray, FloatArray]:
        """The items in an order by chance, and the model's log-probs of them."""
        if not self.found:
            return self.open, self.open_scores
        items, scores = (np.concatenate(parts) for parts in zip(*self.found, strict=True))
        order = rng_for(*self.key, "order").permutation(len(items))
        return items[order], scores[order]


def _among(search: Search, children: Children, number: int) -> tuple[IntArray, FloatArray]:
    """The legal children of the node asked about as `number`, and the log-probs of getting there."""
    low, high = np.searchsorted(children.parent, [number, number + 1])
    legal = search.legal(children.node[low:high])
    return children.node[low:high][legal], children.log_prob[low:high][legal]


def _with_maximum(scores: FloatArray, maximum: float) -> FloatArray:
    """Independent Gumbel variables (c,), as if it had been known that this is their maximum (Kool et al., app. B)."""
    with np.errstate(divide="ignore"):
        beyond = maximum - scores + np.log(-np.expm1(scores - scores.max()))  # -inf at the largest
    return np.asarray(maximum - np.maximum(0.0, beyond) - np.log1p(np.exp(-np.abs(beyond))))


def _log_softmax(values: FloatArray) -> FloatArray:
    shifted = values - values.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
