"""napo: train, judge and serve language-model recommenders with negative-aware preference optimization.

The package itself imports nothing heavy: `napo.Recommender` and `napo.Filter` are found when first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napo.serving.filter import Filter as Filter
    from napo.serving.recommender import Recommender as Recommender

__version__ = "0.1.0"
__all__ = ["Filter", "Recommender", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Recommender":
        from napo.serving.recommender import Recommender

        return Recommender
    if name == "Filter":
        from napo.serving.filter import Filter

        return Filter
    raise AttributeError(f"module 'napo' has no attribute {name!r}")
