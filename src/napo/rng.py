"""Chance, keyed by what a draw is for, never by how many draws came before.

So workers, ranks and a resumed run draw the same: rng_for(run_seed, "negatives", epoch, user, position).
"""

import hashlib

import numpy as np


def seed_for(*key: int | str) -> int:
    """A 63-bit seed that depends on its key alone."""
    # not hash(): Python salts it anew in every process
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little") >> 65


def rng_for(*key: int | str) -> np.random.Generator:
    """A generator that depends on its key alone."""
    return np.random.default_rng(seed_for(*key))
