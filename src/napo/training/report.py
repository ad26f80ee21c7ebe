"""The report of runs and comparisons: what they came to, put together for `evaluation.report`.

Path    training.run, training.compare -> [training.report] -> report.html, plots/*.png, table.md, comparison.json
Takes   Comparison, or a Run with its results; the command that makes it again
Gives   the path of report.html
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napo.evaluation.generated import GeneratedResult
from napo.evaluation.plots import Deciles, HitRates
from napo.evaluation.report import GroupTable, Judged, ReportData, ReportTable, StageRun, read_stages, write_report
from napo.evaluation.results import FullResult, Result
from napo.evaluation.table import ResultTable
from napo.files import write_aside
from napo.training.before import Refreshed
from napo.training.compare import Comparison, Trained, judged_alone
from napo.training.run import RUN, Run

UNTRAINED = ("popularity", "blind slot rule", "chance")
WHERE = {"cand20": "among 20 candidates", "full": "over the whole catalog", "legacy": "among the data's own lists"}
FEW_RUNS = 4
DRAWN_WITHOUT_DECILES = ("chance", "blind slot rule")


def write_run(run: Run, *, command: str) -> tuple[Comparison, Path]:
    """Judge a finished run among the baselines, and put the report into its folder."""
    comparison = judged_alone(run)
    title = f"{comparison.runs[0].name} on {run.recipe.data.label}"
    before = None if run.recipe.refresh is None else Refreshed.of(run, comparison.runs[0].name, comparison.results)
    if before is not None:
        before.save(run.folder)
    path = write_comparison(comparison, run.folder, command=command, title=title, refreshed=before)
    return comparison, path


def write_comparison(
    comparison: Comparison,
    out: Path,
    *,
    command: str,
    title: str | None = None,
    refreshed: Refreshed | None = None,
) -> Path:
    """report.html with its pictures, the tables as Markdown, and everything as JSON.

    refreshed: what a run brought that goes on from an earlier one.
    """
    first = comparison.runs[0]
    said = json.loads((first.folder / RUN).read_text(encoding="utf-8"))
    verdicts = [line for name, table in comparison.tables.items() for line in in_words(name, table)]
    stages = read_stages([(run.name, run.seed, run.stages) for run in comparison.runs])
    data = ReportData(
        title=title or f"Comparison on {first.recipe.data.label}",
        command=command,
        verdicts=[*(refreshed.lines if refreshed else ()), *verdicts, *_stage_verdicts(comparison.runs, stages)],
        judged=[_judged(name, table, comparison.results[name]) for name, table in comparison.tables.items()],
        stages=stages,
        counts={
            "Read": _numbers(said["read"]),
            "Split": _numbers(said["counts"]),
            **({"Refresh": refreshed.counts} if refreshed else {}),
        },
        notes=said.get("notes", ()),
        settings={run.name: run.recipe.resolved_yaml() for run in comparison.runs if run.seed == first.seed},
        made_with=_made_with(said),
    )
    path = write_report(data, out)
    with write_aside(out / "table.md") as aside:
        aside.write_text("\n".join(table.markdown() for table in comparison.tables.values()), encoding="utf-8")
    with write_aside(out / "comparison.json") as aside:
        aside.write_text(json.dumps(comparison.to_json(), indent=1, default=str), encoding="utf-8")
    return path


def in_words(protocol: str, table: ResultTable) -> list[str]:
    """What a table says: how well the best row does, and each comparison with its verdict in front."""
    where = WHERE.get(protocol, f"under {protocol}")
    said = [_best_row(where, table)] if table.metric.startswith("HR@") else []
    for row in table.challengers:
        if row.against is not None:
            gain = row.against.difference
            figures = f"{gain.value:+.3f} {table.metric} [{gain.low:+.3f}, {gain.high:+.3f}]"
            verdict = str(row.against.verdict).capitalize()
            said.append(f"{verdict}: {row.name} better than {table.base} {where}, {figures}.")
    for one in table.claims:
        figures = f", {one.figures}" if one.figures else ""
        said.append(f"{str(one.verdict).capitalize()}: {one.claim} {where}{figures}.")
    return said


def _best_row(where: str, table: ResultTable) -> str:
    """`Among 20 candidates, NAPO puts the target first in 41.2 % of the cases (95 %: 40.1 to 42.3); ...`"""
    rates = {row.name: row.metrics[table.metric] for row in table.rows}
    best = max((name for name in rates if name not in UNTRAINED), key=lambda name: rates[name].value, default=None)
    beside = [f"{name} in {_percent(rates[name].value)}" for name in UNTRAINED if name in rates]
    if best is None:
        return f"{where.capitalize()}: {', '.join(beside)}."
    rate, k = rates[best], table.metric.removeprefix("HR@")
    found = "puts the target first" if k == "1" else f"has the target among its first {k}"
    interval = f"(95 %: {100 * rate.low:.1f} to {100 * rate.high:.1f})"
    sentence = f"{where.capitalize()}, {best} {found} in {_percent(rate.value)} of the cases {interval}"
    return "; ".join([sentence, *([", ".join(beside)] if beside else [])]) + "."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _stage_verdicts(runs: Sequence[Trained], stages: Sequence[StageRun]) -> list[str]:
    """What a few runs came to; of many, which stages were of no use: their parts of the page say more."""
    if len(runs) <= FEW_RUNS:
        several = len({run.seed for run in runs}) > 1
        return [f"Seed {run.seed}. " * several + run.verdicts[-1] for run in runs if run.verdicts]
    idle = [stage.label for stage in stages if stage.best["step"] == stage.start["step"]]
    if not idle:
        return ["All stages improved on their start."]
    return [f"{len(idle)} of {len(stages)} stages did not improve on their start, which was kept: {', '.join(idle)}."]


def _judged(name: str, table: ResultTable, results: Mapping[str, Sequence[Result]]) -> Judged:
    ranked = {row: given for row, given in results.items() if not isinstance(given[0], GeneratedResult)}
    rates = [HitRates.of(row, given) for row, given in ranked.items()]  # type: ignore[arg-type]
    full = {
        row: [result for result in given if isinstance(result, FullResult)]
        for row, given in results.items()
        if row not in DRAWN_WITHOUT_DECILES
    }
    deciles = Deciles.of(full) if full and all(full.values()) else None
    return Judged(name, ReportTable.of(table), rates, deciles, GroupTable.of(table))


def _numbers(counts: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _made_with(said: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    hashes = {"data": said["data"], "split": said["split"], **{f"lists, {k}": v for k, v in said["lists"].items()}}
    return {"Versions": dict(said["versions"]), "SHA-256": {name: value[:16] for name, value in hashes.items()}}
