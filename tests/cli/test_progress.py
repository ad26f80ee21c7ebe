import io

import pytest
from rich.console import Console

from napo.cli import _progress
from napo.cli._progress import Bars, in_words


@pytest.fixture
def screen(monkeypatch):
    """Where the bars are drawn, and whether it is a terminal."""

    def made(*, terminal: bool) -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr(_progress, "stderr", lambda: Console(file=written, force_terminal=terminal, width=120))
        return written

    return made


def test_without_a_terminal_there_is_a_line_each_half_minute_and_one_at_the_end(screen):
    written, now = screen(terminal=False), [0.0]
    with Bars(clock=lambda: now[0]) as bars:
        step = bars.stage("SFT")
        for done in range(1, 11):
            now[0] = 10.0 * done
            step(done, 10, {"loss": 1 / done})
    assert written.getvalue().splitlines() == [
        "SFT: 3 of 10  loss 0.3333",
        "SFT: 6 of 10  loss 0.1667",
        "SFT: 9 of 10  loss 0.1111",
        "SFT: 10 of 10  loss 0.1",
    ]


def test_a_terminal_has_a_bar_with_name_number_and_figures(screen):
    written = screen(terminal=True)
    with Bars() as bars:
        step = bars.stage("SFT")
        step(1, 2, {})
        step(2, 2, {"ndcg": 0.70123})
        bars.say("a word [between]")
    assert all(part in written.getvalue() for part in ("SFT", "2/2", "ndcg 0.7012", "a word [between]"))


def test_figures_are_short_and_few():
    assert in_words({"loss": 1.25349, "a": 1, "b": 2, "c": 3, "d": 4}) == "loss 1.253  a 1  b 2  c 3"
    assert in_words({}) == ""
