"""Small splits made by hand, for all the tests of the evaluation."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from napo.data.candidates import CandidateLists
from napo.data.catalog import Catalog
from napo.data.split import Split


def _build_split(sequences: Sequence[Sequence[int]], items: int, *, held: int = 1, min_history: int = 1) -> Split:
    """The last `held` events of each user are test, as many before them validation."""
    arrays = tuple(np.array(sequence, dtype=np.int64) for sequence in sequences)
    lengths = np.array([array.size for array in arrays])
    return Split(
        name="last_tenth",
        catalog=Catalog(tuple(f"i{i}" for i in range(items)), tuple(f"Title {i}" for i in range(items))),
        user_keys=tuple(f"u{user}" for user in range(len(arrays))),
        sequences=arrays,
        known=tuple(np.unique(array) for array in arrays),
        valid_from=lengths - 2 * held,
        test_from=lengths - held,
        min_history=min_history,
    )


def _build_lists(split: Split, items: Sequence[Sequence[int]], slot: Sequence[int]) -> CandidateLists:
    """Candidate lists written out."""
    return CandidateLists(np.array(items), np.array(slot), 0, "uniform", split.digest, "by hand")


@pytest.fixture(scope="session")
def build_split() -> Callable[..., Split]:
    return _build_split


@pytest.fixture(scope="session")
def build_lists() -> Callable[..., CandidateLists]:
    return _build_lists


@pytest.fixture(scope="session")
def zipf_split() -> Split:
    """500 users of 25 events over 400 items, drawn by Zipf's law; 5 events each for validation and test."""
    rng = np.random.default_rng(5)
    weight = 1 / np.arange(1, 401)
    weight /= weight.sum()
    sequences = [rng.choice(400, size=25, replace=False, p=weight) for _ in range(500)]
    return _build_split(sequences, 400, held=5)
