"""The commands of README and of the pages of docs/, run in order as they stand there, in a folder with what they name.

tests/docs/desk.py has that folder, tests/docs/typed.py types. What is not run stands here, with its reason: a command
that a page gets new runs, or is written down.
"""

import shutil

import pytest

from tests.docs.commands import ROOT, all_commands, pages
from tests.docs.desk import BEFORE, lay_out
from tests.docs.typed import Terminal
from tests.serving.http.served import Starter

PAGES_NOT_RUN = {
    "docs/tutorial/index.md": "runs from an installed package: tests/docs/test_tutorial.py",
    "docs/results/benchmarks.md": "benchmarks want a quiet machine; `napo` and `python` begin rows of tables",
    "docs/results/sasrec.md": "trains other libraries in environments of their own, for hours",
}
# by their first words
NOT_RUN = {
    "make test": "runs this",
    "make demo": "is `napo demo`",
    "napo demo": "MovieLens-100K for a quarter of an hour; on a small log: tests/test_demo.py",
    "python3 -m venv": "what the Makefile does before any test",
    "pip install": "brings packages from a registry; the Makefile does before any test",
    "docker": "wants a Docker daemon, which there is none of in CI",
}
# by page and first words: what is typed behind them, so that it takes seconds
SMALLER = {
    ("README.md", "napo train"): ("sft.epochs=1", "preference.epochs=0.5"),
    ("README.md", "napo compare"): ("--seeds", "2"),
    ("README.md", "napo reproduce"): ("--seeds", "1"),
    ("docs/experiments.md", "napo sweep"): ("--seeds", "1"),
    ("docs/experiments.md", "napo reproduce"): ("--seeds", "1"),
    ("docs/own-objective.md", "napo reproduce"): ("--seeds", "1"),
    ("docs/search.md", "napo compare"): ("--seeds", "2"),
}
TOKEN = "token of somebody who types"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    desk = tmp_path_factory.mktemp("desk") / "desk"
    desk.mkdir()
    lay_out(desk)
    return desk


@pytest.fixture(scope="module")
def starter():
    one = Starter()
    yield one
    one.close()


def begins_with(command, words):
    return [command.program, *command.words[1:]][: len(words.split())] == words.split()


def test_every_page_with_commands_is_run_or_says_why_not():
    commands = {str(page.relative_to(ROOT)): all_commands(page) for page in pages()}
    assert sorted(page for page in commands if commands[page]) == sorted([*BEFORE, *PAGES_NOT_RUN])
    run = [command for page in BEFORE for command in commands[page]]
    for words in NOT_RUN:  # none of these is there for nothing, and none of them hides a whole page
        assert any(begins_with(command, words) for command in run), words
    for page in BEFORE:
        assert not all(any(begins_with(command, words) for words in NOT_RUN) for command in commands[page])
    for page, words in SMALLER:
        assert any(begins_with(command, words) for command in commands[page])


@pytest.mark.slow
@pytest.mark.parametrize("page", BEFORE)
def test_a_pages_commands_do_what_they_say(page, laid_out, request, tmp_path):
    desk = tmp_path / "desk"
    shutil.copytree(laid_out, desk, symlinks=True)
    commands = [one for one in all_commands(ROOT / page) if not any(begins_with(one, words) for words in NOT_RUN)]
    env = {"NAPO_TOKEN": TOKEN} if any("$NAPO_TOKEN" in one.text for one in commands) else {}
    with Terminal(desk, lambda: request.getfixturevalue("starter"), env) as terminal:
        for place, command in enumerate(commands):
            BEFORE[page].get(place, lambda desk: None)(desk)
            more = [added for (on, words), added in SMALLER.items() if on == page and begins_with(command, words)]
            terminal.type(command, *more)
