"""Rejected items that the user was really shown and did not take.

Path    data.exposures, examples -> [negatives.exposed] -> prompts
Takes   an example, its user's seen items, a count, a generator; each user's exposures from before the held-out events
Gives   (count,) distinct items: exposed ones first, and where a user has too few, the others drawn uniformly
Relations   without any exposure it is uniform. What a server showed, it thought likely: such items are as hard as
            those of `hardest`, and no guess, as the user did have them before the eyes. They tell of the server's own
            taste too; `weights: inverse_propensity` takes that out where lists were drawn by chance (arXiv 1602.05352)
"""

from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.negatives._protocol import Example, Exposed, SamplerContext, rejectable
from napo.settings import Strict


class Settings(Strict):
    newest: PositiveInt = Field(
        default=50,
        description="Rejected items are drawn from so many exposures: those nearest before the chosen item was taken,"
        " then those nearest after it.",
    )
    deepest: PositiveInt | None = Field(
        default=None,
        description="Only items shown at this position or above: what stood far below was perhaps not seen."
        " null, or an unknown position: all.",
    )
    weights: Literal["equal", "inverse_propensity"] = Field(
        default="equal",
        description="inverse_propensity: what was shown with a small chance is drawn the more often for it.",
    )
    cap: float = Field(default=10.0, ge=1, description="The most that an inverse propensity counts.")


class Sampler:
    needs_auxiliary = False
    needs_exposures = True

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        if context.exposed is None:
            raise UserError(
                "negatives `exposed` needs what users were shown, and there is none",
                where="negatives.name",
                remedy="name it: `data.exposures`; `napo data from-events` writes it",
            )
        self._items, self._settings = context.items, settings
        self._exposed = {user: self._counted(exposed) for user, exposed in context.exposed.items()}
        self.digest = context.exposed_digest  # the data's own digest leaves exposures out

    def _counted(self, exposed: Exposed) -> Exposed:
        deepest = self._settings.deepest
        return exposed if deepest is None else exposed.take(exposed.positions <= deepest)

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        free = rejectable(self._items, example, seen, count)
        own, log_weights = self._pool(example, free, count)
        # the largest of weights with Gumbel noise are a draw without replacement
        keys = log_weights + rng.gumbel(size=own.size)
        drawn = own[np.argsort(-keys, kind="stable")[:count]]
        if drawn.size == count:
            return drawn
        free[drawn] = False
        others = rng.choice(np.flatnonzero(free), size=count - drawn.size, replace=False)
        return np.concatenate([drawn, others])

    def _pool(self, example: Example, free: np.ndarray, count: int) -> tuple[IntArray, FloatArray]:
        """The distinct items to draw from, at most `newest`, and their log-weights."""
        if (exposed := self._exposed.get(example.user)) is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        exposed = exposed.take(free[exposed.items])
        if example.time is not None:
            later = exposed.times > example.time
            # before the choice, newest first; then what came after it, nearest first
            exposed = exposed.take(np.lexsort([np.abs(exposed.times - example.time), later]))
        else:
            exposed = exposed.take(np.arange(exposed.items.size)[::-1])
        _, first = np.unique(exposed.items, return_index=True)
        exposed = exposed.take(np.sort(first)[: max(self._settings.newest, count)])
        weights = np.ones(exposed.items.size)
        if self._settings.weights == "inverse_propensity":
            # an unknown chance counts as certain: it is not made up
            weights = np.minimum(1 / np.nan_to_num(exposed.propensities, nan=1.0), self._settings.cap)
        return exposed.items, np.log(weights)

    def own(self, user: int, seen: IntArray, count: int) -> int:
        """How many of `count` rejected items of a user are exposed ones; the rest is drawn uniformly."""
        if (exposed := self._exposed.get(user)) is None:
            return 0
        return min(count, np.setdiff1d(exposed.items, seen).size)
