"""What columns with unknown names are, and the section of a recipe that comes of it."""

import random
from pathlib import Path

import pytest

from napo.data.propose import propose_columns, propose_rest
from napo.data.source import DataSettings, load_source
from napo.errors import UserError

TITLES = [f"The long film, part {number}" for number in range(12)]


def rows():
    """Ten customers who buy six films each."""
    chance = random.Random(3)
    for customer in range(10):
        for step, film in enumerate(chance.sample(range(12), 6)):
            yield customer + 100, film + 7000, f"{1 + chance.randrange(9) / 2:.1f}", 1_700_000_000 + 60 * step


def write(folder: Path, header: str, line: str, separator: str = ",") -> DataSettings:
    """A log whose lines are made of c (customer), f (film), t (title), s (stars), w (when), n (the row's number)."""
    lines = [header]
    for number, (customer, film, stars, when) in enumerate(rows()):
        parts = {"c": customer, "f": film, "t": f'"{TITLES[film - 7000]}"', "s": stars, "w": when, "n": 55_000 + number}
        lines.append(separator.join(str(parts[letter]) for letter in line))
    path = folder / "my.csv"
    path.write_text("\n".join(lines) + "\n")
    return DataSettings(interactions=path, untitled="id")


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        ("user,item,time", "cfw", {}),  # names tell
        ("kunde,artikel,datum", "cfw", {"user": "kunde", "item": "artikel", "time": "datum"}),
        ("sterne;kunde;film;titel;bestellt_am", "scftw",
         {"rating": "sterne", "user": "kunde", "item": "film", "title": "titel", "time": "bestellt_am"}),
        ("a,b,c,d", "cftw", {"user": "a", "item": "b", "title": "c", "time": "d"}),  # by what is in them alone
        ("d,c,b,a", "wtfc", {"user": "a", "item": "b", "title": "c", "time": "d"}),
        ("order,x,y", "ncf", {"user": "x", "item": "y"}),  # what never comes again is no id
        ("who,movie_title,when", "ctw", {"user": "who", "item": "movie_title", "time": "when"}),
        ("user,film_id,film_name,viewed_on", "cftw", {"item": "film_id", "title": "film_name", "time": "viewed_on"}),
    ],
)  # fmt: skip
def test_columns_are_told_by_names_of_many_tongues_and_by_what_is_in_them(tmp_path, header, line, expected):
    settings = write(tmp_path, header, line, ";" if ";" in header else ",")
    proposal = propose_columns(settings)
    assert proposal.settings.columns.model_dump(exclude_unset=True) == expected
    assert len(proposal.reasons) == len(expected)
    log = load_source(proposal.settings)
    assert (len(log.user_keys), len(log.catalog), log.frame.height) == (10, 12, 60)
    if "t" in line:
        assert set(log.catalog.titles) == set(TITLES)


def test_what_was_said_stays_and_is_not_guessed_anew(tmp_path):
    settings = write(tmp_path, "a,b,c,d", "cftw")
    said = DataSettings(interactions=settings.interactions, columns={"user": "b", "item": "a"})
    told = propose_columns(said).settings.columns
    assert (told.user, told.item, told.title, told.time) == ("b", "a", "c", "d")
    wrong = DataSettings(interactions=settings.interactions, columns={"user": "nobody"})
    with pytest.raises(UserError, match="no column 'nobody'"):
        propose_columns(wrong)


def test_a_column_of_votes_is_no_rating_unless_it_is_called_so(tmp_path):
    settings = write(tmp_path, "user,item,amount", "cfs")
    assert propose_columns(settings).settings.columns.model_fields_set == set()


def test_the_rating_from_which_an_event_is_liked_is_four_fifths_of_the_highest(tmp_path):
    proposal = propose_columns(write(tmp_path, "user,item,rating", "cfs"))
    rest = propose_rest(proposal, load_source(proposal.settings))
    assert rest.min_rating == 4.0  # of 1 to 5 in halves
    assert "of at most 5" in rest.reasons[-1]


def test_without_ratings_or_with_one_value_every_event_is_liked(tmp_path):
    proposal = propose_columns(write(tmp_path, "user,item,time", "cfw"))
    assert propose_rest(proposal, load_source(proposal.settings)).min_rating is None


def test_counts_are_no_scale(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("user,item,rating\n" + "".join(f"u{n % 3},i{n},{n * n}\n" for n in range(9)))
    proposal = propose_columns(DataSettings(interactions=path, untitled="id"))
    rest = propose_rest(proposal, load_source(proposal.settings))
    assert rest.min_rating is None
    assert "no scale that we know" in rest.reasons[0]


def test_the_sections_hold_what_is_not_the_default_with_paths_from_the_recipes_folder(tmp_path):
    proposal = propose_columns(write(tmp_path, "kunde,artikel,datum", "cfw"))
    assert proposal.sections(tmp_path / "recipes") == {
        "data": {
            "interactions": "../my.csv",
            "columns": {"user": "kunde", "item": "artikel", "time": "datum"},
            "untitled": "id",
        }
    }
