import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from napo import Filter
from napo.cli import main


@pytest.fixture
def asked(monkeypatch):
    calls = {}

    class Recommender:
        # no text is a title or a key as it stands
        catalog = SimpleNamespace(of_title=lambda text: [], index={})

        @classmethod
        def load(cls, run):
            calls["run"] = str(run)
            return cls()

        def recommend(self, history, **options):
            calls.update(history=history, **options)
            return SimpleNamespace(table=lambda show: "a list", to_json=lambda: [1])

    module = ModuleType("napo.serving.recommender")
    module.Recommender = Recommender
    monkeypatch.setitem(sys.modules, "napo.serving.recommender", module)
    return calls


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_a_history_is_given_title_by_title_or_in_one_text(asked, capsys):
    assert (
        run("recommend", "runs/napo", "--history", "Alien; Heat (1995)", "--history", "Good, Bad (1966)", "-k", "3")
        == 0
    )
    titles = ["Alien", "Heat (1995)", "Good, Bad (1966)"]
    expected = {"run": "runs/napo", "user": None, "history": titles, "k": 3, "exclude_seen": True, "filter": Filter()}
    assert asked == expected
    assert capsys.readouterr().out == "a list\n"


def test_a_user_needs_no_history(asked):
    words = ["--include-seen", "--where", "genre=War", "--where", "year>=1990"]
    assert run("recommend", "runs/napo", "--user", "u07", *words) == 0
    filter = Filter(["genre=War", "year>=1990"])
    expected = {"user": "u07", "history": None, "k": 10, "exclude_seen": False, "filter": filter}
    assert asked == {"run": "runs/napo", **expected}


def test_an_empty_title_is_an_empty_history(asked, capsys):
    assert run("recommend", "runs/napo", "--history", "", "--json") == 0
    assert asked["history"] == []
    assert json.loads(capsys.readouterr().out) == [1]


@pytest.mark.parametrize("words", [[], ["--user", "u07", "--history", "Alien"]])
def test_a_user_or_a_history_not_both_and_not_neither(asked, words, capsys):
    assert run("recommend", "runs/napo", *words) == 2
    assert "one of the two" in capsys.readouterr().err
    assert asked == {}


def test_the_demo_is_quick_unless_told_otherwise(monkeypatch):
    asked = []
    module = ModuleType("napo.demo")
    module.run_demo = lambda *, full, seeds, **_: asked.append((full, seeds))
    monkeypatch.setitem(sys.modules, "napo.demo", module)
    assert (run("demo"), run("demo", "--full", "--seeds", "3")) == (0, 0)
    assert asked == [(False, 1), (True, 3)]
