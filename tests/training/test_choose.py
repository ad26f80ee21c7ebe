import numpy as np
import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.data.log import InteractionLog
from napo.recipe_keys import Recipe
from napo.training.choose import choose, within


def log_of(events: int, items: int, users: int) -> InteractionLog:
    """`users` who take items one after the other, as many each."""
    user = np.arange(events) % users
    frame = pl.DataFrame({"user": user, "item": (user + np.arange(events) // users) % items})
    names = tuple(map(str, range(items)))
    return InteractionLog(frame, tuple(map(str, range(users))), Catalog(names, names))


@pytest.mark.parametrize(
    ("events", "width", "epochs", "said"),
    [(2_000, 64, 40, "are few"), (40_000, 128, 20, "our own tables"), (1_000_000, 128, 10, "are many")],
)
def test_the_larger_the_log_the_larger_the_model_and_the_fewer_the_passes(events, width, epochs, said):
    choice = choose(log_of(events, items=2_000, users=events // 20))
    assert choice.sections["model"]["width"] == width
    assert choice.sections["sft"]["epochs"] == epochs
    assert said in choice.reasons[0]
    Recipe.model_validate({"data": {"source": "ml-100k"}, **choice.sections})


@pytest.mark.parametrize(("items", "vocabulary"), [(500, 4_000), (20_000, 12_000), (60_000, 24_000)])
def test_the_vocabulary_goes_with_the_catalog(items, vocabulary):
    assert choose(log_of(2_000, items, users=100)).sections["model"]["vocabulary"] == vocabulary


def test_in_a_small_catalog_there_are_as_many_candidates_as_the_busiest_user_leaves():
    # each user took 10 of 12 items: 2 are left, which with the target make 3 candidates
    choice = choose(log_of(100, items=12, users=10))
    assert choice.sections["candidates"] == {"count": 3}
    assert choice.sections["negatives"]["count"] == 2
    assert choice.sections["evaluation"] == {"ks": [1]}
    assert "all but 2 of the items" in " ".join(choice.reasons)
    Recipe.model_validate({"data": {"source": "ml-100k"}, **choice.sections})


def test_passes_are_cut_to_the_time_that_there_is_but_never_below_two():
    choice = choose(log_of(40_000, items=2_000, users=2_000))
    assert within(choice, predicted=100, most=200) is choice
    half = within(choice, predicted=7200, most=3600)
    assert half.sections["sft"]["epochs"] == 10
    assert half.reasons[-1] == "10 passes instead of 20: all of them would take more than 1 hours here"
    assert within(choice, predicted=1e6, most=60).sections["sft"]["epochs"] == 2
