import numpy as np
import pytest

from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext
from napo.negatives.generated import Sampler, Settings
from napo.rng import rng_for

ITEMS = 12


class Model:
    """Comes up with the lowest ids that it may, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, histories, left_out, count, keys, settings):
        self.asked.append((histories, left_out, keys, settings))
        free = [np.setdiff1d(np.arange(ITEMS), out)[:count] for out in left_out]
        return np.stack([np.pad(row, (0, count - len(row)), constant_values=-1) for row in free])


def sampler_of(model, **settings) -> Sampler:
    return Sampler(SamplerContext(ITEMS, np.ones(ITEMS, dtype=int), generate=model), Settings(**settings))


EXAMPLE, SEEN = Example(0, np.array([0, 3]), chosen=1), np.array([0, 3, 4, 1])


@pytest.mark.parametrize(
    ("avoid", "drawn"),
    [("seen", [2, 5]), ("chosen", [0, 2]), ("nothing", [0, 1])],
)
def test_what_is_never_generated_is_the_recipes_choice(avoid, drawn):
    assert sampler_of(Model(), avoid=avoid).propose([EXAMPLE], [SEEN], 2, [(0,)])[0].tolist() == drawn


def test_many_examples_are_asked_for_at_once_each_with_a_key_of_its_own():
    model = Model()
    examples = [EXAMPLE, Example(1, np.array([7]), chosen=0)]
    found = sampler_of(model).propose(examples, [SEEN, np.array([7, 0])], 1, [(5, "a"), (5, "b")])
    assert found.tolist() == [[2], [1]]
    ((histories, _, keys, _),) = model.asked
    assert [history.tolist() for history in histories] == [[0, 3], [7]]
    assert keys == [(5, "a"), (5, "b")]


def test_one_draw_is_keyed_by_its_generator():
    model = Model()
    sampler = sampler_of(model)
    for key in (0, 0, 1):
        sampler.draw(EXAMPLE, SEEN, 1, rng_for(key))
    first, again, other = (keys for _, _, keys, _ in model.asked)
    assert first == again != other


def test_without_a_language_model_nothing_can_be_generated():
    with pytest.raises(UserError, match="language model") as caught:
        Sampler(SamplerContext(ITEMS, np.ones(ITEMS, dtype=int)), Settings())
    assert caught.value.remedy
