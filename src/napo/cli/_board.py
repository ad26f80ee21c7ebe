"""The cells of a sweep as a person sees them: a live table on a terminal, else a line for each that begins or ends.

Path    experiments.runner -> [cli._board] -> stderr
"""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from napo.cli._console import stderr

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from napo.experiments.plan import Cell, Plan


class Cells:
    """A Board. All of it may be called from several threads."""

    def __init__(self, plan: "Plan") -> None:
        self._console = stderr()
        self._total = len({cell.key for cell in plan.cells})
        self._done, self._failed = 0, 0
        self._running: dict[str, tuple[Cell, float, str]] = {}
        self._lock, self._began = threading.Lock(), time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begins(self, cell: "Cell") -> None:
        with self._lock:
            self._running[cell.key] = (cell, time.monotonic(), "starting")
        if self._live is None:
            self._say(f"begins: {_name(cell)}")

    def goes_on(self, cell: "Cell", stage: str, done: int, total: int) -> None:
        with self._lock:
            _, began, _ = self._running[cell.key]
            self._running[cell.key] = (cell, began, f"{stage} {done:,} of {total:,}")

    def says(self, cell: "Cell", text: str) -> None:
        """What a run says of itself is kept with its cell; here it would drown the others."""

    def ends(self, cell: "Cell", seconds: float, failure: str | None) -> None:
        with self._lock:
            self._running.pop(cell.key, None)
            self._done += failure is None
            self._failed += failure is not None
            done = self._done + self._failed
        word = "done" if failure is None else "FAILED"
        self._say(f"{word}: {_name(cell)}, {seconds:,.0f} s ({done} this time, of {self._total} cells in all)")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> "Table":
        from rich.table import Table

        minutes = (time.monotonic() - self._began) / 60
        table = Table(title=f"{self._done} done, {self._failed} failed, of {self._total} cells; {minutes:.0f} minutes")
        for name in ("row", "data", "seed", "seconds", "at"):
            table.add_column(name)
        with self._lock:
            for cell, began, at in self._running.values():
                seconds = f"{time.monotonic() - began:,.0f}"
                table.add_row(cell.row, cell.data, str(cell.seed), seconds, at)
        return table


def _name(cell: "Cell") -> str:
    return f"{cell.row}, {cell.data}, seed {cell.seed}"
