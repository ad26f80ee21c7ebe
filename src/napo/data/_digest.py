"""One SHA-256 over arrays and names, so that two runs can tell whether they saw the same data.

Path    log, split, candidates -> [data._digest] -> their `digest`
Takes   numpy arrays, strings, numbers
Gives   64 hexadecimal digits
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Part = str | int | float | None | NDArray[Any] | Iterable[str]


def digest_of(*parts: Part) -> str:
    """The SHA-256 of the parts in order; lengths go in too, so that ("ab", "c") is not ("a", "bc")."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            # one width for all, or the digest would depend on the platform's default integer
            wide = part.astype("<f8" if part.dtype.kind == "f" else "<i8")
            sha.update(f"array{wide.shape}".encode())
            sha.update(wide.tobytes())
        elif isinstance(part, str | int | float) or part is None:
            text = repr(part).encode()
            sha.update(f"{len(text)}:".encode() + text)
        else:
            for name in part:
                text = name.encode()
                sha.update(f"{len(text)}:".encode() + text)
            sha.update(b"end")
    return sha.hexdigest()
