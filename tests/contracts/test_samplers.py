"""What a trainer may rely on, of every module in napo/negatives, found by folder."""

from typing import Literal, get_args, get_origin

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from napo import plugins
from napo.errors import UserError
from napo.negatives._protocol import Example, Exposed, SamplerContext
from napo.rng import rng_for
from napo.settings import Strict

NAMES = plugins.names("negatives")
ITEMS = 30


def choices(annotation) -> list:
    """All values of the Literals in a field's type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in choices(part)]


def variants(name: str) -> list[tuple[str, dict[str, object]]]:
    """A sampler as it comes, and with each other value of each setting that has a few to choose from."""
    fields = plugins.load("negatives", name).Settings.model_fields
    others = [
        (name, {key: value})
        for key, field in fields.items()
        for value in choices(field.annotation)
        if value != field.default
    ]
    return [(name, {}), *others]


VARIANTS = [variant for name in NAMES for variant in variants(name)]
EVERY = pytest.mark.parametrize(
    ("name", "keys"), VARIANTS, ids=[" ".join([name, *map(str, keys.values())]) for name, keys in VARIANTS]
)


def scores(history):
    return np.sin(np.arange(ITEMS) * (1.0 + len(history)))


def title_vectors(embedder):
    angles = np.arange(ITEMS)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def shown(user):
    """Twelve items a user, some of them twice, with places and chances that are partly unknown."""
    items = (np.arange(16) * (user + 2)) % 12
    chances = np.where(items % 3 == 0, np.nan, 1 / (1 + items))
    return Exposed(items, np.arange(16) * 1000, items % 5, chances)


def generate(histories, left_out, count, keys, settings):
    rows = [
        rng_for(*key).permutation(np.setdiff1d(np.arange(ITEMS), out)) for key, out in zip(keys, left_out, strict=True)
    ]
    return np.stack([row[:count] for row in rows])


CONTEXT = SamplerContext(
    ITEMS,
    popularity=np.arange(ITEMS) ** 2,
    auxiliary_scores=scores,
    titles=[f"Title {item}" for item in range(ITEMS)],
    title_vectors=title_vectors,
    exposed={user: shown(user) for user in range(4)},
    generate=generate,
)
EXAMPLE = Example(user=3, history=np.array([4, 5]), chosen=6)


@pytest.fixture(params=NAMES)
def module(request):
    return plugins.load("negatives", request.param)


def sampler_of(module, **keys):
    return module.Sampler(CONTEXT, module.Settings(**keys))


def test_the_variants_are_the_other_values_of_settings():
    assert choices(Literal["a", "b"] | None) == ["a", "b"]
    several = [
        ("generated", {"decoding": "best"}),
        ("generated", {"avoid": "chosen"}),
        ("semantic", {"near": "target"}),
    ]
    assert all(variant in VARIANTS for variant in several)
    assert ("generated", {"decoding": "sample"}) not in VARIANTS


def test_a_module_says_where_it_stands_and_has_settings_and_sampler(module):
    assert all(f"\n{word} " in module.__doc__ for word in ("Path", "Takes", "Gives"))
    assert issubclass(module.Settings, Strict)
    assert isinstance(sampler_of(module).needs_auxiliary, bool)
    with pytest.raises(ValidationError):
        module.Settings(no_such_key=1)


@EVERY
@settings(deadline=None, max_examples=40)
@given(seen=st.sets(st.integers(0, ITEMS - 1), max_size=ITEMS - 6), count=st.integers(1, 5), key=st.integers())
def test_a_draw_is_count_distinct_items_neither_seen_nor_chosen_unless_that_is_asked_for(name, keys, seen, count, key):
    seen = np.array(sorted(seen), dtype=np.int64)
    drawn = sampler_of(plugins.load("negatives", name), **keys).draw(EXAMPLE, seen, count, rng_for(key))
    assert drawn.shape == (count,)
    assert np.issubdtype(drawn.dtype, np.integer)
    assert len(set(drawn.tolist())) == count
    avoided = {"chosen": {EXAMPLE.chosen}, "nothing": set()}.get(keys.get("avoid"), {*seen.tolist(), EXAMPLE.chosen})
    assert not set(drawn.tolist()) & avoided
    assert ((drawn >= 0) & (drawn < ITEMS)).all()


def test_the_chosen_item_is_never_drawn_even_where_seen_lacks_it(module):
    seen = np.array([i for i in range(ITEMS) if i not in (6, 20, 21)])
    assert set(sampler_of(module).draw(EXAMPLE, seen, 2, rng_for(0)).tolist()) == {20, 21}


@EVERY
def test_one_key_gives_one_draw_whatever_was_drawn_before(name, keys):
    sampler, seen = sampler_of(plugins.load("negatives", name), **keys), np.array([1, 2, 6])
    first = sampler.draw(EXAMPLE, seen, 4, rng_for(7, "negatives", 0, 3, 2))
    for other in range(5):
        sampler.draw(EXAMPLE, seen, 4, rng_for(other))
    again = sampler.draw(EXAMPLE, seen, 4, rng_for(7, "negatives", 0, 3, 2))
    np.testing.assert_array_equal(first, again)


def test_different_keys_give_different_draws_and_inputs_stay_as_they_were(module):
    sampler, seen = sampler_of(module), np.array([1, 2, 6])
    draws = {tuple(sampler.draw(EXAMPLE, seen, 4, rng_for(key)).tolist()) for key in range(20)}
    assert len(draws) > 10 or sampler.needs_auxiliary  # what follows scores may well settle on the same few
    np.testing.assert_array_equal(seen, [1, 2, 6])


def test_too_few_items_left_is_a_users_mistake_with_a_remedy(module):
    seen = np.arange(ITEMS - 2)
    with pytest.raises(UserError) as caught:
        sampler_of(module).draw(EXAMPLE, seen, 3, rng_for(0))
    assert "2 of 30 items" in caught.value.what
    assert caught.value.where == "negatives.count"
    assert caught.value.remedy


def test_padding_among_seen_items_is_refused(module):
    with pytest.raises(AssertionError, match="padding"):
        sampler_of(module).draw(EXAMPLE, np.array([1, -1]), 3, rng_for(0))
