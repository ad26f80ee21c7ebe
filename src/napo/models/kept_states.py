"""What a model's layers remember of rows of tokens, kept so that many continuations can go on from one row.

Path    models.policy -> [models.kept_states] -> scoring.encoded
Takes   a `transformers` cache after a pass over the rows
Gives   KeptStates: caches of chosen rows, which what comes behind them leaves as they are
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Cache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True, eq=False)
class KeptStates:
    """Keys and values (B, heads, L, d of a head) of each layer."""

    layers: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, cache: Cache) -> "KeptStates":
        layers: Any = cache.layers  # of kinds that keep other things too; self_check tries whether these do
        return cls([(layer.keys, layer.values) for layer in layers])

    @classmethod
    def stacked(cls, rows: "Sequence[KeptStates]") -> "KeptStates":
        """One under the other, padded behind to the longest: rows of one model, of unlike length."""
        longest = max(row.length for row in rows)

        def padded(layer: int, side: int) -> Tensor:
            parts = [row.layers[layer][side] for row in rows]
            return torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[2])) for part in parts])

        return cls([(padded(layer, 0), padded(layer, 1)) for layer in range(len(rows[0].layers))])

    def row(self, index: int, length: int) -> "KeptStates":
        """One row's first tokens: views, which keep all the rows in memory."""
        some = (slice(index, index + 1), slice(None), slice(length))
        return KeptStates([(keys[some], values[some]) for keys, values in self.layers])

    @property
    def sides(self) -> list[Tensor]:
        """Keys and values of one layer after the other."""
        return [side for layer in self.layers for side in layer]

    @classmethod
    def of_sides(cls, sides: Sequence[Tensor]) -> "KeptStates":
        """What `sides` gives, put together again."""
        return cls(list(zip(sides[::2], sides[1::2], strict=True)))

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(side.nbytes for side in self.sides)

    @property
    def length(self) -> int:
        """L, padding included."""
        return self.layers[0][0].shape[2]

    def cache(self, rows: Tensor) -> Cache:
        """Of the kept rows (R,)."""
        return Cache(layers=[_Kept(keys[rows], values[rows]) for keys, values in self.layers])


class _Kept(DynamicLayer):
    """Shows what is kept before what is new, and keeps no more."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self.before = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.before
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)
