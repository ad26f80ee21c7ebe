"""Run the cells of a plan that are not done, some at a time, and bring what is done into the store.

Path    experiments.plan -> [experiments.runner] -> experiments.cell (a process each) -> experiments.store
Takes   Plan, the folder for cells and store, how many cells at a time
Gives   Outcomes; a cell that fails or is killed costs nobody else anything, and is tried again next time

Cells that share a start (supervised stage, auxiliary recommender) wait until the first of them is trained: once.
"""

import contextlib
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from napo.evaluation.runs import RECIPE
from napo.experiments.cell import CELL, CELLS, DONE, PLANNED, cell_process
from napo.experiments.plan import Cell, Plan
from napo.files import write_aside
from napo.recipe_reading import to_yaml
from napo.training.kept_files import rooted

# asked in the usual way, whether there is a GPU, the server that processes are copied from could give them none
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
# processes that start as copies of one that has imported everything: a short cell is not half imports
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["napo.experiments.cell"])


class Board(Protocol):
    """Whoever shows how far a sweep is."""

    def begins(self, cell: Cell) -> None: ...
    def goes_on(self, cell: Cell, stage: str, done: int, total: int) -> None: ...
    def says(self, cell: Cell, text: str) -> None: ...
    def ends(self, cell: Cell, seconds: float, failure: str | None) -> None: ...


@dataclass
class Outcomes:
    """By cell key. failed: with the last lines that the cell's process said."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # were done before
    failed: dict[str, str] = field(default_factory=dict)


def run_plan(plan: Plan, out: Path, board: Board, *, jobs: int = 1, minutes: float | None = None) -> Outcomes:
    """Run what is not done yet. On Ctrl-C the running cells keep a checkpoint, and KeyboardInterrupt goes on up.

    minutes: after so long no cell is begun.
    """
    unique = list({cell.key: cell for cell in plan.cells}.values())
    outcomes = Outcomes(kept=[cell.key for cell in unique if is_done(out, cell)])
    # what methods lean on comes first: one that trained SASRec in its own process would seem to need more memory
    waiting = sorted((cell for cell in unique if cell.key not in outcomes.kept), key=lambda cell: cell.kind == "model")
    for cell in waiting:
        _plan_cell(out, cell)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))  # the processes' share
    queue = _Queue(waiting, until=None if minutes is None else time.monotonic() + 60 * minutes)
    workers = [threading.Thread(target=_work, args=(queue, out, board, outcomes)) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:  # the children have had it too, and keep a checkpoint
        queue.close()
        for worker in workers:
            worker.join()
        raise
    return outcomes


def is_done(out: Path, cell: Cell) -> bool:
    return (out / CELLS / cell.key / DONE).is_file()


def _plan_cell(out: Path, cell: Cell) -> None:
    folder = out / PLANNED / cell.key
    with write_aside(folder / RECIPE) as aside:
        aside.write_text(to_yaml(rooted(cell.recipe).resolved()), encoding="utf-8")
    with write_aside(folder / CELL) as aside:
        said = {name: getattr(cell, name) for name in ("kind", "row", "method", "data", "seed")}
        aside.write_text(json.dumps(said, default=str), encoding="utf-8")


class _Queue:
    """Cells in order; one whose start is being made by another cell waits until that has been trained."""

    def __init__(self, cells: Sequence[Cell], until: float | None = None) -> None:
        self._waiting, self._until = list(cells), until
        self._making: dict[str, str] = {}  # start -> the cell that makes it
        self._made: set[str] = set()
        self._changed = threading.Condition()

    def take(self) -> Cell | None:
        """The next cell that can run, waiting for one if need be; None when none is left."""
        with self._changed:
            while self._waiting and (self._until is None or time.monotonic() < self._until):
                for place, cell in enumerate(self._waiting):
                    if cell.start in self._made or cell.start not in self._making:
                        self._making.setdefault(cell.start, cell.key)
                        return self._waiting.pop(place)
                self._changed.wait(1.0)
            return None

    def ended(self, cell: Cell, well: bool) -> None:
        """Nobody need wait for the cell any longer: it has been trained, or has come to its end."""
        with self._changed:
            if self._making.get(cell.start) == cell.key:
                del self._making[cell.start]  # where it failed, the next one makes it
                if well:
                    self._made.add(cell.start)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()


def _work(queue: _Queue, out: Path, board: Board, outcomes: Outcomes) -> None:
    while (cell := queue.take()) is not None:
        began = time.monotonic()
        board.begins(cell)
        failure = _run(cell, out, board, trained=partial(queue.ended, cell, well=True))
        if failure is None:
            outcomes.done.append(cell.key)
        else:
            outcomes.failed[cell.key] = failure
        queue.ended(cell, failure is None)
        board.ends(cell, time.monotonic() - began, failure)


def _run(cell: Cell, out: Path, board: Board, trained: Callable[[], None]) -> str | None:
    """Run one cell's process; None, or why it did not come to its end. trained: called when it only judges still."""
    log = out / PLANNED / cell.key / "said.txt"
    mine, its = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=cell_process, args=(out, cell.key, log, its), name=cell.key)
    process.start()
    its.close()  # or the end of the process would not be the end of what it says
    with contextlib.suppress(EOFError):
        while True:
            match mine.recv():
                case (stage, done, total):
                    board.goes_on(cell, stage, done, total)
                case None:
                    trained()
                case text:
                    board.says(cell, text)
    process.join()
    if process.exitcode == 0 and is_done(out, cell):
        return None
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    code = process.exitcode or 0
    why = "\n".join(said[-8:] if code == 2 else said[-3:]) or "no word"
    return f"{f'killed by signal {-code}' if code < 0 else f'exit code {code}'}: {why}\n  in    {log}"
