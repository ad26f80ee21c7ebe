"""The commands of the how-to pages, run in order as they stand there, in a folder with the files that the pages name.

tests/docs/desk.py has that folder. The tutorial's commands have a test of their own.
"""

import shutil

import pytest

from tests.commands import napo_in
from tests.docs.commands import DOCS, napo_commands
from tests.docs.desk import BEFORE, lay_out

# by their first words; each is run small elsewhere
ELSEWHERE = {
    ("napo", "serve"): "goes on until it is stopped: tests/docs/test_tutorial.py, tests/serving/http/test_serve.py",
    ("napo", "reproduce"): "trains for minutes to hours: tests/end_to_end/test_own_comparison.py",
}
PAGES_ELSEWHERE = {
    "search.md": "trains sixteen times: tests/experiments/test_search_trains.py",
    "experiments.md": "sweeps train for minutes to hours: tests/experiments/test_runner.py and test_page.py",
}


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    desk = tmp_path_factory.mktemp("desk") / "desk"
    desk.mkdir()
    lay_out(desk)
    return desk


def test_every_how_to_page_with_commands_is_run_or_says_why_not():
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    how_to = navigation.partition("- How-to:")[2].partition("- Reference:")[0]
    pages = [path.name for path in DOCS.glob("*.md") if f" {path.name}\n" in how_to and napo_commands(path)]
    assert sorted(pages) == sorted([*BEFORE, *PAGES_ELSEWHERE])


@pytest.mark.slow
@pytest.mark.parametrize("page", BEFORE)
def test_a_pages_commands_do_what_they_say(page, laid_out, tmp_path):
    desk = tmp_path / "desk"
    shutil.copytree(laid_out, desk)
    done = 0
    for place, command in enumerate(napo_commands(DOCS / page)):
        BEFORE[page].get(place, lambda desk: None)(desk)
        if command.words[:2] in ELSEWHERE:
            continue
        ran = napo_in(desk)(*command.words[1:])
        assert ran.code == 0, f"{command}\n{ran.err}"
        done += 1
    assert done
