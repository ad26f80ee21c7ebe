"""What a refresh cost, and what it brought against the run that it went on from, on the newest events.

Path    a finished Run with `refresh`, its results -> [training.before] -> training.report, refresh.json
Takes   both models' results on the same cases
Gives   Refreshed: cost, gains as paired differences with intervals, sentences; no key of a user

Cases are the test events that the earlier run did not know. Where the target is an item that it did not have, it could
not have named it: that counts as a miss, and these cases are told apart.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.arrays import BoolArray
from napo.evaluation.earlier import Earlier, judge_earlier
from napo.evaluation.judge import full_cases_of
from napo.evaluation.paired import sign_flip_p
from napo.evaluation.results import FullResult, Result
from napo.evaluation.runs import MODEL
from napo.evaluation.statistics import Estimate, bootstrap_interval
from napo.evaluation.table_text import p_value
from napo.files import write_aside
from napo.models.language import open_folder
from napo.training.processes import device
from napo.training.trainer import memory_gb

if TYPE_CHECKING:
    from napo.training.run import Run

BEFORE, REFRESH = "before the refresh", "refresh.json"
_WHERE = {"full": "over the whole catalog"}
_WHICH = {"all": "", "known": " whose target the run before could name", "new": " whose target is an item new to it"}


def judge_before(run: "Run") -> dict[str, Result]:
    """The earlier run's final model on the run's test cases, by protocol; not where titles are written freely."""
    recipe, prepared = run.recipe, run.prepared
    assert recipe.refresh is not None and prepared.news is not None
    language = open_folder(recipe.refresh.run / MODEL)
    language.model.to(device())  # type: ignore[arg-type]
    scorer = Earlier(language.ranker(), prepared.news.known_items, BEFORE)
    section = recipe.evaluation
    ranked = [name for name in section.protocols if name != "gen20" and not (name == "full" and section.nearest)]
    asked: dict[str, Any] = {"prompt": recipe.prompt.kind, "ks": section.ks, "full_cases": section.full_cases}
    return {name: judge_earlier(scorer, prepared, name, **asked) for name in ranked}


@dataclass(frozen=True)
class Gain:
    """The refreshed model against the earlier one. which: `all` cases, or those of `known` or of `new` targets."""

    protocol: str
    metric: str
    which: str
    cases: int
    users: int
    before: float
    after: float
    difference: Estimate
    p: float

    @property
    def line(self) -> str:
        """`On the newest 120 cases of 30 users, HR@1 among 20 candidates went from 0.250 to 0.300: +0.050 [...]`."""
        where = _WHERE.get(self.protocol, "among 20 candidates" if self.protocol == "cand20" else self.protocol)
        change = self.difference
        head = f"On the newest {self.cases:,} cases of {self.users:,} users" if self.which == "all" else "Of these"
        told = "" if self.which == "all" else f" the {self.cases:,}{_WHICH[self.which]}"
        return (
            f"{head}{told}, {self.metric} {where} went from {self.before:.3f} to {self.after:.3f}:"
            f" {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}], p {p_value(self.p)}."
        )


@dataclass(frozen=True)
class Refreshed:
    """run: the earlier run's name. counts: what was new. seconds: by stage. memory_gb: the most at any time."""

    run: str
    counts: dict[str, int]
    seconds: dict[str, float]
    steps: int
    memory_gb: float
    gains: tuple[Gain, ...]

    @classmethod
    def of(cls, run: "Run", name: str, results: Mapping[str, Mapping[str, Sequence[Result]]]) -> "Refreshed":
        """name: the row of the run's final model. results: by protocol and row."""
        recipe, news = run.recipe, run.prepared.news
        assert recipe.refresh is not None and news is not None
        seconds = {"SASRec": run.auxiliary_seconds} if run.auxiliary_seconds else {}
        seconds |= {outcome.stage: outcome.seconds for outcome in run.outcomes.values()}
        kept = run.prepared.log.counts.get("items_kept_from_before", 0)
        return cls(
            run=recipe.refresh.run.name,
            counts={**news.counts(), "items_kept_from_before": kept},
            seconds={stage: round(spent, 1) for stage, spent in seconds.items()},
            steps=sum(outcome.steps for outcome in run.outcomes.values()),
            memory_gb=round(max([memory_gb(), *_memory(run.stages.values())]), 2),
            gains=tuple(gain for protocol, rows in results.items() for gain in _gains(run, protocol, name, rows)),
        )

    @property
    def lines(self) -> list[str]:
        """Sentences: what was new, what it cost, what it brought."""
        new = self.counts
        stayed = new["items_kept_from_before"]
        total = sum(self.seconds.values())
        stages = ", ".join(f"{one} {spent:,.0f}" for one, spent in self.seconds.items())
        return [
            f"This run goes on from {self.run}: {new['new_users']:,} users, {new['new_items']:,} items and"
            f" {new['new_interactions']:,} interactions are new, {new['interactions_known_before']:,} it knew."
            + (f" {stayed:,} items that are not among those given now stay in the catalog." if stayed else ""),
            f"It took {total:,.0f} s of training ({stages}), {self.steps:,} steps and at most {self.memory_gb:.1f} GB.",
            *(gain.line for gain in self.gains),
        ]

    def save(self, folder: Path) -> None:
        """Write refresh.json."""
        with write_aside(folder / REFRESH) as aside:
            aside.write_text(json.dumps({**asdict(self), "lines": self.lines}, indent=1), encoding="utf-8")


def _gains(run: "Run", protocol: str, name: str, rows: Mapping[str, Sequence[Result]]) -> list[Gain]:
    if BEFORE not in rows or name not in rows:
        return []
    (before,), (after,) = rows[BEFORE], rows[name]
    news, cases = run.prepared.news, run.prepared.test
    assert news is not None
    if isinstance(after, FullResult):
        cases = full_cases_of(run.prepared, run.recipe.evaluation.full_cases).take(after.cases)
    is_new = np.array([news.is_new[user][at] for user, at in zip(cases.user, cases.position, strict=True)], dtype=bool)
    nameable = after.targets < news.known_items
    parts: dict[str, BoolArray] = {"all": is_new, "known": is_new & nameable, "new": is_new & ~nameable}
    if not parts["new"].any():
        parts = {"all": is_new}
    metric = after.headline
    ours, theirs = after.metrics[metric], before.metrics[metric]
    return [
        Gain(
            protocol,
            metric,
            which,
            cases=int(mine.sum()),
            users=len(np.unique(after.users[mine])),
            before=float(theirs[mine].mean()),
            after=float(ours[mine].mean()),
            difference=bootstrap_interval(ours[mine] - theirs[mine], after.users[mine]),
            p=sign_flip_p(ours[mine] - theirs[mine], after.users[mine]),
        )
        for which, mine in parts.items()
        if mine.any()
    ]


def _memory(stages: Iterable[Path]) -> list[float]:
    """What each stage's log says of memory."""
    files = [folder / "metrics.jsonl" for folder in stages]
    lines = [json.loads(line) for file in files if file.is_file() for line in file.read_text().splitlines()]
    return [float(line["memory_gb"]) for line in lines if "memory_gb" in line]
