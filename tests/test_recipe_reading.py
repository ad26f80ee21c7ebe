"""YAML as layers: YAML 1.2's plain words, lines, and what lies over what."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from napo.errors import UserError, UserErrors
from napo.recipe_reading import (
    Layer,
    Mistake,
    Place,
    Places,
    Reading,
    laid_over,
    raise_all,
    read_file,
    read_layers,
    read_override,
    to_yaml,
)

# what YAML gives a meaning to, what it takes for the end of a line, and what is none of that
words = st.text("ae\u00e9 .:#-'\"\n\r\t\x85\u2028~10{}[]&*!|>%@`,?=", max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def layer_of(text: str, tmp_path: Path) -> Layer:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return read_file(path, Reading())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-3", 0.001),  # PyYAML alone: text
        ("1.5E+2", 150.0),
        ("-.5", -0.5),
        ("no", "no"),  # PyYAML alone: false
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),  # PyYAML alone: 750
        ("2024-01-01", "2024-01-01"),  # PyYAML alone: a date
        ("010", 10),  # PyYAML alone: 8
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ('"7"', "7"),
        ("-.inf", float("-inf")),
        ("!!str 7", "7"),
    ],
)
def test_plain_words_are_read_as_yaml_1_2_has_them(written, read, tmp_path):
    found = layer_of(f"key: {written}", tmp_path).data["key"]
    assert found == read
    assert type(found) is type(read)


def test_every_key_has_the_line_it_stands_in(tmp_path):
    layer = layer_of("# a recipe\na:\n  b: 1\n  c: {d: 2,\n    e: [3,\n      4]}\n", tmp_path)
    lines = {".".join(key): place.line for key, place in layer.places.items()}
    assert lines == {"": None, "a": 2, "a.b": 3, "a.c": 4, "a.c.d": 4, "a.c.e": 5, "a.c.e.0": 5, "a.c.e.1": 6}


def test_a_key_that_is_not_there_has_the_place_of_the_section_around_it(tmp_path):
    places = layer_of("a:\n  b: 1\nc:\n  d: 1\n", tmp_path).places
    assert [place.line if (place := places.of(key)) else 0 for key in [("c", "x", "y"), ("c", "d"), ("z",)]] == [
        3,
        4,
        None,
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1", encoding="utf-8-sig")
    assert read_file(tmp_path / "recipe.yaml", Reading()).data == {"seed": 1}


def test_an_anchor_may_be_used_again(tmp_path):
    assert layer_of("a: &x {b: 1}\nc: *x\n", tmp_path).data == {"a": {"b": 1}, "c": {"b": 1}}


def test_an_override_is_a_layer_with_the_command_line_as_its_place():
    layer = read_override("sft.temperature={name: adaptive}", Reading())
    assert layer.data == {"sft": {"temperature": {"name": "adaptive"}}}
    assert str(layer.places[("sft", "temperature", "name")]) == "command line, `sft.temperature={name: adaptive}`"


def test_an_overrides_value_may_hold_an_equals_sign():
    assert read_override("data.interactions=a=b.csv", Reading()).data == {"data": {"interactions": "a=b.csv"}}


def over(below: dict, top: dict) -> dict:
    return laid_over(Layer(below, Places()), Layer(top, Places()), {("m",): lambda key: key != "name"}).data


@pytest.mark.parametrize(
    ("below", "top", "both"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"m": {"name": "one", "x": 1}}, {"m": {"name": "two"}}, {"m": {"name": "two"}}),
        ({"m": {"name": "one", "x": 1}}, {"m": {"name": "one"}}, {"m": {"name": "one", "x": 1}}),
        ({"other": {"name": "one", "x": 1}}, {"other": {"name": "two"}}, {"other": {"name": "two", "x": 1}}),
    ],
)
def test_what_lies_on_top_wins_key_by_key(below, top, both):
    assert over(below, top) == both


@given(below=st.dictionaries(st.text("ab"), plain), top=st.dictionaries(st.text("ab"), plain))
def test_laying_the_same_on_top_again_changes_nothing(below, top):
    once = over(below, top)
    assert over(once, top) == once


def test_what_was_replaced_has_lost_its_places(tmp_path):
    here = Place("base.yaml", tmp_path, 1)
    below = Layer({"a": {"x": 1}}, Places({("a",): here, ("a", "x"): here}))
    layer = laid_over(below, Layer({"a": None}, Places()), {})
    assert ("a", "x") not in layer.places


@given(data=st.dictionaries(words, plain, max_size=3))
def test_yaml_that_we_write_reads_back_equal_here_and_in_yaml_1_1(data, tmp_path_factory):
    text = to_yaml(data)
    path = tmp_path_factory.mktemp("yaml") / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_file(path, Reading()).data == data
    assert yaml.safe_load(text) == data


def test_layers_lie_in_order_base_recipe_overrides(tmp_path):
    (tmp_path / "base.yaml").write_text("a: 1\nb: 1\nc: 1\n")
    (tmp_path / "recipe.yaml").write_text("extends: base.yaml\nb: 2\nc: 2\n")
    assert read_layers(tmp_path / "recipe.yaml", ["c=3"], {}, Reading()).data == {"a": 1, "b": 2, "c": 3}


def test_mistakes_are_raised_together_in_the_order_of_their_lines(tmp_path):
    mistakes = [Mistake("late", Place("r.yaml", tmp_path, 10)), Mistake("early", Place("r.yaml", tmp_path, 9))]
    with pytest.raises(UserErrors) as caught:
        raise_all(mistakes)
    assert [error.what for error in caught.value.errors] == ["early", "late"]


def test_one_mistake_is_raised_as_it_is_and_none_not_at_all(tmp_path):
    raise_all([])
    with pytest.raises(UserError, match="alone") as caught:
        raise_all([Mistake("alone", Place("r.yaml", tmp_path, 1), "a remedy")])
    assert (caught.value.where, caught.value.remedy) == ("r.yaml, line 1", "a remedy")
