"""How an auxiliary recommender orders pairs that it has not trained on, and recommenders that have seen no pair's user.

Path    split, validation cases, negatives, models.sasrec -> [training.oracle] -> training.stages, objectives
Takes   Split, how many folds; Cases, a sampler of rejected items, frozen SASRecs
Gives   whose fold each user is, and the model of each fold; margins: scores of targets minus those of items drawn as
        training draws them, which an oracle's trust in itself is fitted to

A recommender knows the very targets that it trained on: of these it is far surer than of any others. With folds each is
judged by a model that has trained on other users alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napo.arrays import FloatArray, IntArray
from napo.data.split import Cases, Split
from napo.errors import UserError
from napo.models.sasrec import SASRec
from napo.models.sasrec_scorer import SASRecScorer
from napo.negatives._protocol import Example, NegativeSampler
from napo.rng import rng_for
from napo.training.pairs import proposed


@dataclass(frozen=True, eq=False)
class Judges:
    """Frozen recommenders, and which of them judges each user. fold: (users,) index into models."""

    models: tuple[SASRec, ...]
    fold: IntArray

    @classmethod
    def alone(cls, model: SASRec, users: int) -> "Judges":
        """One model for all."""
        return cls((model,), np.zeros(users, dtype=np.int64))

    @property
    def item_vectors(self) -> FloatArray:
        """(items, models * d): those of all models side by side."""
        vectors: FloatArray = np.concatenate([model.item_vectors.cpu().numpy() for model in self.models], axis=1)
        return vectors

    def history_vectors(self, user: int, histories: list[IntArray]) -> FloatArray:
        """(n, models * d): those of the user's model in its place, 0 in the others', so that a product is its score."""
        own = int(self.fold[user])
        vectors = self.models[own].sequence_vectors(histories).cpu().numpy()
        width = vectors.shape[1]
        return np.pad(vectors, ((0, 0), (own * width, (len(self.models) - 1 - own) * width)))

    def scores(self, users: IntArray, histories: list[IntArray], items: IntArray) -> FloatArray:
        """(n, C): the score of each of items (n, C) after its history, by the model of its user."""
        found = np.empty(items.shape, dtype=np.float32)
        for index, model in enumerate(self.models):
            rows = np.flatnonzero(self.fold[users] == index)
            if len(rows):
                found[rows] = SASRecScorer(model).candidate_scores([histories[row] for row in rows], items[rows])
        return found


def folds_of(split: Split, count: int, seed: int) -> IntArray:
    """(users,) each user's fold, of like size, by chance; all rows of a user are in one.

    Raises UserError where there are fewer users than folds.
    """
    rows = split.rows
    owner = np.arange(len(split.sequences)) if rows is None or rows.users is None else rows.users
    owners, number = np.unique(owner, return_inverse=True)
    if len(owners) < count:
        raise UserError(
            f"{len(owners)} users can't be dealt out to {count} folds",
            where="objective.folds",
            remedy=f"at most {len(owners)}, or null: one oracle, which has trained on what it judges",
        )
    fold = rng_for(seed, "folds", count).permutation(len(owners)) % count
    return np.asarray(fold[number], dtype=np.int64)


def held_out_margins(cases: Cases, sampler: NegativeSampler, judges: Judges, count: int, seed: int) -> Tensor:
    """(pairs,) float64: targets' scores minus those of items rejected in their place, `count` of each, case by case.

    Where a sampler proposes the target itself, or finds too few items, there is no pair, as in training. Raises
    UserError where there is none at all.
    """
    split, histories = cases.split, cases.histories()
    who = list(zip(cases.user.tolist(), histories, cases.target.tolist(), strict=True))
    items = proposed(
        sampler,
        [Example(*one) for one in who],
        [np.append(split.seen(user), target) for user, _, target in who],
        count,
        [
            (seed, "held out", split.user_keys[user], at)
            for user, at in zip(cases.user.tolist(), cases.position.tolist(), strict=True)
        ],
    )
    targets = cases.target[:, None]
    rejected = (items >= 0) & (items != targets)
    if not rejected.any():
        raise UserError(
            "no validation case has a rejected item, so how sure the oracle is can't be told",
            where="negatives",
            remedy="`negatives.avoid=seen`, or `negatives.name=uniform`",
        )
    scores = judges.scores(cases.user, histories, np.concatenate([targets, np.where(rejected, items, targets)], axis=1))
    return torch.from_numpy((scores[:, :1] - scores[:, 1:])[rejected].astype(np.float64))
