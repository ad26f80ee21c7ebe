import numpy as np
import pytest

from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext
from napo.negatives.semantic import Sampler, Settings, plain_title
from napo.rng import rng_for

TITLES = [f"Title {item}" for item in range(12)]
# on a circle, 30 degrees from one to the next: item 0's nearest are 1 and 11, then 2 and 10
ANGLES = np.pi / 6 * np.arange(12)
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def context(titles=TITLES) -> SamplerContext:
    return SamplerContext(12, np.ones(12, dtype=int), titles=titles, title_vectors=lambda embedder: VECTORS)


def ever_drawn(example, seen, *, titles=TITLES, count=1, **settings) -> set[int]:
    sampler = Sampler(context(titles), Settings(**settings))
    return {int(item) for key in range(60) for item in sampler.draw(example, np.array(seen), count, rng_for(key))}


def test_items_like_any_title_of_the_history_are_drawn():
    # beside 0 lie 1 and 11, beside 6 lie 5 and 7
    assert ever_drawn(Example(0, np.array([0, 6]), chosen=3), [0, 6, 3], top=4) == {1, 11, 5, 7}


def test_only_the_newest_titles_of_the_history_count():
    assert ever_drawn(Example(0, np.array([0, 6]), chosen=3), [0, 6, 3], top=2, recent=1) == {5, 7}


def test_items_like_the_chosen_title_are_drawn_where_the_recipe_asks_for_them():
    assert ever_drawn(Example(0, np.array([0, 6]), chosen=3), [0, 6, 3], top=2, near="target") == {2, 4}


def test_what_was_seen_makes_room_for_the_next_nearest():
    assert ever_drawn(Example(0, np.array([0]), chosen=3), [0, 1, 11, 3], top=2) == {2, 10}


def test_the_nearest_are_drawn_equally_often():
    sampler, rng = Sampler(context(), Settings(top=4)), rng_for("semantic")
    example = Example(0, np.array([0]), chosen=6)
    drawn = [sampler.draw(example, np.array([0, 6]), 2, rng) for _ in range(2000)]
    # 1, 2, 10, 11: each in half the draws, sd 22
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    assert counts.sum() == counts[[1, 2, 10, 11]].sum()
    assert np.abs(counts[[1, 2, 10, 11]] - 1000).max() < 5 * 22.4


def test_another_edition_of_the_chosen_title_comes_last():
    titles = [*TITLES]
    titles[3], titles[2] = "Sabrina (1954)", "SABRINA (1995)"
    example = Example(0, np.array([0]), chosen=3)
    # 4 at 30 degrees, 1 and 5 at 60; without the rule 2 would be drawn
    assert ever_drawn(example, [0, 3], titles=titles, top=3, near="target") == {1, 4, 5}
    assert ever_drawn(example, [0, 3, *range(4, 12)], titles=titles, count=2) == {1, 2}  # where no other is left


@pytest.mark.parametrize(
    ("title", "plain"),
    [("Sabrina (1995)", "sabrina"), ("Emma  [Remastered]: Live!", "emma live"), ("(500)", "(500)"), ("???", "???")],
)
def test_a_plain_title_is_its_words(title, plain):
    assert plain_title(title) == plain


def test_a_draw_of_more_than_top_takes_the_nearest_of_them():
    assert ever_drawn(Example(0, np.array([0]), chosen=6), [0, 6], top=1, count=2) == {1, 11}


def test_without_a_history_all_that_is_left_may_be_drawn():
    assert ever_drawn(Example(0, np.array([], dtype=int), chosen=6), [6, *range(9)], top=1) == {9, 10, 11}


def test_the_embedder_of_the_recipe_makes_the_vectors():
    asked = []

    def vectors(embedder):
        asked.append(embedder)
        return VECTORS

    Sampler(SamplerContext(12, np.ones(12), titles=TITLES, title_vectors=vectors), Settings(embedder="./mine"))
    assert asked == ["./mine"]


def test_other_vectors_have_another_digest():
    def digest(scale):
        made = SamplerContext(12, np.ones(12), titles=TITLES, title_vectors=lambda embedder: scale * VECTORS)
        return Sampler(made, Settings()).digest

    assert digest(1) == digest(1) != digest(2)


def test_without_titles_it_is_a_users_mistake():
    with pytest.raises(UserError, match="needs titles") as caught:
        Sampler(SamplerContext(12, np.ones(12)), Settings())
    assert caught.value.where == "negatives.name"
