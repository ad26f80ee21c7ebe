"""Worlds without a leak, for planting one: users with a taste, lists drawn as napo draws them, times of their own."""

from collections.abc import Callable

import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.data.catalog import Catalog
from napo.data.split import Split
from napo.evaluation.leaks import LeakInputs, PromptText

DAY = 86_400_000
GENRES = 8


def _build_world(seed: int = 0, *, users: int = 80, items: int = 160, events: int = 20, held: int = 2) -> LeakInputs:
    """Each user takes items of one genre (item % 8) twelve times as often; all take their n-th item on the n-th day."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.sqrt(np.arange(1, items + 1))
    sequences = []
    for user in range(users):
        mine = weight * np.where(np.arange(items) % GENRES == user % GENRES, 12.0, 1.0)
        sequences.append(rng.choice(items, size=events, replace=False, p=mine / mine.sum()))
    split = Split(
        name="last_tenth",
        catalog=Catalog(tuple(f"i{i}" for i in range(items)), tuple(f"Film {i:03}" for i in range(items))),
        user_keys=tuple(f"u{user}" for user in range(users)),
        sequences=tuple(sequences),
        known=tuple(np.unique(sequence) for sequence in sequences),
        valid_from=np.full(users, events - 2 * held),
        test_from=np.full(users, events - held),
        times=tuple(1_700_000_000_000 + DAY * np.arange(events) + user for user in range(users)),
    )
    return inputs_of(split)


def inputs_of(split: Split) -> LeakInputs:
    """Its cases, with honest lists."""
    valid, test = split.cases("valid"), split.cases("test")
    prompt = PromptText(("Films that a user liked:", "The next one is"), max_history=50)
    return LeakInputs(valid, draw_candidates(valid), test, draw_candidates(test), prompt)


@pytest.fixture(scope="session")
def build_world() -> Callable[..., LeakInputs]:
    return _build_world


@pytest.fixture(scope="session")
def with_split() -> Callable[[Split], LeakInputs]:
    return inputs_of


@pytest.fixture(scope="session")
def world() -> LeakInputs:
    return _build_world()


class Taste:
    """Knows genres: a candidate's score is the share of its genre in the history; equal genres by popularity."""

    name = "taste"

    def __init__(self, popularity):
        self.weight = popularity / (popularity.max() + 1) / 100 + np.arange(popularity.size) * 1e-9

    def candidate_scores(self, histories, candidates):
        liked = np.array([np.bincount(history % GENRES, minlength=GENRES) for history in histories])
        shares = liked / np.maximum(liked.sum(axis=1, keepdims=True), 1)
        return np.take_along_axis(shares, candidates % GENRES, axis=1) + self.weight[candidates]


@pytest.fixture(scope="session")
def taste() -> Callable[[LeakInputs], Taste]:
    return lambda inputs: Taste(inputs.split.popularity)
