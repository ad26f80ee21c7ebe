"""A sweep from its plan to its tables.

Path    experiments.plan -> [experiments.sweep] -> runner, store -> tables
Takes   Plan, the folder, how many cells at a time
Gives   Finished: what became of the cells, the store, a table for each data set and protocol
"""

from dataclasses import dataclass
from pathlib import Path

from napo.evaluation.table import ResultTable
from napo.experiments.page import write_page
from napo.experiments.plan import Plan
from napo.experiments.runner import Board, Outcomes, is_done, run_plan
from napo.experiments.store import STORE, Store, collect
from napo.files import write_aside


@dataclass(frozen=True)
class Finished:
    """lines: what is to be said beside the tables."""

    outcomes: Outcomes
    store: Store
    tables: list[ResultTable]
    lines: list[str]


def run_sweep(plan: Plan, out: Path, board: Board, *, jobs: int = 1, minutes: float | None = None) -> Finished:
    """Run what is not done, and make the store and tables anew; several sweeps may share `out`, and so their cells.

    On Ctrl-C the store holds what is done, and KeyboardInterrupt goes on up.
    """
    folder = out / plan.source.stem
    try:
        outcomes = run_plan(plan, out, board, jobs=jobs, minutes=minutes)
    except KeyboardInterrupt:
        if any(is_done(out, cell) for cell in plan.cells):
            collect(plan, out, folder / STORE)
        raise
    store = collect(plan, out, folder / STORE)
    tables = [store.table(data, protocol) for data in store.data for protocol in store.protocols(data)]
    with write_aside(folder / "table.md") as aside:
        aside.write_text(_page(plan, store), encoding="utf-8")
    page = write_page([store], folder)
    lines = [*(claim.line for claim in page.claims), *_lines(plan, outcomes, store), f"The page is {page.path}"]
    return Finished(outcomes, store, tables, lines)


def _page(plan: Plan, store: Store) -> str:
    parts = [f"# {plan.sweep.title}"]
    for data in store.data:
        parts.append(f"## {data}")
        parts += [store.table(data, protocol).markdown() for protocol in store.protocols(data)]
    return "\n\n".join(parts) + "\n"


def _lines(plan: Plan, outcomes: Outcomes, store: Store) -> list[str]:
    by_key = {cell.key: cell for cell in plan.cells}
    lines = [
        f"failed: {by_key[key].row}, {by_key[key].data}, seed {by_key[key].seed}: {why}"
        for key, why in outcomes.failed.items()
    ]
    lines += [
        f"{data}, {protocol}: not in the table, for not all seeds are done: {', '.join(lacking)}"
        for data in store.data
        for protocol in store.protocols(data)
        if (lacking := store.missing(data, protocol))
    ]
    total = len({cell.key for cell in plan.cells})
    counts = {"run": len(outcomes.done), "kept": len(outcomes.kept), "failed": len(outcomes.failed)}
    counts["left for the next time"] = total - sum(counts.values())
    lines.append(f"{total} cells: {', '.join(f'{count} {what}' for what, count in counts.items() if count)}")
    return lines
