"""States of histories kept from one search to the next, bounded by memory.

Path    scoring.encoded, after it has run a history -> [scoring.prefix_cache] -> scoring.encoded, asked about it again
Takes   the tokens of a prompt, as bytes; the states that they came to
Gives   the same states, while the weights stay what they were: whoever changes these begins with an empty cache
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from napo.models.kept_states import KeptStates


@dataclass(frozen=True, eq=False)
class Remembered:
    """last: (d,) the state that the first token of a title is predicted from. kept: of a single row."""

    last: Tensor
    kept: "KeptStates"

    @property
    def bytes(self) -> int:
        return self.kept.bytes + self.last.element_size() * self.last.numel()


class PrefixCache:
    """At most so many bytes of states; the least recently used go first. Safe for threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self.hits = self.misses = 0
        self._states: OrderedDict[bytes, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: bytes) -> Remembered | None:
        """What is remembered of a prompt; None where nothing is."""
        with self._lock:
            state = self._states.get(key)
            if state is None:
                self.misses += 1
                return None
            self.hits += 1
            self._states.move_to_end(key)
            return state

    def put(self, key: bytes, state: Remembered) -> None:
        """Remember a prompt's states; others are forgotten to make room. One that is larger than all is not kept."""
        with self._lock:
            if state.bytes > self.most_bytes or key in self._states:
                return
            self._states[key] = state
            self.bytes += state.bytes
            while self.bytes > self.most_bytes:
                _, oldest = self._states.popitem(last=False)
                self.bytes -= oldest.bytes
