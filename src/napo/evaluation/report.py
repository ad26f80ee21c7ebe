"""The report of a run or a comparison: one HTML file that needs nothing else, and its pictures as PNG.

Path    table, plots, what the run wrote -> [evaluation.report] -> report.html, plots/*.png
Takes   ReportData: plain text, numbers and arrays, put together by whoever ran it
Gives   report.html, made whole before a byte of it is written; equal data give equal bytes

What a reader must not overlook stands first: the verdicts in words, and LEAKED where a leak check failed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napo.evaluation import report_page as html
from napo.evaluation.leaks import QUESTIONS, Check
from napo.evaluation.leaks.check import Word
from napo.evaluation.plot_style import DARK, LIGHT, Style, png, styles_for
from napo.evaluation.plots import Deciles, HitRates, TrainingLog
from napo.evaluation.report_pictures import Picture, judged_pictures, stage_pictures
from napo.evaluation.table_text import with_interval
from napo.files import write_aside

if TYPE_CHECKING:
    from napo.evaluation.table import ResultTable

REPORT, PLOTS = "report.html", "plots"
_STAGES = {"sft": "Supervised stage", "preference": "Preference stage"}  # as a run names their folders
_PROTOCOLS = {
    "cand20": "Among 20 candidates",
    "full": "Over the whole catalog",
    "gen20": "Titles written freely, among 20 candidates",
    "legacy": "Among the data's own lists",
}
_MANY_NOTES = 10
_MANY_RUNS = 8  # from here on their table is folded


# --- what it is made from ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportTable:
    """A table as text. methods: the plain name of each row."""

    heading: str  # begins with LEAKED where a check failed
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    methods: Sequence[str]
    metric: str = ""  # that the rows are compared by
    notes: Sequence[str] = ()
    checks: Sequence[Check] = ()

    @classmethod
    def of(cls, table: ResultTable) -> ReportTable:
        # the verdicts stand on top of the page, the checks in a part of their own
        elsewhere = {*table.verdicts, *(check.line for check in table.checks), *(one.line for one in table.groups)}
        notes = [line for line in table.footer if line not in elsewhere]
        methods = [row.name for row in table.rows]
        return cls(table.heading, table.header, table.body, methods, table.metric, notes, table.checks)

    @property
    def leaked(self) -> bool:
        return self.heading.startswith("LEAKED")


@dataclass(frozen=True)
class GroupTable:
    """One metric by groups of cases: a row a group, a column a method; a mean may hide who pays for it."""

    heading: str  # `HR@1 by how much a user has taken`
    groups: Sequence[str]
    counts: Sequence[str]  # `1,204 cases, 310 users`
    methods: Sequence[str]
    body: Sequence[Sequence[str]]  # (groups, methods), `0.400 [0.380, 0.420]`
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, table: ResultTable) -> list[GroupTable]:
        """One for each way of grouping, with the gap between the best and the worst group below."""
        return [
            cls(
                f"{one.metric} of {one.name}",
                one.labels,
                [f"{cases:,} cases, {users:,} users" for cases, users in zip(one.cases, one.users, strict=True)],
                [row.name for row in one.rows],
                [[with_interval(row.groups[place]) for row in one.rows] for place in range(len(one.labels))],
                [one.line, *one.side.notes],
            )
            for one in table.groups
        ]


@dataclass(frozen=True, eq=False)
class Judged:
    """One protocol's table and what is drawn beside it. name: the protocol."""

    name: str
    table: ReportTable
    hit_rates: Sequence[HitRates] = ()
    deciles: Deciles | None = None
    groups: Sequence[GroupTable] = ()


@dataclass(frozen=True, eq=False)
class StageRun:
    """One stage of one run. group: stages that are drawn together. label: where a method has several runs."""

    name: str
    group: str
    start: Mapping[str, float]  # step, ndcg, hr@1
    best: Mapping[str, float]
    last: Mapping[str, float]
    steps: int
    seconds: float
    log: TrainingLog
    label: str = ""
    verdict: str = ""  # in words

    @classmethod
    def read(cls, name: str, group: str, folder: Path, label: str = "") -> StageRun:
        """From a stage's outcome.json and metrics.jsonl."""
        said = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        log = TrainingLog.of(name, map(json.loads, lines), best=int(said["best"]["step"]))
        looks = {look: said[look] for look in ("start", "best", "last")}
        rest = {key: said[key] for key in ("steps", "seconds", "verdict")}
        return cls(name, group, **looks, **rest, log=log, label=label)


def read_stages(runs: Iterable[tuple[str, int, Mapping[str, Path]]]) -> list[StageRun]:
    """The stages of (name, seed, folders by stage: sft, preference); one that several runs share is read once."""
    runs = list(runs)
    several = len({seed for _, seed, _ in runs}) > 1
    found: dict[Path, StageRun] = {}
    for name, seed, folders in runs:
        for stage, folder in folders.items():
            shown = "SFT" if stage == "sft" else name
            label = f"{shown}, seed {seed}" if several else shown
            if folder not in found:
                found[folder] = StageRun.read(shown, _STAGES.get(stage, stage), folder, label)
    return list(found.values())


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report says. command: what makes it again."""

    title: str
    command: str
    verdicts: Sequence[str] = ()  # sentences, on top
    judged: Sequence[Judged] = ()
    stages: Sequence[StageRun] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by heading: what was read and left out
    notes: Sequence[str] = ()  # sentences about the data
    settings: Mapping[str, str] = field(default_factory=dict)  # by recipe: resolved YAML
    made_with: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by heading: versions, hashes, machine

    @property
    def methods(self) -> list[str]:
        """Every name that is drawn or stands in a table."""
        tables = [name for one in self.judged for name in one.table.methods]
        drawn = [rate.name for one in self.judged for rate in one.hit_rates]
        grouped = [name for one in self.judged for table in one.groups for name in table.methods]
        favoured = [name for one in self.judged if one.deciles for name in one.deciles.recommended]
        return list(dict.fromkeys([*tables, *drawn, *grouped, *favoured, *(stage.name for stage in self.stages)]))


# --- the file ------------------------------------------------------------------------------------------------------


def write_report(report: ReportData, folder: Path) -> Path:
    """Write folder/report.html and folder/plots/*.png, and give the path of the page.

    Everything is drawn before anything is written, and each file takes its name when it is whole.
    Raises UserError where the folder can't be written.
    """
    styles = styles_for(report.methods)
    pictures = _pictures(report, styles)
    images: dict[str, bytes] = {}
    shown: dict[str, list[str]] = {}
    for part, drawn in pictures.items():
        shown[part] = []
        for one in drawn:
            light, dark = png(one.draw(LIGHT)), png(one.draw(DARK))
            images[_free(one.file, images)] = light
            shown[part].append(html.picture(one.heading, one.caption, one.alt, light, dark))
    whole = html.page(report.title, _parts(report, shown, styles)).encode("utf-8")
    for name, image in images.items():
        with write_aside(folder / PLOTS / f"{name}.png") as aside:
            aside.write_bytes(image)
    with write_aside(folder / REPORT) as aside:
        aside.write_bytes(whole)
    return folder / REPORT


def _pictures(report: ReportData, styles: Mapping[str, Style]) -> dict[str, list[Picture]]:
    """By the part of the page they stand in."""
    found = {
        f"judged {place}": judged_pictures(one.name, one.table.metric, one.hit_rates, one.deciles, styles)
        for place, one in enumerate(report.judged)
    }
    for group in dict.fromkeys(stage.group for stage in report.stages):
        found[group] = stage_pictures(group, [one.log for one in report.stages if one.group == group], styles)
    return found


def _free(name: str, taken: Container[str]) -> str:
    """The name, or, where two protocols come to the same one, the next that is free."""
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def _parts(report: ReportData, shown: Mapping[str, list[str]], styles: Mapping[str, Style]) -> list[str]:
    """The page, in the order in which it is read."""
    leaked = [title_of(one.name) for one in report.judged if one.table.leaked]
    checks = list({check.line: check for one in report.judged for check in one.table.checks}.values())
    failed = ", ".join(dict.fromkeys(check.title for check in checks if check.verdict == "FAIL"))
    alarm = (
        f"LEAKED: {', '.join(leaked)}. {f'The leak check of {failed} failed' if failed else 'A leak check failed'}:"
        " something else than the user's taste may find the target, and no figure of this protocol says how well a"
        " method recommends."
    )
    counted = [html.facts(name, _in_words(counts)) for name, counts in report.counts.items()]
    made_with = [html.facts(name, pairs) for name, pairs in report.made_with.items()]
    return [
        html.paragraph(alarm, "alarm") if leaked else "",
        html.verdicts(report.verdicts),
        *(judged_part(one, shown[f"judged {place}"], styles) for place, one in enumerate(report.judged)),
        html.section("Can the figures be trusted?", trusted(checks)),
        *(_stages(report, group, shown[group]) for group in dict.fromkeys(stage.group for stage in report.stages)),
        html.section(
            "What was read, what was left out",
            html.side_by_side(counted, "facts"),
            html.items(report.notes, "notes"),
        ),
        html.section("Settings", *(html.folded(name, html.code(yaml)) for name, yaml in report.settings.items())),
        html.section("Make it again", html.command(report.command), html.side_by_side(made_with, "facts")),
    ]


def judged_part(
    judged: Judged, pictures: list[str], styles: Mapping[str, Style], *more: str, heading: str = "", anchor: str = ""
) -> str:
    """A protocol's table with its pictures. more: HTML below them. heading: empty: the protocol's."""
    table = judged.table
    colours = [styles[name].colour for name in table.methods]
    return html.section(
        heading or title_of(judged.name),
        html.results(table.heading, table.header, table.body, colours, "bad" if table.leaked else "heading"),
        _beside(_notes(table.notes), pictures),
        *(_groups(table, styles) for table in judged.groups),
        *more,
        anchor=anchor,
    )


def _notes(notes: Sequence[str]) -> str:
    """Those of many rows and seeds are much alike: behind the first the others are folded."""
    first, more = html.items(notes[:_MANY_NOTES], "notes"), notes[_MANY_NOTES:]
    return html.block(first, html.folded(f"{len(more)} notes more", html.items(more, "notes"))) if more else first


def _groups(table: GroupTable, styles: Mapping[str, Style]) -> str:
    rows = zip(table.groups, table.counts, table.body, strict=True)
    named = [(name, styles[name].colour) for name in table.methods]
    return html.by_group(table.heading, named, list(rows)) + html.items(table.notes, "notes")


def trusted(checks: Sequence[Check]) -> str:
    """How many checks passed; those that did not, with what they ask; the others folded."""
    if not checks:
        return ""
    said: dict[Word, str] = {"FAIL": "failed", "WARN": "to be read with care", "ok": "passed"}
    asked: dict[Word, dict[str, list[str]]] = {word: {} for word in said}
    for check in checks:
        figures = check.line.removesuffix(f" {check.verdict}")
        asked[check.verdict].setdefault(QUESTIONS.get(check.name, check.name), []).append(figures)
    words = Counter(check.verdict for check in checks)
    counted = ", ".join(f"{words[word]} {meaning}" for word, meaning in said.items() if words[word])
    lines = {word: [(word, question, figures) for question, figures in asked[word].items()] for word in said}
    passed = html.folded(f"{words['ok']} passed", html.checks(lines["ok"])) if words["ok"] else ""
    lead = html.paragraph(f"{len(checks)} leak checks: {counted}.", "lead")
    return lead + html.checks([*lines["FAIL"], *lines["WARN"]]) + passed


def _stages(report: ReportData, group: str, pictures: list[str]) -> str:
    """Start, best and last look at validation of each run: nobody should have to guess what a stage brought."""
    mine = [stage for stage in report.stages if stage.group == group]
    table = html.groups(
        group,
        ["run", "validation", "step", "NDCG", "HR@1"],
        [(stage.label or stage.name, _cost(stage), _looks(stage)) for stage in mine],
    )
    on_top = tuple(report.verdicts)  # some with the seed in front
    said = (stage.verdict for stage in mine if stage.verdict and not any(top.endswith(stage.verdict) for top in on_top))
    verdicts = dict.fromkeys(said)
    if len(mine) > _MANY_RUNS:
        figures = html.folded(f"Start, best and last of {len(mine)} runs", table) + html.side_by_side(pictures)
    else:
        figures = _beside(table, pictures)
    return html.section(group, html.items(list(verdicts), "notes"), figures)


def _beside(part: str, pictures: list[str]) -> str:
    """The part among the pictures where they are an odd number, and would leave a hole; else above them."""
    return html.side_by_side([part, *pictures]) if len(pictures) % 2 else part + html.side_by_side(pictures)


def title_of(protocol: str) -> str:
    """A protocol in words."""
    return _PROTOCOLS.get(protocol, protocol)


def _in_words(counts: Mapping[str, int]) -> dict[str, str]:
    return {name.replace("_", " "): f"{number:,}" for name, number in counts.items()}


def _cost(stage: StageRun) -> str:
    """`640 steps, 4.2 min, 12,040 tokens/s, 1.8 GB`, as far as it is known."""
    minutes = f"{stage.seconds / 60:.1f} min" if stage.seconds >= 60 else f"{stage.seconds:.0f} s"
    _, speed = stage.log.series.get("tokens_per_second", (None, np.empty(0)))
    _, memory = stage.log.series.get("memory_gb", (None, np.empty(0)))
    known = [f"{np.median(speed):,.0f} tokens/s"] if speed.size else []
    known += [f"{memory.max():.1f} GB"] if memory.size else []
    return ", ".join([f"{stage.steps:,} steps", minutes, *known])


def _looks(stage: StageRun) -> list[list[str]]:
    """Rows of the start, the best and the last look; where the first or the last is the best, it says so."""
    words = {int(stage.best["step"]): "best", int(stage.start["step"]): "start", int(stage.last["step"]): "last"}
    looks = {int(look["step"]): look for look in (stage.start, stage.best, stage.last)}
    kept = int(stage.best["step"])
    return [
        [words[step] + ", kept" * (step == kept), f"{step:,}", f"{look['ndcg']:.4f}", f"{look['hr@1']:.4f}"]
        for step, look in sorted(looks.items())
    ]
