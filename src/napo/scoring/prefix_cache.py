"""States of histories kept from one search to the next, bounded by memory.

Path    scoring.encoded, after it has run a history -> [scoring.prefix_cache] -> scoring.encoded, asked about it again
Takes   the tokens of a prompt, as bytes; the states that they came to
Gives   the same states, while the weights stay what they were: whoever changes these begins with an empty cache
"""

import hashlib
import mmap
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from napo.models.kept_states import KeptStates

MOST = 16_384  # states, each a mapping: Linux allows a process 65,530 of them


@dataclass(frozen=True, eq=False)
class Remembered:
    """last: (d,) the state that the first token of a title is predicted from. kept: of a single row."""

    last: Tensor
    kept: "KeptStates"

    @classmethod
    def copied(cls, last: Tensor, kept: "KeptStates") -> "Remembered":
        """A copy in memory of its own: what it was cut from can be freed, and it leaves no hole where it lay."""
        last, *sides = in_memory_of_their_own([last, *kept.sides])
        return cls(last, kept.of_sides(sides))

    @property
    def bytes(self) -> int:
        return self.kept.bytes + self.last.nbytes


class PrefixCache:
    """At most so many bytes of states, and MOST of them; the least recently used go first. Safe for threads."""

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
            while self.bytes > self.most_bytes or len(self._states) > MOST:
                _, oldest = self._states.popitem(last=False)
                self.bytes -= oldest.bytes


def key_of(prompt: bytes) -> bytes:
    """32 bytes instead of a prompt's tokens, which would take a place in the heap as long as its states are kept."""
    return hashlib.sha256(prompt).digest()


def in_memory_of_their_own(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies, side by side in one piece; on the CPU a mapping, which goes back to the system with the last of them.

    In the heap, states that live long would lie among the passing ones of every batch and, as they go one by one,
    leave holes of all sizes: a server came to twice the memory that its cache may have.
    """
    size, device = sum(tensor.nbytes for tensor in tensors), tensors[0].device
    room = None if device.type != "cpu" else _mapping(size)
    if room is None:
        room = torch.empty(size, dtype=torch.uint8, device=device)
    copies, start = [], 0
    for tensor in tensors:
        copy = room[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copies.append(copy.copy_(tensor))
        start += tensor.nbytes
    return copies


def _mapping(size: int) -> Tensor | None:
    """(size,) bytes, None where the system has no mapping left."""
    # all its pages at once, or each would be a fault of its own
    flags = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE} if sys.platform == "linux" else {}
    try:
        return torch.frombuffer(mmap.mmap(-1, size, **flags), dtype=torch.uint8)
    except OSError:
        return None
