"""The tutorial, as a new user goes through it: an installed package, MovieLens in its original form, three commands.

The log is that of every twentieth user, so that it takes a minute and not ten; the commands are the page's, as they
stand there, and with the CSV that the page names in the place of `u.data`. A browser looks at what comes of them.
"""

import csv
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from napo.data.fetch import cached, fetch
from napo.data.formats.movielens import GENRES
from tests.docs.commands import DOCS, block, napo_commands
from tests.serving.http.browser import browsing
from tests.wheels import installed

TUTORIAL = napo_commands(DOCS / "tutorial" / "index.md")


def original_form(log: Path, items: Path, folder: Path, *, one_of: int) -> None:
    """u.data and u.item as GroupLens writes them, from RecBole's files; of one user in `one_of`."""
    with log.open(encoding="utf-8") as file:
        _, *events = csv.reader(file, delimiter="\t")
    kept = ["\t".join(event) + "\n" for event in events if int(event[0]) % one_of == 0]
    (folder / "u.data").write_text("".join(kept), encoding="utf-8")
    with items.open(encoding="utf-8", newline="") as file:
        _, *films = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    lines = []
    for key, title, year, genres in films:
        flags = "|".join(str(int(genre in genres.split(" "))) for genre in GENRES)
        lines.append(f"{key}|{title} ({year})|01-Jan-{year}||http://us.imdb.com/M/title-exact?{key}|{flags}\n")
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1", "replace"))


def test_the_tutorial_is_three_commands():
    assert [one.words[:2] for one in TUTORIAL] == [("napo", "data"), ("napo", "train"), ("napo", "serve")]


def odd_columns(log: Path, folder: Path, *, one_of: int) -> None:
    """The same events as a shop's CSV: German names, semicolons, no titles."""
    with log.open(encoding="utf-8") as file:
        _, *events = csv.reader(file, delimiter="\t")
    with (folder / "shop.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["kunde", "artikel", "sterne", "datum"])
        for user, item, stars, time in events:
            if int(user) % one_of == 0:
                rows.writerow([f"K{user}", f"A{item}", stars, datetime.fromtimestamp(float(time), UTC).isoformat()])


@pytest.fixture(scope="module")
def movielens(tmp_path_factory):
    """RecBole's two files, brought by pip: (log, items)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        fetch("ml-100k")
        yield cached("ml-100k")


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """The environment of somebody who has installed napo, and has no clone of it."""
    programs = installed(tmp_path_factory.mktemp("installed"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": f"{programs}:{env['PATH']}", "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    asked = [programs / "python", "-c", "import napo; print(napo.__file__)"]
    where = subprocess.check_output(asked, cwd=programs, env=env, text=True).strip()
    assert Path(where).is_relative_to(programs.parent)  # the wheel's, not this clone's
    return env


@pytest.mark.slow
def test_a_new_user_gets_recommendations_in_three_commands(movielens, env, tmp_path):
    original_form(*movielens, tmp_path, one_of=20)
    inspect, train, serve = (list(one.words) for one in TUTORIAL)
    said = done(inspect, tmp_path, env)
    assert "movielens" in said.stdout
    assert "min_rating: 4.0" in said.stdout
    said = done(train, tmp_path, env)
    assert "training will take about" in said.stderr
    assert all(row in said.stdout for row in ("chance", "popularity", "SASRec", "SFT", "NAPO"))
    assert (tmp_path / "runs" / "u" / "report.html").is_file()
    assert (tmp_path / "runs" / "u.yaml").is_file()
    with listening(serve, tmp_path, env) as address:
        asked = block("tutorial/index.md", "curl").replace("http://127.0.0.1:8000", address)
        answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout
        titles = [item["title"] for item in json.loads(answer)["items"]]
        assert len(titles) == 5
        assert "Alien (1979)" not in titles
        shown = recommended(address, typed="star wa", picked="Star Wars (1977)")
        assert len(shown) == 10
        assert "Star Wars (1977)" not in shown


@pytest.mark.slow
def test_a_csv_with_odd_columns_and_no_titles_does_as_well(movielens, env, tmp_path):
    odd_columns(movielens[0], tmp_path, one_of=60)
    inspect, train, serve = (" ".join(one.words).replace(" --items u.item", "") for one in TUTORIAL)
    said = done(inspect.replace("u.data", "shop.csv").split(), tmp_path, env)
    assert all(name in said.stdout for name in ("kunde", "artikel", "sterne", "datum"))
    done(train.replace("u.data", "shop.csv").split(), tmp_path, env)
    with listening(serve.split(), tmp_path, env) as address:
        shown = recommended(address, typed="A5", picked="A50")
        assert len(shown) == 10
        assert all(re.fullmatch(r"A\d+", title) for title in shown)
        assert "A50" not in shown


def done(words: list[str], desk: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    said = subprocess.run(words, cwd=desk, env=env, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return said


@contextmanager
def listening(serve: list[str], desk: Path, env: dict[str, str]) -> Iterator[str]:
    """The address of the server, which has to end well."""
    free = [] if _is_free(8000) else ["--port", "0"]  # another server of this machine may have it
    server = subprocess.Popen([*serve, *free], cwd=desk, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        (address,) = re.findall(r"at (http://[\w.:]+),", server.stdout.readline())
        yield address
    finally:
        server.terminate()
        assert server.wait(30) == 0


def recommended(address: str, *, typed: str, picked: str) -> list[str]:
    """The titles that the page lists for somebody who types, and picks one of what is found."""
    with browsing(address) as page:
        page.get_by_role("combobox", name="Title", exact=True).press_sequentially(typed)
        page.get_by_role("option", name=picked, exact=True).click()
        page.get_by_role("button", name=f"Remove {picked}", exact=True).wait_for()
        page.wait_for_function("() => !document.querySelector('[aria-busy]')")  # the list has followed
        assert page.wrong == []
        shown: list[str] = page.locator(".list .title").all_inner_texts()
        return shown


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
