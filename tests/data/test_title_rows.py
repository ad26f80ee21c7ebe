"""TitleFinder: a history cut at its titles, whatever they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.catalog import Catalog
from napo.data.title_rows import TitleFinder


def finder_of(*titles: str) -> TitleFinder:
    return TitleFinder(Catalog(tuple(map(str, range(len(titles)))), titles))


@pytest.mark.parametrize(
    ("titles", "history", "cut"),
    [
        (("Air", "Moby"), "Air::Moby", ["Air", "Moby"]),
        (("A", "B", "A::B"), "A::B::A", ["A::B", "A"]),  # the longest that there is
        (("A:", "B"), "A:::B", ["A:", "B"]),
        (("A", ":B"), "A:::B", ["A", ":B"]),
        (("Air",), "Air::Nobody::Air", ["Air", "Nobody", "Air"]),
        (("Air",), "  Air ::Air", ["  Air ", "Air"]),
        (("Air",), "", []),
        (("Air",), "Air::", ["Air"]),
    ],
)
def test_a_history_is_cut_at_the_titles_that_there_are(titles, history, cut):
    assert finder_of(*titles).cut(history) == cut


PLAIN = st.text(st.characters(exclude_characters=":", categories=["L", "N"]), min_size=1, max_size=8)


@given(titles=st.lists(PLAIN, min_size=1, max_size=6, unique=True), data=st.data())
def test_joined_titles_without_marks_in_them_come_back(titles, data):
    history = data.draw(st.lists(st.sampled_from(titles), max_size=8))
    finder = finder_of(*titles)
    assert [finder.find(title) for title in finder.cut("::".join(history))] == [titles.index(one) for one in history]


def test_of_twins_the_first_is_meant():
    assert finder_of("Crash", "Air", "Crash").find(" Crash ") == 0
