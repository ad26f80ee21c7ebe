"""Rejected items that an auxiliary recommender ranks highest among a uniform pool.

Path    examples -> [negatives.hardest] -> prompts
Takes   an example with its history, its user's seen items, a count, a generator; the auxiliary recommender's scores
Gives   (count,) distinct items, hardest first
Relations   pool = count is uniform; the larger the pool, the harder the items, and the likelier that some are what the
            user would have liked
"""

import numpy as np
from pydantic import Field, PositiveInt

from napo.arrays import IntArray
from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext, rejectable
from napo.settings import Strict


class Settings(Strict):
    pool: PositiveInt = Field(
        default=50, description="Items drawn uniformly, of which the highest-scoring are rejected."
    )


class Sampler:
    needs_auxiliary = True

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        if context.auxiliary_scores is None:
            raise UserError(
                "negatives `hardest` needs an auxiliary recommender, and there is none",
                where="negatives.name",
                remedy="name an auxiliary recommender, or take `uniform` or `popularity`",
            )
        self._items, self._scores, self._pool = context.items, context.auxiliary_scores, settings.pool

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        if self._pool < count:
            raise UserError(
                f"a pool of {self._pool} can't give {count} rejected items",
                where="negatives.pool",
                remedy=f"a pool of at least {count}; 10 times that for items that are hard",
            )
        free = np.flatnonzero(rejectable(self._items, example, seen, count))
        pool = rng.choice(free, size=min(self._pool, free.size), replace=False)
        scores = self._scores(example.history)
        return pool[np.argsort(-scores[pool], kind="stable")[:count]]
