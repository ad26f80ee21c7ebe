"""Addresses of databases: what they mean, and that no password is shown or kept."""

from pathlib import Path

import pytest

from napo.data.address import address_of, hidden, is_database, rooted, without_password
from napo.errors import UserError

URL = "postgresql://ann:s3cret@db.example:5432/shop?sslmode=require"


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("shop.db", "sqlite", "shop.db"),
        ("sqlite:///shop.db", "sqlite", "shop.db"),
        ("sqlite:////data/my%20shop.db", "sqlite", "/data/my shop.db"),
        ("duckdb:///shop.db", "duckdb", "shop.db"),
        ("data/shop.duckdb", "duckdb", "data/shop.duckdb"),
    ],
)
def test_a_file_goes_by_its_ending_or_by_a_url_of_three_or_four_slashes(text, kind, path):
    address = address_of(text)
    assert (address.kind, address.path) == (kind, Path(path))
    assert is_database(text)


def test_what_a_file_holds_is_stronger_than_its_ending(tmp_path):
    (tmp_path / "shop.db").write_bytes(bytes(8) + b"DUCK" + bytes(8))
    assert address_of(str(tmp_path / "shop.db")).kind == "duckdb"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_is_shown_without_user_and_password(scheme):
    address = address_of(URL.replace("postgresql", scheme))
    assert (address.kind, address.url) == ("postgresql", URL)
    assert address.shown == "db.example:5432/shop"
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    "text", ["log.csv", "mysql://u@h/x", "sqlite://shop.db", "postgresql://u:p/w@host/x", "postgresql://[::1/x"]
)
def test_what_is_no_address_is_refused_with_examples_or_a_remedy(text):
    with pytest.raises(UserError) as caught:
        address_of(text)
    assert caught.value.remedy
    assert "p/w" not in str(caught.value)


def test_what_is_kept_of_an_address_has_no_password_and_is_an_address_still():
    assert without_password(URL) == "postgresql://ann@db.example:5432/shop?sslmode=require"
    assert without_password("postgresql:///shop?user=ann&password=s3cret") == "postgresql:///shop?user=ann"
    assert without_password("data/shop.db") == "data/shop.db"


@pytest.mark.parametrize(
    "text",
    [
        f"napo train a.yaml data.database={URL}",
        "x postgresql://ann:s3cret@h@db/shop y",
        "postgresql:///shop?password=s3cret",
    ],
)
def test_no_password_is_left_in_a_text(text):
    assert "s3cret" not in hidden(text)
    assert "***" in hidden(text)


def test_a_librarys_message_loses_the_password_however_it_is_written():
    address = address_of("postgresql://ann:a%20b@db.example/shop")
    assert address.hide('unexpected spaces found in "a b", in a%20b') == 'unexpected spaces found in "***", in ***'


def test_paths_start_from_a_folder_and_servers_stay(tmp_path):
    assert rooted("shop.db", tmp_path) == str(tmp_path / "shop.db")
    assert address_of(rooted("sqlite:///a b.db", tmp_path)).path == tmp_path / "a b.db"
    assert rooted(URL, tmp_path) == URL
