"""A language model as a ranker of titles: behind the protocol by which every recommender is judged.

Path    histories, candidates -> [scoring.ranker] -> evaluation, serving
Takes   TitleModel, how much history a prompt may show; histories of item ids, oldest first
Gives   numpy arrays on the CPU: scores (n, C), best items (n, k), ranks from 1 (n,)
Oracle  tests/scoring/test_ranker.py; the log-probs themselves: scoring.naive
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError
from napo.scoring.batch import NONE, Normalize, Row, batches_by_width, pack
from napo.scoring.continuations import TitleModel
from napo.scoring.generate import Key, Sampling, beam_top, sample_titles
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.prefix_cache import PrefixCache
from napo.scoring.search import Mask, Wanted, all_log_probs, exact_lists, exact_ranks, exact_top
from napo.scoring.shared_prefix import TreeOnDevice, device_of, judging, title_log_probs, token_log_probs
from napo.scoring.tree import PrefixTree

if TYPE_CHECKING:
    from napo.models.language import LanguageModel

Average = Literal["sum", "mean"]


class TitleRanker:
    """Ranks titles by their log-probability behind a prompt; training mode and gradients are left as they were.

    max_history, max_tokens: what a prompt may hold; a history too long loses its oldest items whole.
    average: `sum` over a title's tokens is its log-probability; `mean` divides by the scored tokens, which lifts long
    titles. The search is exact for sums only, so with `mean` a ranking of the whole catalog visits every node.
    """

    scores_are_logits = True  # so that their softmax is judged by calibration

    def __init__(
        self,
        model: TitleModel,
        *,
        max_history: int | None = None,
        max_tokens: int | None = None,
        average: Average = "sum",
        name: str = "language model",
    ) -> None:
        self.model, self.name, self.average = model, name, average
        self.max_history, self.max_tokens = max_history, max_tokens
        self._lengths = np.maximum(scored_lengths(model.tree, model.normalize), 1)
        self._on_device = TreeOnDevice(model.tree, device_of(model.policy))

    @classmethod
    def of(
        cls,
        language: "LanguageModel",
        *,
        average: Average = "sum",
        batch_tokens: int = 8192,
        remembers: PrefixCache | None = None,
    ) -> "TitleRanker":
        """A loaded language model as it is meant to be asked. remembers: only while its weights stay as they are."""
        usage, policy = language.usage, language.policy
        model = TitleModel(
            policy,
            language.tree,
            language.frame,
            usage.normalize,
            batch_tokens,
            shared=language.shared,
            keeps=language.keeps,
            remembers=remembers,
        )
        limits = {"max_history": usage.max_history, "max_tokens": usage.max_tokens}
        return cls(model, **limits, average=average, name=usage.name)

    @property
    def lists_candidates(self) -> bool:
        """Whether the prompt names the candidates."""
        return len(self.model.frame.middle) > 0

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C): the score of each candidate after its case's history; higher is better."""
        candidates = np.asarray(candidates, dtype=np.int64)
        return np.array(self.title_scores(histories, list(candidates))).reshape(candidates.shape)

    def title_scores(self, histories: Sequence[IntArray], titles: Sequence[IntArray]) -> list[FloatArray]:
        """Of each case (c,) the scores of its titles (c,), however many it has."""
        rows = self._beside(histories, titles)
        scores: list[FloatArray] = [np.empty(0)] * len(rows)
        with judging(self.model.policy):
            for batch in batches_by_width(self._widths(rows), self.model.batch_tokens):
                ends = np.cumsum([len(rows[index].branches) for index in batch])
                parts = np.split(self._sums([rows[index] for index in batch]), ends[:-1])
                for index, sums in zip(batch, parts, strict=True):
                    lengths = self._lengths[rows[index].branches]
                    scores[index] = sums / lengths if self.average == "mean" else sums
        return scores

    def token_scores(self, history: IntArray, items: IntArray) -> list[FloatArray]:
        """Of each item (T,) the log-prob of every token of its title, the end token last; 0 where it is forced."""
        model = self.model
        rows = self._beside([history], [items])
        with judging(model.policy):
            packed = pack(rows, model.tree, model.frame, model.normalize, shared=model.shared)
            batch = packed.to(device_of(model.policy))
            by_token = token_log_probs(model.policy, batch, self._tree_on(device_of(model.policy)), model.normalize)
        scored, title = by_token.double().cpu().numpy(), packed.title.numpy()
        found: list[FloatArray] = []
        for number, item in enumerate(items):
            places = slice(model.tree.title_start[item], model.tree.title_start[item + 1])
            free = model.tree.branching[places] if model.normalize == "catalog" else np.ones(places.stop - places.start)
            tokens = np.zeros(len(free))
            tokens[free.astype(bool)] = scored[title == number]
            found.append(tokens)
        return found

    def _beside(self, histories: Sequence[IntArray], titles: Sequence[IntArray]) -> list[Row]:
        """Each history with its titles beside it; a prompt that lists candidates lists these."""
        rows = []
        for history, beside in zip(histories, titles, strict=True):
            items = self.shown(history, len(beside) if self.lists_candidates else 0)
            listed = beside if self.lists_candidates else NONE
            rows.append(Row(items, NONE, beside, np.full(len(beside), len(items)), listed))
        return rows

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k): the best items that are not excluded, best first; -1 where fewer than k are left."""
        return self.top_with_scores(histories, excluded, k)[0]

    def top_with_scores(
        self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int, allowed: BoolArray | None = None
    ) -> tuple[IntArray, FloatArray]:
        """(n, k) items and their scores; -1 and -inf where fewer than k are left. Equal scores by ascending id.

        allowed: (items,) False where an item is in nobody's list; None: all may be.
        """
        if self.average == "sum":
            shown = self._shown_alone(histories)
            with judging(self.model.policy):
                return exact_top(self.model, shown, excluded, k, allowed=allowed)
        scores = self._left(histories, excluded)
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (n, at most k)
        best = np.take_along_axis(scores, order, axis=1)
        missing = ((0, 0), (0, k - best.shape[1]))
        items = np.pad(np.where(best == -np.inf, -1, order), missing, constant_values=-1)
        return items, np.pad(best, missing, constant_values=-np.inf)

    def best(
        self,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        ks: Sequence[int],
        allowed: Sequence[BoolArray],
    ) -> list[tuple[IntArray, FloatArray]]:
        """As top_with_scores, where each case has a filter (items,) and a length of its own; lists are not padded."""
        assert self.average == "sum"
        masks = {id(filter): Mask.of(self.model.tree, filter) for filter in allowed}
        wanted = [Wanted(masks[id(filter)], out, k) for out, k, filter in zip(excluded, ks, allowed, strict=True)]
        shown = self._shown_alone(histories)
        with judging(self.model.policy):
            return exact_lists(self.model, shown, wanted)

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) from 1: the items that score at least as high, the target among them; excluded ones don't count.

        The target counts even where it is excluded: an item taken twice still has a rank.
        """
        if self.average == "sum":
            shown = self._shown_alone(histories)
            with judging(self.model.policy):
                return exact_ranks(self.model, shown, excluded, targets)
        others = [np.setdiff1d(out, [target]) for out, target in zip(excluded, targets, strict=True)]
        scores = self._left(histories, others)
        return np.asarray((scores >= scores[np.arange(len(scores)), targets][:, None]).sum(axis=1))

    def beam(
        self,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        k: int,
        *,
        beams: int | None = None,
        allowed: BoolArray | None = None,
    ) -> tuple[IntArray, FloatArray]:
        """(n, k) items and their log-probs as generate.beam_top finds them: nearly the best, at a bounded cost."""
        shown = self._shown_alone(histories)
        with judging(self.model.policy):
            return beam_top(self.model, shown, excluded, k, beams=beams, allowed=allowed)

    def sample(
        self,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        k: int,
        *,
        keys: Sequence[Key],
        sampling: Sampling | None = None,
        allowed: BoolArray | None = None,
    ) -> tuple[IntArray, FloatArray]:
        """(n, k) items drawn and their log-probs, as generate.sample_titles; keys: what each case's draws depend on."""
        shown = self._shown_alone(histories)
        with judging(self.model.policy):
            return sample_titles(
                self.model, shown, excluded, k, keys=keys, sampling=sampling or Sampling(), allowed=allowed
            )

    def all_scores(self, histories: Sequence[IntArray]) -> FloatArray:
        """(n, items): the score of every item, for a few histories: it visits every node of the tree."""
        shown = self._shown_alone(histories)
        with judging(self.model.policy):
            sums = all_log_probs(self.model, shown)
        return sums / self._lengths if self.average == "mean" else sums

    def shown(self, history: IntArray, listed: int = 0) -> IntArray:
        """The newest items of a history, as many as a prompt can show. listed: candidates that it names besides."""
        history = np.asarray(history, dtype=np.int64)
        if self.max_history is not None:
            history = history[max(0, len(history) - self.max_history) :]
        if self.max_tokens is None:
            return history
        tree, frame = self.model.tree, self.model.frame
        needed = frame.words + tree.longest  # words and titles are never cut
        if listed:
            needed += listed * int(frame.listed_tokens(tree).lengths.max())
        if needed > self.max_tokens:
            raise UserError(
                f"{self.max_tokens} tokens can't hold the prompt's words, {listed} candidates and a title",
                where="prompt.max_tokens",
                remedy=f"at least {needed}",
            )
        total = np.cumsum(frame.history_tokens(tree).lengths[history][::-1])
        return history[len(history) - int(np.searchsorted(total, self.max_tokens - needed, side="right")) :]

    def _shown_alone(self, histories: Sequence[IntArray]) -> list[IntArray]:
        if self.lists_candidates:
            raise UserError(
                "a prompt that names the candidates can't rank the whole catalog",
                remedy="a template without {candidates}",
            )
        return [self.shown(history) for history in histories]

    def _left(self, histories: Sequence[IntArray], excluded: Sequence[IntArray]) -> FloatArray:
        """(n, items) the scores, -inf at excluded items."""
        scores = self.all_scores(histories)
        for row, out in zip(scores, excluded, strict=True):
            row[out.astype(np.int64)] = -np.inf
        return scores

    def _widths(self, rows: Sequence[Row]) -> IntArray:
        """(n,) tokens of each row; at most, since the last token of a title need not be laid out."""
        tree, frame = self.model.tree, self.model.frame
        history, listed = frame.history_tokens(tree).lengths, frame.listed_tokens(tree).lengths
        items = [
            int(history[row.items].sum() + listed[row.listed].sum() + tree.lengths[row.branches].sum()) for row in rows
        ]
        return frame.words + np.array(items, dtype=np.int64)

    def _sums(self, rows: Sequence[Row]) -> FloatArray:
        """(titles,) log-probs of the rows' branches, one forward pass."""
        model, device = self.model, device_of(self.model.policy)
        if not model.shared:
            sums = naive_title_log_probs(
                model.policy, rows, model.tree, model.frame, model.normalize, batch_tokens=model.batch_tokens
            )
        else:
            batch = pack(rows, model.tree, model.frame, model.normalize).to(device)
            sums = title_log_probs(model.policy, batch, self._tree_on(device), model.normalize)
        return sums.double().cpu().numpy()

    def _tree_on(self, device: torch.device) -> TreeOnDevice:
        if self._on_device.vocabulary.device != device:
            self._on_device = TreeOnDevice(self.model.tree, device)
        return self._on_device


def scored_lengths(tree: PrefixTree, normalize: Normalize) -> IntArray:
    """(items,) tokens of each title that have a probability of their own; under `catalog` forced ones have none."""
    if normalize == "vocabulary":
        return tree.lengths
    return np.add.reduceat(tree.branching.astype(np.int64), tree.title_start[:-1])
