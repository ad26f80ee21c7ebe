"""What the leak checks look at, and what one of them says.

Path    cases, candidate lists -> [evaluation.leaks.check] -> the checks -> table, report
Takes   the cases and lists that results were made with
Gives   LeakInputs; Check, one line each and as JSON; the figures that several checks are made of
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import stats

from napo.arrays import FloatArray
from napo.evaluation.metrics import hr_at
from napo.evaluation.ranks import candidate_ranks
from napo.evaluation.statistics import bootstrap_interval

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.data.split import Cases, Split

Word = Literal["ok", "WARN", "FAIL"]
About = Literal["lists", "prompt", "split", "scorer", "file"]


@dataclass(frozen=True)
class PromptText:
    """What a prompt says beside the candidates: its words, and the titles of the newest `max_history` items."""

    words: Sequence[str] = ()
    max_history: int | None = None  # None: all of them


@dataclass(frozen=True)
class LeakInputs:
    """What the checks look at. The two pairs of cases and lists belong to one split. prompt: None without a prompt."""

    valid_cases: Cases
    valid_lists: CandidateLists
    test_cases: Cases
    test_lists: CandidateLists
    prompt: PromptText | None = None

    @property
    def split(self) -> Split:
        return self.test_cases.split

    @property
    def chance(self) -> float:
        """HR@1 of a guess among the candidates: 1/C."""
        return 1 / int(self.test_lists.items.shape[1])


@dataclass(frozen=True)
class Check:
    """One check's outcome. about: what it would be that leaks; a table over the whole catalog has no lists."""

    name: str
    value: float | None  # None: nothing to measure
    verdict: Word
    interval: tuple[float, float] | None = None
    reference: Mapping[str, float] = field(default_factory=dict)  # what to read the value against, in the line's order
    note: str = ""  # why there was nothing to measure, or what to do about it
    scorer: str = ""  # the row that was asked, of checks about a scorer
    about: About = "lists"
    worst_of: int = 1  # so many runs of the row were asked, and this is the worst answer

    @property
    def title(self) -> str:
        """The check's name, and the row's where it is about one."""
        return f"{self.name}, {self.scorer}" if self.scorer else self.name

    @property
    def figure(self) -> str:
        """The value as text."""
        return "nothing to measure" if self.value is None else f"{self.value:.3f}"

    @property
    def beside(self) -> str:
        """The references as text."""
        return " ".join(f"{name} {_number(number)}" for name, number in self.reference.items())

    @property
    def line(self) -> str:
        """`name: value [interval] reference verdict`."""
        interval = f"[{self.interval[0]:.3f}, {self.interval[1]:.3f}]" if self.interval else ""
        said = [self.note, f"the worst of {self.worst_of} runs" if self.worst_of > 1 else ""]
        note = f"({'; '.join(filter(None, said))})" if any(said) else ""
        return f"{self.title}: {' '.join(filter(None, [self.figure, interval, self.beside, note, self.verdict]))}"

    def to_json(self) -> dict[str, Any]:
        """Everything, the line included."""
        return {**asdict(self), "reference": dict(self.reference), "line": self.line}


def leaked(checks: Sequence[Check]) -> bool:
    """Whether any check failed."""
    return any(check.verdict == "FAIL" for check in checks)


def worst_of_runs(checks: Sequence[Check]) -> list[Check]:
    """One check of each name and row: of several runs the worst, by verdict, then by value (less is better in all)."""
    runs: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        runs.setdefault((check.name, check.scorer), []).append(check)
    return [replace(max(same, key=_badness), worst_of=len(same)) for same in runs.values()]


def _badness(check: Check) -> tuple[int, float]:
    return get_args(Word).index(check.verdict), -np.inf if check.value is None else check.value


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


# --- what several checks are made of ------------------------------------------------------------------------------


def first_places(scores: FloatArray, lists: CandidateLists) -> FloatArray:
    """(cases,) 1 where a rule's scores (cases, C) put the target alone on top: ties are no hits, as for a model."""
    return hr_at(candidate_ranks(scores, lists.slot).worst, 1)


def share(hits: FloatArray, cases: Cases) -> tuple[float, tuple[float, float]]:
    """The mean of hits and misses, and its 95 % interval over users."""
    estimate = bootstrap_interval(hits, cases.units, proportion=True)
    return estimate.value, (estimate.low, estimate.high)


def one_sided_mcnemar(first: FloatArray, second: FloatArray) -> float:
    """p of "first hits no more often than second", from the cases where only one of them hits."""
    only_first, only_second = int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5, alternative="greater").pvalue)


def popularity_scores(inputs: LeakInputs) -> FloatArray:
    """(cases, C) training events of the test candidates."""
    return np.asarray(inputs.split.popularity[inputs.test_lists.items], dtype=np.float64)
