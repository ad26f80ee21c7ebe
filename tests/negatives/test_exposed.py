import numpy as np
import pytest

from napo.errors import UserError
from napo.negatives._protocol import Example, Exposed, SamplerContext
from napo.negatives.exposed import Sampler, Settings
from napo.rng import rng_for

UNKNOWN = np.nan


def exposed(items, *, times=None, positions=None, propensities=None) -> Exposed:
    count = len(items)
    return Exposed(
        np.array(items),
        np.arange(count) * 10 if times is None else np.array(times),
        np.zeros(count, dtype=int) if positions is None else np.array(positions),
        np.full(count, UNKNOWN) if propensities is None else np.array(propensities),
    )


def sampler_of(one: Exposed, **settings) -> Sampler:
    context = SamplerContext(100, popularity=np.ones(100, dtype=int), exposed={0: one})
    return Sampler(context, Settings(**settings))


def draws(sampler, example, seen, count, times=200) -> np.ndarray:
    return np.concatenate([sampler.draw(example, np.array(seen), count, rng_for(key)) for key in range(times)])


EXAMPLE = Example(0, np.array([7]), chosen=9, time=25)


def test_only_what_the_user_was_shown_and_has_not_taken_is_drawn_where_there_is_enough():
    sampler = sampler_of(exposed([1, 2, 3, 7, 9, 2]))
    assert set(draws(sampler, EXAMPLE, [7, 9], 2)) == {1, 2, 3}
    assert sampler.own(0, np.array([7, 9]), 2) == 2


def test_where_a_user_has_too_few_the_others_are_drawn_from_all_items_and_counted():
    sampler = sampler_of(exposed([1, 7]))
    drawn = draws(sampler, EXAMPLE, [7, 9], 3, times=300).reshape(300, 3)
    assert (drawn == 1).any(axis=1).all()  # the one that there is, every time
    assert len(set(drawn.ravel())) > 90
    assert sampler.own(0, np.array([7, 9]), 3) == 1
    stranger = Example(5, np.array([7]), chosen=9)
    assert len(set(draws(sampler, stranger, [7, 9], 3))) > 90
    assert sampler.own(5, np.array([7, 9]), 3) == 0


def test_the_newest_before_the_choice_come_first_then_the_nearest_after_it():
    one = exposed([1, 2, 3, 4, 5], times=[0, 10, 20, 30, 40])
    assert set(draws(sampler_of(one, newest=2), EXAMPLE, [9], 2)) == {2, 3}
    assert set(draws(sampler_of(one, newest=4), EXAMPLE, [9], 2)) == {1, 2, 3, 4}
    at_an_unknown_time = Example(0, np.array([7]), chosen=9)
    assert set(draws(sampler_of(one, newest=2), at_an_unknown_time, [9], 2)) == {4, 5}


def test_an_item_shown_twice_is_one_item():
    one = exposed([1, 1, 1, 1, 2], times=[0, 5, 10, 15, 1])
    drawn = draws(sampler_of(one), EXAMPLE, [9], 1, times=2000)
    assert abs((drawn == 2).mean() - 0.5) < 5 * np.sqrt(0.25 / 2000)


def test_what_stood_too_far_below_does_not_count():
    one = exposed([1, 2, 3], positions=[1, 4, 0])  # 0: unknown
    sampler = sampler_of(one, deepest=3)
    assert set(draws(sampler, EXAMPLE, [9], 2)) == {1, 3}
    assert sampler.own(0, np.array([9]), 3) == 2


def test_inverse_propensities_weigh_what_was_rarely_shown_up_to_the_cap():
    one = exposed([1, 2, 3], propensities=[0.5, UNKNOWN, 0.001])
    drawn = draws(sampler_of(one, weights="inverse_propensity", cap=5), EXAMPLE, [9], 1, times=4000)
    # 2 : 1 : 5, of 8
    for item, share in ((1, 2 / 8), (2, 1 / 8), (3, 5 / 8)):
        assert abs((drawn == item).mean() - share) < 5 * np.sqrt(share * (1 - share) / 4000)


def test_other_exposures_are_other_draws_by_the_digest():
    one, other = sampler_of(exposed([1, 2])), sampler_of(exposed([1, 3]))
    assert one.digest == sampler_of(exposed([1, 2])).digest != other.digest


def test_without_any_exposures_the_remedy_is_named():
    with pytest.raises(UserError) as caught:
        Sampler(SamplerContext(10, popularity=np.ones(10, dtype=int)), Settings())
    assert "data.exposures" in caught.value.remedy
