"""What one user was shown and did not take, as arrays: what a sampler of rejected items is given.

Path    data.exposures -> [data.exposed] -> negatives
"""

from dataclasses import dataclass

from napo.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Exposed:
    """What one user was shown and did not take, (n,) each, oldest first.

    times: milliseconds. positions: from 1 in the list shown; 0: unknown. propensities: chances of having been shown;
    NaN: unknown.
    """

    items: IntArray
    times: IntArray
    positions: IntArray
    propensities: FloatArray

    def take(self, which: BoolArray | IntArray) -> "Exposed":
        """Some of them, in the order asked for."""
        return Exposed(self.items[which], self.times[which], self.positions[which], self.propensities[which])
