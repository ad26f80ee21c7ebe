"""MovieLens' own files, of the years 1998 to 2019, in the form that GroupLens gives them out."""

from tests.data.formats.reading import events, items

LATIN = "Misérables, Les (1995)"


def test_the_files_of_100k(tmp_path):
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t4\t891717742\n")
    flags = ["0"] * 19
    flags[8] = flags[18] = "1"
    row = ["73", LATIN, "01-Jan-1995", "", "http://us.imdb.com/M/title-exact?Mis%E9rables", *flags]
    (tmp_path / "u.item").write_bytes(("|".join(row) + "\n").encode("latin-1"))
    assert events(tmp_path / "u.data")[0] == {"user": "196", "item": "242", "rating": 3.0, "time": 881_250_949_000}
    assert items(tmp_path / "u.item") == [
        {"item": "73", "title": LATIN, "release_date": row[2], "imdb_url": row[4], "genres": "Drama|Western"}
    ]


def test_the_files_of_1m_and_10m(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3.5::978302109\n")
    films = f"1::Toy Story (1995)::Animation|Children's|Comedy\n73::{LATIN}::Drama|Musical\n"
    (tmp_path / "movies.dat").write_bytes(films.encode("latin-1"))
    assert [event["rating"] for event in events(tmp_path / "ratings.dat")] == [5.0, 3.5]
    assert items(tmp_path / "movies.dat")[1] == {"item": "73", "title": LATIN, "genres": "Drama|Musical"}


def test_a_copy_that_was_turned_into_utf_8_is_read_as_such(tmp_path):
    (tmp_path / "movies.dat").write_text(f"73::{LATIN}::Drama\n", encoding="utf-8")
    assert items(tmp_path / "movies.dat")[0]["title"] == LATIN


def test_the_files_of_the_later_years(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n")
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n307,"Blue, Three Colors: (1993)",Drama\n')
    assert events(tmp_path / "ratings.csv") == [
        {"user": "1", "item": "307", "rating": 3.5, "time": 1_256_677_221_000},
    ]
    assert items(tmp_path / "movies.csv") == [{"item": "307", "title": "Blue, Three Colors: (1993)", "genres": "Drama"}]
