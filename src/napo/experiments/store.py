"""All that a sweep has found, in a few Parquet files that anybody can read and that a table is made from at once.

Path    experiments.cell -> [experiments.store] -> tables, claims, figures, `napo report`
Takes   Plan and the folder with its finished cells
Gives   STORE/cells.parquet (a row a cell and protocol), metrics.parquet (means, a row each), PROTOCOL.parquet (a row a
        case), curves.parquet (what training logged), costs.parquet, checks.json; and Store, which reads them

The files hold no clock but costs.parquet and the `seconds`, `tokens_per_second` and `memory_gb` of curves.parquet: a
sweep that was broken off and gone on with leaves the same others as one that was not. Reading needs neither data nor
models.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from napo.errors import UserError, did_you_mean
from napo.evaluation.judge import lists_of, table_of
from napo.evaluation.leaks import Check, worst_of_runs
from napo.evaluation.results import Result
from napo.evaluation.saved import Frame, load_frame, put_together
from napo.evaluation.table import ResultTable
from napo.experiments.cell import CELLS, CHECKS, COSTS, RESULTS
from napo.experiments.plan import BASELINES, Cell, Plan
from napo.experiments.runner import is_done
from napo.files import folder_aside

STORE, SWEEP = "store", "sweep.json"
CLOCKS = ("seconds", "tokens_per_second", "memory_gb")
log = logging.getLogger(__name__)


def collect(plan: Plan, out: Path, store: Path) -> "Store":
    """Write the store from the cells that are done, whole or not at all, and open it."""
    done = [cell for cell in plan.cells if is_done(out, cell)]
    if not done:
        raise UserError("no cell of this sweep is done", where=str(out), remedy="see why they failed, and run it again")
    rows, means, costs = [], [], []
    curves: list[dict[str, Any]] = []
    cases: dict[str, dict[str, pl.DataFrame]] = {}
    checks: dict[str, dict[str, list[Any]]] = {}
    for cell in done:
        folder = out / CELLS / cell.key
        for path in sorted((folder / RESULTS).glob("*.parquet")):
            frame = load_frame(path)
            cases.setdefault(path.stem, {})[cell.key] = frame.cases.insert_column(0, pl.lit(cell.key).alias("cell"))
            rows.append({**_labels(cell), "protocol": path.stem, "meta": frame.meta, "recipe": _recipe_of(cell)})
            means += [
                {**_labels(cell), "protocol": path.stem, "metric": name, "value": float(values.mean())}
                for name, values in put_together(frame).metrics.items()
            ]
        checks[cell.key] = _read(folder / CHECKS)
        said = _read(folder / COSTS)
        costs.append(_costs(cell, said))
        curves += _curves(cell, folder, said)
    with folder_aside(store) as aside:
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(aside / "cells.parquet")
        pl.DataFrame(means, infer_schema_length=None).write_parquet(aside / "metrics.parquet")
        for protocol, frames in cases.items():
            whole = pl.concat([_of_any_width(frame) for frame in frames.values()], how="diagonal")
            whole.write_parquet(aside / f"{protocol}.parquet", compression_level=12)
        if curves:
            logged = pl.DataFrame(curves, infer_schema_length=None)
            labels = list(_labels(done[0]))  # the logs of a resumed run have their figures in another order
            logged.select(*labels, *sorted(set(logged.columns) - set(labels))).write_parquet(aside / "curves.parquet")
        pl.DataFrame(costs, infer_schema_length=None).write_parquet(aside / "costs.parquet")
        (aside / CHECKS).write_text(json.dumps(checks), encoding="utf-8")
        about = {
            "title": plan.sweep.title,
            "base": _base_of(plan),
            "seeds": plan.sweep.seed_list,
            "tried": plan.sweep.tried,
            "claims": [claim.model_dump(mode="json", exclude_none=True) for claim in plan.sweep.claims],
            "command": plan.command,
            "cells": len({cell.key for cell in plan.cells}),
            "done": len(checks),
        }
        (aside / SWEEP).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return Store(store)


@dataclass(frozen=True)
class Store:
    """A store in a folder, read as it is asked for. Raises UserError where there is none."""

    folder: Path

    @cached_property
    def said(self) -> dict[str, Any]:
        """Title, base row, seeds, settings tried, claims, command, how many cells there are and how many are done."""
        path = self.folder / SWEEP
        if not path.is_file():
            raise UserError(f"{self.folder} holds no results of a sweep", remedy="`napo sweep SWEEP --out FOLDER`")
        return dict(_read(path))

    @cached_property
    def cells(self) -> pl.DataFrame:
        """A row a cell and protocol: cell, kind, row, method, data, seed, keys (JSON), protocol, meta, recipe."""
        return pl.read_parquet(self.folder / "cells.parquet")

    @cached_property
    def curves(self) -> pl.DataFrame:
        """What training logged, a row a step: the labels of the cell, stage, step, then figures."""
        path = self.folder / "curves.parquet"
        return pl.read_parquet(path) if path.is_file() else pl.DataFrame()

    @cached_property
    def costs(self) -> pl.DataFrame:
        """A row a cell: the labels, seconds, peak_gb, and by stage its seconds and steps."""
        return pl.read_parquet(self.folder / "costs.parquet")

    @property
    def data(self) -> list[str]:
        """The data sets, in the order of the sweep."""
        return self.cells["data"].unique(maintain_order=True).to_list()

    def protocols(self, data: str) -> list[str]:
        return self.cells.filter(data=data)["protocol"].unique(maintain_order=True).to_list()

    def results(self, data: str, protocol: str) -> dict[str, list[Result]]:
        """By row, one a seed, in the order of seeds. A row that lacks a seed is left out: see `missing`."""
        found = self._by_row(data, protocol)
        lacking = self.missing(data, protocol)
        return {row: list(by_seed.values()) for row, by_seed in found.items() if row not in lacking}

    def missing(self, data: str, protocol: str) -> list[str]:
        """Rows that are not done under every seed of the sweep."""
        seeds = set(self.said["seeds"])
        untrained = set(BASELINES) - {"SASRec"}
        return [
            row
            for row, by_seed in self._by_row(data, protocol).items()
            if set(by_seed) != seeds and row.partition(",")[0] not in untrained
        ]

    def checks(self, data: str, protocol: str) -> list[Check]:
        """The leak checks of the rows' cells, of a row's seeds the worst."""
        held, lists = _read(self.folder / CHECKS), lists_of(protocol)
        keys = self.cells.filter(data=data, protocol=protocol)["cell"]
        return worst_of_runs([_check(said) for key in keys for said in held.get(key, {}).get(lists, [])])

    def table(self, data: str, protocol: str, *, base: str | None = None) -> ResultTable:
        """The table of one data set under one protocol. base: None is the sweep's, where it has such a row."""
        results = self.results(data, protocol)
        if base is not None and base not in results:
            raise UserError(f"no row {base!r} to compare with", remedy=did_you_mean(base, results))
        base = base or (self.said["base"] if self.said["base"] in results else None)
        if (data, protocol, base) not in self._tables:
            checks = self.checks(data, protocol)
            self._tables[data, protocol, base] = table_of(protocol, results, checks, base=base, searched=self.searched)
        return self._tables[data, protocol, base]

    @cached_property
    def searched(self) -> dict[str, int] | None:
        """By row, how many settings of its method were tried on validation, without rows that are not to be checked.

        None: of no method it is told.
        """
        tried = self.said["tried"]
        models = self.cells.filter(kind="model").unique("row", maintain_order=True)
        of_rows = {row: tried.get(method, 0) for row, method in models.select("row", "method").iter_rows()}
        return {row: count for row, count in of_rows.items() if count is not None} if tried else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all its files: who has a store with the same one has the same figures."""
        whole = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str | None], ResultTable]:
        return {}

    @cached_property
    def _rows(self) -> dict[tuple[str, str], dict[str, dict[int, Result]]]:
        return {}

    def _by_row(self, data: str, protocol: str) -> dict[str, dict[int, Result]]:
        if (data, protocol) not in self._rows:
            self._rows[data, protocol] = self._read_rows(data, protocol)
        return self._rows[data, protocol]

    def _read_rows(self, data: str, protocol: str) -> dict[str, dict[int, Result]]:
        wanted = self.cells.filter(data=data, protocol=protocol)
        cases = pl.read_parquet(self.folder / f"{protocol}.parquet").partition_by("cell", as_dict=True)
        found: dict[str, dict[int, Result]] = {}
        for cell in wanted.sort("seed", maintain_order=True).iter_rows(named=True):
            result = put_together(Frame(cases[(cell["cell"],)], cell["meta"]))
            found.setdefault(cell["row"], {})[cell["seed"]] = result
        return found


def _of_any_width(cases: pl.DataFrame) -> pl.DataFrame:
    """Arrays as lists: another data set has another number of groups in a column of the same name."""
    arrays = [name for name, kind in cases.schema.items() if isinstance(kind, pl.Array)]
    return cases.with_columns(pl.col(name).arr.to_list() for name in arrays)


def _base_of(plan: Plan) -> str | None:
    return plan.sweep.base or ("SFT" if "SFT" in plan.sweep.methods else None)


def _labels(cell: Cell) -> dict[str, Any]:
    return {
        "cell": cell.key,
        "kind": cell.kind,
        "row": cell.row,
        "method": cell.method,
        "data": cell.data,
        "seed": cell.seed,
        "keys": json.dumps(dict(cell.keys), default=str),
    }


def _recipe_of(cell: Cell) -> str:
    return json.dumps(cell.recipe.resolved(), default=str)


def _costs(cell: Cell, said: Mapping[str, Any]) -> dict[str, Any]:
    stages = {
        f"{stage} {name}": figures[name]
        for stage, figures in said.get("stages", {}).items()
        for name in ("seconds", "steps")
    }
    return {**_labels(cell), "seconds": said["seconds"], "peak_gb": said["peak_gb"], **stages}


def _curves(cell: Cell, folder: Path, said: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The preference stage's log, and the supervised one's: cells that share a start share its curve.

    Stages are large; who has removed one lacks its curve, and is told so.
    """
    rows = []
    for stage, figures in said.get("stages", {}).items():
        path = folder.parent / figures["folder"] / "metrics.jsonl"
        if not path.is_file():
            log.warning("%s is gone: %s, seed %d, has no curve of its stage %s", path, cell.row, cell.seed, stage)
            continue
        rows += [{**_labels(cell), "stage": stage, **json.loads(line)} for line in path.read_text("utf-8").splitlines()]
    return rows


def _check(said: Mapping[str, Any]) -> Check:
    interval = said["interval"]
    return Check(**{**said, "interval": tuple(interval) if interval else None})


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
