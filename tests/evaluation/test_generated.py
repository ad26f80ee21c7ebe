from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.evaluation.generated import (
    Match,
    chosen,
    evaluate_generated,
    first_line,
    nested,
    normal_form,
    ratio_interval,
)
from napo.evaluation.table import make_table
from napo.recipe_keys import MatchName


class Says:
    """Writes what it was told to, case after case."""

    name, normalize = "parrot", "vocabulary"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def write(self, histories, candidates):
        said = self.answers[self.asked : self.asked + len(histories)]
        self.asked += len(histories)
        return said


def test_the_recipe_knows_the_ways_to_match():
    assert get_args(Match) == get_args(MatchName)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("  Alien\t (1979) ", "alien (1979)"),
        ('"Alien."', "alien"),
        ('"Alien".', "alien"),
        ("\u201cAm\u00c9lie\u201d!", "am\u00e9lie"),
        ("\uff21lien\u2026", "alien"),  # a full-width A; an ellipsis, which NFKC makes three points of
        ("'Til Dawn", "'til dawn"),  # a single quote is no pair
        ("?", "?"),  # nothing would be left
        ('""', '""'),
        ("", ""),
    ],
)
def test_the_normal_form_of_a_title(text, form):
    assert normal_form(text) == form


@given(st.text())
def test_a_normal_form_is_its_own(text):
    assert normal_form(normal_form(text)) == normal_form(text)


def test_the_first_line_is_the_first_that_is_not_blank():
    assert first_line("\n \n Alien \nbecause you liked Aliens") == "Alien "
    assert first_line(" \n") == ""


TITLES = ["Alien", "Aliens", "Alien 3", "Heat"]


@pytest.mark.parametrize(
    ("answer", "equal", "substring", "line"),
    [
        ("Alien", 0, 0, 0),
        ("Aliens", 1, -1, -1),  # which holds Alien, too
        ("heat.", 3, -1, 3),
        ("Heat\nlike Alien", 3, -1, 3),
        ("I say Heat", -1, 3, 3),
        ("Heat and Alien", -1, -1, -1),
        ("Psycho", -1, -1, -1),
        ("", -1, -1, -1),
    ],
)
def test_an_answer_is_one_candidate_or_none(answer, equal, substring, line):
    assert [chosen(answer, TITLES, match) for match in get_args(Match)] == [equal, substring, line]


def test_equal_titles_and_empty_answers_are_no_candidate():
    assert chosen("Crash", ["Crash", "Crash", "Heat"]) == -1
    assert chosen("airplane", ["Airplane", "Airplane!"]) == -1
    assert chosen("", ["", "Heat"]) == -1


def test_lists_with_a_title_inside_another_are_told():
    assert nested(TITLES)
    assert nested(["Crash", "crash!"])
    assert not nested(["Alien", "Heat", "Psycho"])


@pytest.fixture
def judged(build_split, build_lists):
    """Test targets Title 3, Title 1, Title 5, and a catalog of six."""
    split = build_split([[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 4, 5]], items=6)
    lists = build_lists(split, [[3, 4, 5], [4, 1, 5], [1, 3, 5]], slot=[0, 1, 2])

    def judge(*answers, **options):
        return evaluate_generated(Says(*answers), split.cases("test"), lists, **options)

    return judge


@pytest.mark.parametrize("batch", [1, 2, 256])
def test_hits_and_valid_answers_by_hand(judged, batch):
    result = judged("title 3", "Title 4", "Title 0", batch=batch)
    assert result.picks.tolist() == [3, 4, -1]  # Title 0 is no candidate
    assert result.metrics["HitRatio@1"].tolist() == [1, 0, 0]
    assert result.metrics["ValidRatio"].tolist() == [1, 1, 0]
    assert result.figures["hits/valid (LLaRA)"].value == pytest.approx(1 / 2)
    assert result.answers == ("title 3", "Title 4", "Title 0")
    assert result.conditions["protocol"] == "gen3, written freely, uniform negatives"


def test_two_hundred_cases_as_the_papers_count_them():
    # N = 200, 180 valid, 72 hits: ours 72/200 = .36; LLaRA's hr 72/180 = .40, times ValidRatio .90 = .36
    hits, valid = np.zeros(200), np.zeros(200)
    hits[:72], valid[:180] = 1, 1
    found = ratio_interval(hits, valid, np.arange(200))
    assert found.value == pytest.approx(0.40)
    assert found.value * valid.mean() == pytest.approx(hits.mean()) == pytest.approx(0.36)
    # the delta method by hand: sqrt(r (1 - r) / valid) = sqrt(.24/180) = .0365
    assert found.error == pytest.approx(0.0365, rel=0.1)
    assert found.low < 0.40 < found.high


def test_the_share_of_valid_answers_that_hit_has_a_skewed_interval():
    hits, valid = np.zeros(200), np.zeros(200)
    hits[:2], valid[:40] = 1, 1
    found = ratio_interval(hits, valid, np.arange(200))
    assert found.value - found.low < found.high - found.value  # as Wilson's of 2 in 40, .014 to .165
    assert (found.low, found.high) == pytest.approx((0.014, 0.165), abs=0.03)


def test_where_all_valid_answers_hit_the_interval_is_not_a_point():
    # 4 users with two valid answers each, 4 without: Wilson's of 4 in 4, 1 / (1 + 1.96^2 / 4) = .510
    valid = np.repeat([1.0, 0.0], 8)
    found = ratio_interval(valid, valid, np.arange(16) // 2)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.510, abs=1e-3)
    none = ratio_interval(0 * valid, valid, np.arange(16) // 2)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.490, abs=1e-3)


def test_nothing_valid_is_no_division_by_nought(judged):
    result = judged("", "nothing", "Title 0")
    hr = result.figures["hits/valid (LLaRA)"]
    assert (hr.value, hr.low, hr.high) == (0, 0, 1)
    table = make_table({"parrot": result})
    assert table.rows[0].metrics["ValidRatio"].value == 0


def test_the_table_shows_both_ratios_and_is_mixed_with_no_other_protocol(judged):
    one, other = judged("Title 3", "Title 4", "Title 0"), judged("Title 3", "Title 1", "Title 5")
    table = make_table({"SFT": one, "NAPO": [other, one]}, base="SFT")
    assert {"HitRatio@1 [95 %]", "ValidRatio", "hits/valid (LLaRA) [95 %]"} <= set(table.header)
    assert "0 of 3 lists hold a title inside another" in table.notes
    with pytest.raises(UserError, match="differ in match"):
        make_table({"SFT": one, "NAPO": judged("a", "b", "c", match="substring")})


def test_a_model_trained_to_tell_titles_apart_is_said_to_be(judged):
    assert not any("normalize" in note for note in judged("a", "b", "c").notes)
    Says.normalize = "catalog"
    try:
        assert any("parrot was trained to tell titles apart" in note for note in judged("a", "b", "c").notes)
    finally:
        Says.normalize = "vocabulary"


def test_lists_of_other_cases_are_refused(judged, build_split, build_lists):
    split = build_split([[0, 1, 2, 3]], items=6)
    lists = build_lists(split, [[3, 4, 5]], slot=[0])
    with pytest.raises(UserError, match="another split or other cases"):
        evaluate_generated(Says("a"), split.cases("valid"), lists)


def test_titles_are_compared_as_the_catalog_has_them():
    catalog = Catalog(("a", "b"), ("Alien\nDirector's Cut", "Heat"))
    # a title with a line break can't be written on one line: it is matched with its blanks as one
    assert chosen("alien director's cut", catalog.titles) == 0
