"""Rejected items drawn in proportion to popularity ** power: what others took and this user did not.

Path    examples -> [negatives.popularity] -> prompts
Takes   an example, its user's seen items, a count, a generator; the training popularity
Gives   (count,) distinct items
Relations   power 0 is uniform; the larger the power, the fewer items of the tail. It teaches a model to hold back
            what is popular, and a model that has learnt that is to be judged by uniform candidates with care
"""

import numpy as np
from pydantic import Field, NonNegativeFloat

from napo.arrays import IntArray
from napo.negatives._protocol import Example, SamplerContext, rejectable
from napo.settings import Strict


class Settings(Strict):
    power: NonNegativeFloat = Field(
        default=1.0, description="Exponent of an item's number of training events; 0: uniform."
    )


class Sampler:
    needs_auxiliary = False

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        # An item without a training event counts as one with one: it may be drawn too.
        self._log_weight = settings.power * np.log(context.popularity.clip(1))  # (items,)

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        free = rejectable(self._log_weight.size, example, seen, count)
        keys = np.where(free, self._log_weight + rng.gumbel(size=self._log_weight.size), -np.inf)
        # The largest of weights with Gumbel noise are a draw without replacement, in one pass and without a retry.
        return np.argpartition(keys, keys.size - count)[keys.size - count :]
