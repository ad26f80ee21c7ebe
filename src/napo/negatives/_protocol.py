"""What a sampler of rejected items is given, and what it promises.

Path    examples -> [negatives] -> prompts
Takes   the catalog's size and training popularity; an example, what its user has seen, and a generator
Gives   ids of items to reject. Chance comes from the generator alone, which is keyed by what the draw is for
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.data.exposed import Exposed as Exposed
from napo.errors import UserError


@dataclass(frozen=True)
class SamplerContext:
    """What all draws share. popularity: (items,) training events of each item.

    auxiliary_scores: the auxiliary recommender's scores of all items, (items,), after a history; None without one.
    titles: (items,). title_vectors: an embedder's name, or None for the language model's own, -> (items, d) vectors of
    length one; None where there is no language model.
    exposed: by user, what training may know of what was shown; None where the data have nothing of it.
    generate: histories, the items that each leaves out, how many titles, what the chance of each depends on, and
    `generated.Settings` -> (n, count) items that the language model, as it is now, comes up with, -1 where fewer are
    left; None where there is none.
    """

    items: int
    popularity: IntArray
    auxiliary_scores: Callable[[IntArray], FloatArray] | None = None
    titles: Sequence[str] = ()
    title_vectors: Callable[[str | None], FloatArray] | None = None
    exposed: Mapping[int, Exposed] | None = None
    generate: Callable[..., IntArray] | None = None

    @cached_property
    def exposed_digest(self) -> str:
        """SHA-256 of what was shown to whom."""
        digest = hashlib.sha256()
        for user, exposed in sorted((self.exposed or {}).items()):
            for part in (np.array(user), exposed.items, exposed.times, exposed.positions, exposed.propensities):
                digest.update(part.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Example:
    """A user, the history, oldest first, and the item taken next. time: when that was, milliseconds; None: unknown."""

    user: int
    history: IntArray
    chosen: int
    time: int | None = None


class NegativeSampler(Protocol):
    """The class `Sampler` of each module here, built from a SamplerContext and the module's Settings.

    needs_auxiliary: whether the context must bring `auxiliary_scores`. A sampler whose draws rest on more than its
    settings, the seed and the data has a `digest` of that too: what was made for other draws is not taken for its own.
    One with `needs_exposures` wants `exposed`. One that may have too few items of its own kind for a user has
    `own(user, seen, count)`, the number it has, so that a run can tell how often it had to fall back.
    One that rests on the model in training has `propose(examples, seen, count, keys) -> (n, count)` beside `draw`: it
    is asked for all examples together, once, before training moves the model (training.pairs).
    """

    needs_auxiliary: bool

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        """`count` distinct items, none in `seen`, the user's training events, and not the chosen item.

        Never avoid the held-out events: leaving those out would tell them. UserError where too few items are left.
        """
        ...


def rejectable(items: int, example: Example, seen: IntArray, count: int) -> BoolArray:
    """(items,) True where an item is neither seen nor chosen; UserError where fewer than `count` are left."""
    assert seen.size == 0 or seen.min() >= 0, "padding among seen items: -1 would strike out the last item"
    free = np.ones(items, dtype=np.bool_)
    free[seen] = False
    free[example.chosen] = False
    left = np.count_nonzero(free)
    if left < count:
        raise UserError(
            f"user {example.user} has {left} of {items} items left to reject, {count} are wanted",
            where="negatives.count",
            remedy="a smaller count, or leave out users who have seen nearly the whole catalog",
        )
    return free
