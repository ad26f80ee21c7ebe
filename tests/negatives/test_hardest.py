import numpy as np
import pytest

from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext
from napo.negatives.hardest import Sampler, Settings
from napo.rng import rng_for

EXAMPLE = Example(0, np.array([7, 8]), chosen=9)


def scores(history):
    """The smaller the id the likelier, but for the history's own items, which come first."""
    found = -np.arange(20.0)
    found[history] = 100
    return found


CONTEXT = SamplerContext(20, popularity=np.ones(20, dtype=int), auxiliary_scores=scores)


def test_with_the_whole_catalog_as_pool_the_highest_scores_are_taken_in_order():
    drawn = Sampler(CONTEXT, Settings(pool=20)).draw(EXAMPLE, np.array([0, 7, 8, 9]), 3, rng_for(0))
    assert drawn.tolist() == [1, 2, 3]


def test_a_pool_as_large_as_the_count_is_uniform():
    sampler, rng = Sampler(CONTEXT, Settings(pool=2)), rng_for("hardest")
    drawn = [sampler.draw(EXAMPLE, np.array([7, 8, 9]), 2, rng) for _ in range(3400)]
    # 17 items left, 2 a draw: 400 times each, sd 18.8
    counts = np.delete(np.bincount(np.concatenate(drawn), minlength=20), [7, 8, 9])
    assert np.abs(counts - 400).max() < 5 * 18.8


def test_a_larger_pool_gives_harder_items():
    def mean_score(pool):
        sampler = Sampler(CONTEXT, Settings(pool=pool))
        drawn = [sampler.draw(EXAMPLE, np.array([7, 8, 9]), 2, rng_for(key)) for key in range(200)]
        return scores(EXAMPLE.history)[np.concatenate(drawn)].mean()

    assert mean_score(2) < mean_score(6) < mean_score(17)


def test_a_pool_larger_than_what_is_left_takes_all_that_is_left():
    drawn = Sampler(CONTEXT, Settings(pool=50)).draw(EXAMPLE, np.arange(4, 20), 4, rng_for(0))
    assert drawn.tolist() == [0, 1, 2, 3]


def test_a_pool_below_the_count_is_a_users_mistake():
    with pytest.raises(UserError, match="pool of 2") as caught:
        Sampler(CONTEXT, Settings(pool=2)).draw(EXAMPLE, np.array([9]), 3, rng_for(0))
    assert caught.value.where == "negatives.pool"


def test_hardest_without_an_auxiliary_recommender_is_a_users_mistake():
    with pytest.raises(UserError, match="auxiliary"):
        Sampler(SamplerContext(20, popularity=np.ones(20, dtype=int)), Settings())
