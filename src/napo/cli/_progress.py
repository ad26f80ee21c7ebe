"""Bars for a person, lines for a log file: how far a stage is, and the figures that say how it goes.

Path    training, evaluation -> [cli._progress] -> stderr
Takes   the name of a stage, then (done, of how many, the latest figures) at every step
Gives   one bar a stage on a terminal; else a line each half minute and one at the end
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from napo.cli._console import stderr

if TYPE_CHECKING:
    from rich.progress import Progress

Step = Callable[[int, int, Mapping[str, float]], None]

HALF_A_MINUTE = 30.0


class Bars:
    """What training draws its progress on; `with Bars() as bars:` takes the bars away at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = stderr(), clock
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = _rich_bars(self)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def stage(self, name: str) -> Step:
        """Begins a stage; what is given back is to be called at every step."""
        return self._lines(name) if self._bars is None else self._bar(name, self._bars)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _bar(self, name: str, bars: "Progress") -> Step:
        task = bars.add_task(name, total=None, figures="", rate="")
        begun, first = self._clock(), list[int]()

        def step(done: int, total: int, figures: Mapping[str, float]) -> None:
            first[:] = first or [done]  # a resumed stage begins in the middle: what was done before took no time
            seconds = self._clock() - begun
            rate = f"{(done - first[0]) / seconds:.1f}/s" if seconds > 0 and done > first[0] else ""
            bars.update(task, completed=done, total=total, figures=in_words(figures), rate=rate)

        return step

    def _lines(self, name: str) -> Step:
        said = [self._clock()]

        def step(done: int, total: int, figures: Mapping[str, float]) -> None:
            now = self._clock()
            if done >= total or now - said[0] >= HALF_A_MINUTE:
                said[0] = now
                self.say(f"{name}: {done:,} of {total:,}  {in_words(figures)}".rstrip())

        return step


def in_words(figures: Mapping[str, float]) -> str:
    """`loss 1.253  ndcg 0.7012`, at most four of them."""
    return "  ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:4])


def _rich_bars(bars: Bars) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=bars._console,
    )
