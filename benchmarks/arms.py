"""The arms of a case, each in a process of its own, run in turn.

Path    a benchmark -> [arms] -> record
Takes   the benchmark's module, names of arms, a case (plain data)
Gives   Measured: seconds of every kept step, peak memory, what the arm computed

A benchmark's module has  arm(name, case) -> step;  step() does the work once and returns a function that says what
came out: read when the clock has stopped, and only when asked. This file and the benchmarks import nothing heavy on
top: a child's peak memory starts where the parent's stood.
"""

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from napo.processor import multiplies_bfloat16

Case = Mapping[str, Any]
Outcome = dict[str, list[float]]  # what is compared between arms, and how many units a step has done
Step = Callable[[], Callable[[], Outcome]]
ENOUGH = 30.0  # seconds of rounds


class ArmFailed(Exception):
    """An arm's process ended early, or a model was not to be had. The message says why."""


@dataclass
class Measured:
    """One arm. seconds: of wall clock, cpu: of processor time of all threads; a number for each kept step.

    baseline_gb: peak resident memory once model and data are loaded. peak_gb: the same at the end.
    """

    outcome: Outcome
    baseline_gb: float
    peak_gb: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def extra_gb(self) -> float:
        """What the step itself needs."""
        return self.peak_gb - self.baseline_gb


def measure(module: str, arms: Sequence[str], case: Case, *, steps: int, threads: int | None) -> dict[str, Measured]:
    """Two rounds of warm-up, the first of which is also asked what came out; then `steps` rounds, all arms in turn.

    Short steps vary most: there are more rounds, at most ten times as many, until they have taken ENOUGH seconds.
    """
    if case.get("model") == "smollm2":
        _bring_smollm2()
    running: dict[str, _Child] = {}
    try:
        for name in arms:
            running[name] = _Child(module, name, case, threads)
        found = {}
        for name, child in running.items():
            loaded = child.ask("load")
            found[name] = Measured(child.ask("look")["outcome"], loaded["peak_gb"])
        kept, spent = -1, 0.0
        while kept < steps or (spent < ENOUGH and kept < 10 * steps):
            for name, child in running.items():
                said = child.ask("step")
                spent += said["seconds"]
                if kept >= 0:
                    found[name].seconds.append(said["seconds"])
                    found[name].cpu.append(said["cpu"])
                    found[name].peak_gb = said["peak_gb"]
            kept += 1
        return found
    finally:
        for child in running.values():
            child.end()


def fast_dtype() -> str:
    """bfloat16 where the processor has instructions for it."""
    return "bfloat16" if multiplies_bfloat16() else "float32"


def ratios(slow: Measured, fast: Measured, what: str = "seconds") -> list[float]:
    """slow / fast of each round: neighbours in time, so a busy machine slows both."""
    return [a / b for a, b in zip(getattr(slow, what), getattr(fast, what), strict=True)]


def difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Relative: |one - other| / |other|, Euclidean."""
    assert len(one) == len(other), f"{len(one)} numbers against {len(other)}"
    size = sum(b * b for b in other) ** 0.5
    return float(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 / size)


@cache
def _bring_smollm2() -> None:
    """Unpacking it takes more memory than any arm; so that happens before, once, and elsewhere."""
    code = "from napo.models.smollm import smollm2_135m_instruct; smollm2_135m_instruct()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArmFailed((done.stderr.strip().splitlines() or ["SmolLM2 is not to be had"])[-1])


class _Child:
    def __init__(self, module: str, name: str, case: Case, threads: int | None) -> None:
        self.said = f"{module} {name}"
        env = {**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
        if threads:
            env["OMP_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.arms", module, name, json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=Path(__file__).parent.parent,
        )

    def ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise ArmFailed(f"{self.said} ended early") from error
        line = self.process.stdout.readline()
        if not line:
            raise ArmFailed(f"{self.said} ended early (code {self.process.wait()}; -9 is out of memory)")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise ArmFailed(answer["failed"])
        return answer

    def end(self) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.close()
            self.process.wait(timeout=60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()


def peak_gb() -> float:
    """Peak resident memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes, but on a Mac bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _serve(module: str, name: str, case: Case) -> None:
    """The child: answers `load`, `look` and `step` with a line of JSON each, until its input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not come between
    step: Step | None = None
    for line in sys.stdin:
        answer: dict[str, Any] = {}
        if line.strip() == "load":
            step = importlib.import_module(module).arm(name, case)
        else:
            assert step is not None
            began, cpu_began = time.perf_counter(), time.process_time()
            look = step()
            answer = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu_began}
            if line.strip() == "look":
                answer["outcome"] = look()
        print(json.dumps({**answer, "peak_gb": peak_gb()}), file=answers, flush=True)


def _main() -> None:
    from napo.errors import UserError

    module, name, case = sys.argv[1:]
    answers = sys.stdout
    try:
        _serve(module, name, json.loads(case))
    except UserError as error:
        print(json.dumps({"failed": str(error)}), file=answers, flush=True)


if __name__ == "__main__":
    _main()
