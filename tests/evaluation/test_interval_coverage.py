"""Do the intervals hold the truth as often as they say? 2,000 data sets of 200 users with five cases each.

Hits at 0.37, correlated within a user: each user's own rate is Beta(1.48, 2.52), correlation 1 / (1 + 4) = 0.2.
The data sets are columns over the same users, so that all of them are resampled in one go.
"""

import numpy as np
import pytest

from napo.evaluation.statistics import bootstrap_intervals, seeds_and_cases

SETS, PEOPLE, EACH, TRUTH = 2000, 200, 5, 0.37
USERS = np.repeat(np.arange(PEOPLE), EACH)


def hits(seed: int, rate: float = TRUTH, sets: int = SETS) -> np.ndarray:
    """(sets, cases) of 0 and 1."""
    rng = np.random.default_rng(seed)
    own = rng.beta(4 * rate, 4 * (1 - rate), size=(sets, PEOPLE))
    return (rng.random((sets, PEOPLE, EACH)) < own[:, :, None]).reshape(sets, -1).astype(float)


def covered(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def names_of(columns: np.ndarray) -> list[str]:
    return [str(place) for place in range(len(columns))]


def ends(columns: np.ndarray, users: np.ndarray = USERS, **how: object) -> np.ndarray:
    found = bootstrap_intervals(dict(zip(names_of(columns), columns, strict=True)), users, **how)
    return np.array([[one.low, one.high] for one in found.values()]).T


def test_intervals_over_users_hold_the_truth_95_times_in_100():
    assert 0.93 <= covered(*ends(hits(1)), TRUTH) <= 0.97


def test_intervals_of_paired_differences_hold_the_truth():
    # B hits where A does but for a tenth of cases that are drawn anew: the true difference is 0.1 x (.37 - .37) = 0
    first, fresh = hits(2), hits(3)
    anew = np.random.default_rng(4).random(first.shape) < 0.1
    assert 0.93 <= covered(*ends(np.where(anew, fresh, first) - first), 0.0) <= 0.97


@pytest.mark.slow
def test_intervals_over_cases_would_hold_it_less_often():
    # variance 1 + 4 x 0.2 = 1.8 times that of independent cases: 1.96 / sqrt(1.8) errors hold it 85.6 times in 100
    assert covered(*ends(hits(1), np.arange(USERS.size)), TRUTH) == pytest.approx(0.856, abs=0.03)


@pytest.mark.slow
def test_bca_holds_the_truth_too():
    columns = hits(5, sets=500)
    assert 0.925 <= covered(*ends(columns, skewed=names_of(columns)), TRUTH) <= 0.975


@pytest.mark.slow
def test_few_hits_with_one_case_a_user_are_held_by_wilson():
    # 0.02 of 200: percentiles would hold it 91 times in 100
    rng = np.random.default_rng(6)
    columns = (rng.random((SETS, 200)) < 0.02).astype(float)
    assert 0.93 <= covered(*ends(columns, np.arange(200), proportions=names_of(columns)), 0.02) <= 0.985
    assert covered(*ends(columns, np.arange(200)), 0.02) < 0.93


def test_three_seeds_and_their_cases_hold_the_truth():
    """A seed moves all of its cases by a normal step of 0.02; users are the same under all seeds."""
    rng = np.random.default_rng(7)
    inside = []
    for own in rng.normal(scale=0.2, size=(600, PEOPLE)):
        seeds = [
            np.repeat(own, EACH) + rng.normal(scale=0.4, size=USERS.size) + step
            for step in rng.normal(scale=0.02, size=3)
        ]
        found = seeds_and_cases(seeds, USERS)
        inside.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.985
