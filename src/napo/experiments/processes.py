"""Work side by side, each piece in a process of its own, with one progress for all.

Path    experiments.search -> [experiments.processes] -> training
Takes   a function that takes `progress`, and what else to call it with, once for each piece
Gives   what the calls gave, in their order
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from queue import Empty, Queue
from typing import Any, TypeVar

import torch

from napo.training.run import Progress

Result = TypeVar("Result")
Step = Callable[[int, int, dict[str, float]], None]
SECONDS_BETWEEN_STEPS = 0.5


def side_by_side(
    work: Callable[..., Result], calls: Sequence[Mapping[str, Any]], jobs: int, progress: Progress
) -> list[Result]:
    """`work(**call, progress=...)` for each call, at most `jobs` at a time; with one job, in this process.

    work, calls, results: such as can be pickled. The first error ends what has not begun, and is raised when the
    others have ended.
    """
    jobs = min(jobs, len(calls))
    if jobs <= 1:
        return [work(**call, progress=progress) for call in calls]
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads, and their locks
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        told = manager.Queue()
        futures = [pool.submit(_work, work, call, told, jobs) for call in calls]
        shown = _Shown(progress)
        try:
            while wait(futures, timeout=SECONDS_BETWEEN_STEPS, return_when=FIRST_EXCEPTION).not_done:
                shown.take(told)
                if any(future.done() and future.exception() for future in futures):
                    break
        finally:
            pool.shutdown(cancel_futures=True)
            shown.take(told)
        failed = [future for future in futures if future.done() and not future.cancelled() and future.exception()]
        return [future.result() for future in failed or futures]


def _work(work: Callable[..., Result], call: Mapping[str, Any], told: "Queue[Any]", jobs: int) -> Result:
    """In the other process."""
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    return work(**call, progress=_Told(told))


class _Told:
    """Progress of another process: all is told to the one that has the terminal."""

    def __init__(self, told: "Queue[Any]") -> None:
        self.told = told
        self.stages = 0

    def say(self, text: str) -> None:
        self.told.put(("say", text))

    def stage(self, name: str) -> Step:
        self.stages += 1
        key, parent = (os.getpid(), self.stages), multiprocessing.parent_process()
        self.told.put(("stage", key, name))
        last = [0.0]

        def step(done: int, total: int, figures: dict[str, float]) -> None:
            if parent is not None and not parent.is_alive():
                os._exit(1)  # it was killed: who calls again would else wait for a search that nobody sees
            if done >= total or time.monotonic() - last[0] >= SECONDS_BETWEEN_STEPS:
                last[0] = time.monotonic()
                self.told.put(("step", key, done, total, dict(figures)))

        return step


class _Shown:
    """Hands on what the other processes have told."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.steps: dict[Any, Step] = {}

    def take(self, told: "Queue[Any]") -> None:
        while True:
            try:
                what, *rest = told.get_nowait()
            except Empty:
                return
            if what == "say":
                self.progress.say(*rest)
            elif what == "stage":
                key, name = rest
                self.steps[key] = self.progress.stage(name)
            else:
                key, *figures = rest
                self.steps[key](*figures)
