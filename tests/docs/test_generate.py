"""The Python of docs/serving.md that generates titles, run as it stands there beside a run."""

from tests.docs.commands import block
from tests.recommenders import TITLES, small_recommender


def test_titles_alone_are_generated(tmp_path, monkeypatch):
    small_recommender().save(tmp_path / "runs" / "mine" / "model")
    monkeypatch.chdir(tmp_path)
    shown = []
    exec(block("serving.md", "generate_titles"), {"print": shown.append})
    held, own = shown
    assert len(held) >= 4
    assert len(own) in (1, 2)  # two films are called "Crash"
    assert {*held, *own} <= set(TITLES)
