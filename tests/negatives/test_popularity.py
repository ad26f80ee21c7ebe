import numpy as np
import pytest
from pydantic import ValidationError

from napo.negatives._protocol import Example, SamplerContext
from napo.negatives.popularity import Sampler, Settings
from napo.rng import rng_for

EXAMPLE = Example(0, np.array([0]), chosen=0)


def shares(power, count=1, draws=4000, popularity=(90, 0, 1, 4, 16)):
    """How often each of five items is in a draw; item 0 is seen."""
    sampler = Sampler(SamplerContext(5, popularity=np.array(popularity)), Settings(power=power))
    rng = rng_for("popularity", str(power))
    drawn = [sampler.draw(EXAMPLE, np.array([0]), count, rng) for _ in range(draws)]
    return np.bincount(np.concatenate(drawn), minlength=5) / draws


@pytest.mark.parametrize(
    ("power", "expected"),
    # weights 1, 1, 4, 16 (an item without events counts as one with one); their roots 1, 1, 2, 4; their 0th powers
    [(1.0, [0, 1 / 22, 1 / 22, 4 / 22, 16 / 22]), (0.5, [0, 1 / 8, 1 / 8, 2 / 8, 4 / 8]), (0.0, [0, *[1 / 4] * 4])],
)
def test_one_item_is_drawn_in_proportion_to_a_power_of_its_popularity(power, expected):
    np.testing.assert_allclose(shares(power), expected, atol=5 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (1.0, [0.621118, 0.310559, 0.062112, 0.006211]),
        (0.75, [0.554307, 0.329593, 0.098571, 0.017529]),
        (0.0, [0.25] * 4),
    ],
)
def test_the_draw_of_rosepos_card(power, expected):
    # 100, 50, 10 and 1 events
    found = shares(power, popularity=(90, 100, 50, 10, 1))
    expected = np.array([0, *expected])
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)).all()


def test_two_items_are_drawn_one_after_the_other_without_replacement():
    # weights 1, 1, 2, 4 of 8. The last: 1/2 + 1/8 * 4/7 + 1/8 * 4/7 + 1/4 * 4/6
    last = 1 / 2 + 2 * 1 / 8 * 4 / 7 + 1 / 4 * 4 / 6
    assert shares(0.5, count=2)[4] == pytest.approx(last, abs=5 * 0.5 / np.sqrt(4000))


def test_a_negative_power_is_refused():
    with pytest.raises(ValidationError):
        Settings(power=-1)
