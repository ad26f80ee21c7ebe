"""What a model's layers remember of rows of tokens, kept so that many continuations can go on from one row.

Path    models.policy -> [models.kept_states] -> scoring.encoded
Takes   a `transformers` cache after a pass over the rows
Gives   KeptStates: caches of chosen rows, which what comes behind them leaves as they are
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
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
