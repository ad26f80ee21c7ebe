"""The report of runs and comparisons: what they came to, put together for `evaluation.report`.

Path    training.run, training.compare -> [training.report] -> report.html, plots/*.png, table.md, comparison.json
Takes   Comparison, or a Run with its results; the command that makes it again
Gives   the path of report.html
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napo.evaluation.plots import Deciles, HitRates
from napo.evaluation.report import Judged, ReportData, ReportTable, read_stages, write_report
from napo.evaluation.results import FullResult, Result
from napo.evaluation.table import ResultTable
from napo.files import write_aside
from napo.training.compare import Comparison, Trained, judged_alone
from napo.training.run import RUN, Run

DRAWN_WITHOUT_DECILES = ("chance", "blind slot rule")


def write_run(run: Run, *, command: str) -> tuple[Comparison, Path]:
    """Judge a finished run among the baselines, and put the report into its folder."""
    comparison = judged_alone(run)
    title = f"{comparison.runs[0].name} on {run.recipe.data.label}"
    return comparison, write_comparison(comparison, run.folder, command=command, title=title)


def write_comparison(comparison: Comparison, out: Path, *, command: str, title: str | None = None) -> Path:
    """report.html with its pictures, the tables as Markdown, and everything as JSON."""
    first = comparison.runs[0]
    said = json.loads((first.folder / RUN).read_text(encoding="utf-8"))
    verdicts = [f"{line} ({table.metric})" for table in comparison.tables.values() for line in table.verdicts]
    data = ReportData(
        title=title or f"Comparison on {first.recipe.data.label}",
        command=command,
        verdicts=[*verdicts, *_stage_verdicts(comparison.runs)],
        judged=[_judged(name, table, comparison.results[name]) for name, table in comparison.tables.items()],
        stages=read_stages([(run.name, run.seed, run.stages) for run in comparison.runs]),
        counts={"Read": _numbers(said["read"]), "Split": _numbers(said["counts"])},
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


def _stage_verdicts(runs: Sequence[Trained]) -> list[str]:
    return [f"Seed {run.seed}. {run.verdicts[-1]}" for run in runs if run.verdicts]


def _judged(name: str, table: ResultTable, results: Mapping[str, Sequence[Result]]) -> Judged:
    rates = [HitRates.of(row, given) for row, given in results.items()]  # type: ignore[arg-type]
    full = {
        row: [result for result in given if isinstance(result, FullResult)]
        for row, given in results.items()
        if row not in DRAWN_WITHOUT_DECILES
    }
    deciles = Deciles.of(full) if full and all(full.values()) else None
    return Judged(name, ReportTable.of(table), rates, deciles)


def _numbers(counts: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _made_with(said: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    hashes = {"data": said["data"], "split": said["split"], **{f"lists, {k}": v for k, v in said["lists"].items()}}
    return {"Versions": dict(said["versions"]), "SHA-256": {name: value[:16] for name, value in hashes.items()}}
