"""What a benchmark says: a table for people, a line of JSON for later.

Path    arms -> [record] -> results/NAME.jsonl
Takes   Measured arms, ratios and their limits
Gives   a printed table; one line a case with machine, versions and commit; whether all limits held
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.arms import Case, Measured
from napo import __version__

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "peft", "numpy")


@dataclass(frozen=True)
class Ratio:
    """A figure that has, or has not, a limit. spread: lowest and highest of the rounds, where there are several."""

    name: str
    value: float
    spread: tuple[float, float] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of(cls, name: str, rounds: Sequence[float], **limit: float | None) -> "Ratio":
        """The median of the rounds."""
        return cls(name, statistics.median(rounds), (min(rounds), max(rounds)), **limit)

    @property
    def held(self) -> bool | None:
        """None where there is no limit."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        text = f"{self.name} {self.value:.3g}"
        if self.spread:
            text += f" ({self.spread[0]:.3g} to {self.spread[1]:.3g})"
        for word, limit in (("at least", self.at_least), ("at most", self.at_most)):
            if limit is not None:
                text += f", {word} {limit:.3g}: {'held' if self.held else 'MISSED'}"
        return text


@dataclass(frozen=True)
class Options:
    """What every benchmark can be told. steps: kept rounds. model: the only one whose cases are run; None: all."""

    quick: bool
    steps: int
    threads: int | None
    results: Path | None
    model: str | None = None

    def chosen(self, cases: Iterable[Case]) -> Iterator[Case]:
        return (case for case in cases if self.model in (None, case["model"]))


def options(question: str, argv: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="few cases and rounds; nothing is recorded")
    parser.add_argument("--steps", type=int, help="rounds kept of each case (7; quick: 3)")
    parser.add_argument("--threads", type=int, help="threads of each arm (torch's own choice)")
    parser.add_argument("--results", type=Path, help=f"folder to append the results to ({RESULTS.name}/)")
    parser.add_argument("--model", choices=("tiny", "smollm2"), help="run the cases with this model alone")
    given = parser.parse_args(argv)
    steps = given.steps or (3 if given.quick else 7)
    results = given.results or (None if given.quick else RESULTS)
    if results is not None and steps < 5:
        parser.error("a record needs 5 rounds or more: --steps 5, or --quick without --results")
    return Options(given.quick, steps, given.threads, results, given.model)


class Record:
    """Takes in a case after the other; at the end, whether all limits held."""

    def __init__(self, name: str, question: str, options: Options) -> None:
        self.name, self.options = name, options
        self.missed: list[str] = []
        print(f"{name}: {question}\n", flush=True)

    def add(self, case: Mapping[str, Any], arms: Mapping[str, Measured], ratios: Sequence[Ratio]) -> None:
        print(", ".join(f"{name} {value}" for name, value in case.items()))
        print(f"  {'arm':<12}{'median s':>10}{'low':>9}{'high':>9}{'cpu s':>9}{'peak GB':>9}{'loaded':>9}{'extra':>9}")
        for name, arm in arms.items():
            figures = (arm.median, min(arm.seconds), max(arm.seconds), statistics.median(arm.cpu))
            memory = (arm.peak_gb, arm.baseline_gb, arm.extra_gb)
            cells = f"{figures[0]:>10.3f}" + "".join(f"{figure:>9.3f}" for figure in (*figures[1:], *memory))
            print(f"  {name:<12}{cells}")
        for ratio in ratios:
            print(f"  {ratio}")
            if ratio.held is False:
                self.missed.append(f"{ratio} [{', '.join(map(str, case.values()))}]")
        print(flush=True)
        if self.options.results is not None:
            self._append(case, arms, ratios)

    def skip(self, case: Mapping[str, Any], reason: str) -> None:
        """A case that could not be run counts as missed."""
        print(", ".join(f"{name} {value}" for name, value in case.items()) + f"\n  not run: {reason}\n", flush=True)
        self.missed.append(f"not run [{', '.join(map(str, case.values()))}]")

    def finish(self) -> int:
        """The exit code: 1 where a limit was missed."""
        print("all limits held" if not self.missed else "\n".join(["missed:", *self.missed]), flush=True)
        return 1 if self.missed else 0

    def _append(self, case: Mapping[str, Any], arms: Mapping[str, Measured], ratios: Sequence[Ratio]) -> None:
        line = {
            "benchmark": self.name,
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            "threads": self.options.threads,
            "case": dict(case),
            "arms": {name: _figures(arm) for name, arm in arms.items()},
            "ratios": [{**asdict(ratio), "held": ratio.held} for ratio in ratios],
        }
        assert self.options.results is not None
        self.options.results.mkdir(parents=True, exist_ok=True)
        with (self.options.results / f"{self.name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _figures(arm: Measured) -> dict[str, Any]:
    return {
        "median": arm.median,
        "seconds": [round(seconds, 4) for seconds in arm.seconds],
        "cpu": [round(seconds, 4) for seconds in arm.cpu],
        "peak_gb": round(arm.peak_gb, 3),
        "baseline_gb": round(arm.baseline_gb, 3),
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system; no name that tells whose it is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": platform.system(),
        "load": load,
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "napo": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The commit that is checked out, with a + where files differ from it."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", *words]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        return (head or "none") + ("+" if git("status", "--porcelain", "--", "..", ":!results") else "")
    except FileNotFoundError:
        return "unknown"


def must_agree(what: str, difference: float, at_most: float) -> None:
    """Two arms that compute different things can't be compared: the run ends."""
    if not difference <= at_most:
        sys.exit(f"the arms differ in {what} by {difference:.2e} of its size, and at most {at_most:g} is rounding")
