"""Rejected items drawn uniformly from what the user has not seen.

Path    examples -> [negatives.uniform] -> prompts
Takes   an example, its user's seen items, a count, a generator
Gives   (count,) distinct items
Relations   popularity with power 0
"""

import numpy as np

from napo.arrays import IntArray
from napo.negatives._protocol import Example, SamplerContext, rejectable
from napo.settings import Strict


class Settings(Strict):
    pass


class Sampler:
    needs_auxiliary = False

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        self._items = context.items

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        # From a list of what is left: drawing again after a hit would hang on users who saw nearly all.
        return rng.choice(np.flatnonzero(rejectable(self._items, example, seen, count)), size=count, replace=False)
