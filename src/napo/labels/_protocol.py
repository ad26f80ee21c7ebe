"""What decides which of the titles at hand is chosen and which are rejected, and what it promises.

Path    training.pairs -> [labels] -> training.batches
Takes   examples with their logged titles, and what was proposed for each
Gives   Labelled: a chosen item and rejected ones for each example, or that it is not to be trained on
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from napo.arrays import BoolArray, IntArray
from napo.negatives._protocol import Example


@dataclass(frozen=True, eq=False)
class Proposals:
    """examples: n, `chosen` the logged title. items: (n, P) what was proposed, -1 where there was nothing more."""

    examples: Sequence[Example]
    items: IntArray


@dataclass(frozen=True, eq=False)
class Labelled:
    """chosen: (n,); rejected: (n, K). trains: (n,) False where an example is left out; its items are not read."""

    chosen: IntArray
    rejected: IntArray
    trains: BoolArray


class Labeller(Protocol):
    """The class `Labeller` of each module here, built from a SamplerContext and the module's Settings.

    needs_auxiliary: whether the context must bring `auxiliary_scores`.
    """

    needs_auxiliary: bool

    def proposals(self, count: int) -> int:
        """So many proposals an example make `count` rejected items."""
        ...

    def label(self, proposals: Proposals, count: int) -> Labelled:
        """A pair, or one chosen item against several, for each example. Chance is keyed, as everywhere."""
        ...
