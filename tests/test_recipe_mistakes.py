"""pydantic's errors in words, of a small model of its own."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from napo.recipe_mistakes import mistakes_of, remedy_for, shown
from napo.recipe_reading import Mistake, Place, Places
from napo.settings import Strict


class Inner(Strict):
    base: Annotated[float, Field(ge=0)] = 1.0
    only: int = 0


class Outer(Strict):
    name: str
    margin: Inner | None = None
    per: Literal["batch", "example"] = "batch"
    even: int = 2

    @model_validator(mode="after")
    def _is_even(self) -> "Outer":
        if self.even % 2:
            raise ValueError("`even` must be even")
        return self


PLACES = Places({("o",): Place("r.yaml", Path(), 3), ("o", "margin"): Place("r.yaml", Path(), 4)})


def mistakes(data: dict) -> list[Mistake]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    return mistakes_of(caught.value, Outer, PLACES, prefix=("o",), of="objective outer")


def test_an_unknown_key_is_answered_with_near_misses_and_all_keys():
    (found,) = mistakes({"name": "x", "evven": 2})
    assert found == Mistake(
        "unknown key `o.evven`", PLACES["o",], "`even` (keys of objective outer: even, margin, name, per)"
    )


def test_an_unknown_key_of_a_section_is_answered_with_the_sections_keys():
    (found,) = mistakes({"name": "x", "margin": {"bsae": 2}})
    assert (found.what, found.place) == ("unknown key `o.margin.bsae`", PLACES["o", "margin"])
    assert found.remedy == "`base` (keys of `o.margin`: base, only)"


def test_the_right_word_in_the_wrong_section_is_answered_with_the_right_section():
    (found,) = mistakes({"name": "x", "only": 2})
    assert found.remedy == "`o.margin.only`"


def test_each_mistake_is_said():
    found = mistakes({"margin": {"base": -1}, "per": "batsh"})
    assert [mistake.what for mistake in found] == [
        "`o.name` is missing",
        "`o.margin.base` is -1, but should be at least 0",
        '`o.per` cannot be "batsh"',
    ]
    assert found[2].remedy == "`batch` (one of: batch, example)"


def test_a_validators_own_words_are_kept():
    assert [mistake.what for mistake in mistakes({"name": "x", "even": 3})] == ["`o`: `even` must be even"]


def test_a_remedy_without_near_misses_is_all_the_names():
    assert remedy_for("zzz", ["b", "a"], "keys") == "keys: a, b"


def test_values_are_shown_as_typed_and_cut_where_long():
    assert shown(True) == "true"
    assert shown(None) == "null"
    assert shown("Amélie") == '"Amélie"'
    assert shown("x" * 100) == '"' + "x" * 56 + "..."
