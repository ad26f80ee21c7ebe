"""The tutorial, as a new user goes through it: an installed package, MovieLens in its original form, three commands.

The log is that of every twentieth user, so that it takes a minute and not ten; the commands are the page's, as they
stand there.
"""

import csv
import json
import os
import re
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from napo.data.fetch import cached
from napo.data.formats.movielens import GENRES
from napo.errors import UserError
from tests.docs.commands import DOCS, block, napo_commands
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


@pytest.mark.slow
def test_a_new_user_gets_recommendations_in_three_commands(tmp_path):
    try:
        log, items = cached("ml-100k")
    except UserError:
        pytest.skip("no MovieLens-100K here: `napo data fetch ml-100k`")
    desk = tmp_path / "desk"
    desk.mkdir()
    original_form(log, items, desk, one_of=20)
    programs = installed(tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": f"{programs}:{env['PATH']}", "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}

    asked = [programs / "python", "-c", "import napo; print(napo.__file__)"]
    where = subprocess.check_output(asked, cwd=desk, env=env, text=True).strip()
    assert Path(where).is_relative_to(programs.parent)  # the wheel's, not this clone's
    inspect, train, serve = (list(one.words) for one in TUTORIAL)
    said = subprocess.run(inspect, cwd=desk, env=env, capture_output=True, text=True, check=True)
    assert "movielens" in said.stdout
    assert "min_rating: 4.0" in said.stdout
    said = subprocess.run(train, cwd=desk, env=env, capture_output=True, text=True, check=True)
    assert "training will take about" in said.stderr
    assert all(row in said.stdout for row in ("chance", "popularity", "SASRec", "SFT", "NAPO"))
    assert (desk / "runs" / "u" / "report.html").is_file()
    assert (desk / "runs" / "u.yaml").is_file()

    free = [] if _is_free(8000) else ["--port", "0"]  # another server of this machine may have it
    server = subprocess.Popen([*serve, *free], cwd=desk, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        (address,) = re.findall(r"at (http://[\w.:]+),", server.stdout.readline())
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"<title>napo" in page.read()
        asked = block("tutorial/index.md", "curl").replace("http://127.0.0.1:8000", address)
        answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout
        titles = [item["title"] for item in json.loads(answer)["items"]]
        assert len(titles) == 5
        assert "Alien (1979)" not in titles
    finally:
        server.terminate()
        assert server.wait(30) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
