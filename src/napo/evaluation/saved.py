"""Results kept on disk, case by case, so that nothing has to be judged twice.

Path    protocols, generated -> results -> [evaluation.saved] -> experiments.store, tables made later
Takes   CandidateResult, FullResult, GeneratedResult
Gives   a Frame: a polars table with a row a case, and all that is no value of a case as JSON; the same result again

What a table needs is in the result, so reading one back needs neither the data nor a model. Columns are named by the
field they hold: `ranks`, `targets`, `bias.by_case.popularity`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from napo.errors import UserError
from napo.evaluation.bias_report import BiasReport
from napo.evaluation.generated import GeneratedResult
from napo.evaluation.groups import CaseGroups
from napo.evaluation.results import CandidateResult, FullResult, Result
from napo.evaluation.statistics import Estimate
from napo.files import write_aside

KINDS = {
    kind.__name__: kind for kind in (CandidateResult, FullResult, GeneratedResult, BiasReport, CaseGroups, Estimate)
}
META = "napo.result"


@dataclass(frozen=True, eq=False)
class Frame:
    """A result taken apart. meta: JSON text; a column stands there as {"column": its name}."""

    cases: pl.DataFrame
    meta: str


def taken_apart(result: Result) -> Frame:
    """The result as a table and JSON."""
    columns: dict[str, Any] = {}
    meta = _to_plain(result, "", result.users.size, columns)
    return Frame(pl.DataFrame(columns), json.dumps(meta))


def put_together(frame: Frame) -> Result:
    """The result that `taken_apart` was given, equal value by value."""
    result: Result = _from_plain(json.loads(frame.meta), frame.cases)
    return result


def save_result(result: Result, path: Path) -> None:
    """Write one result as Parquet, whole or not at all."""
    frame = taken_apart(result)
    with write_aside(path) as aside:
        frame.cases.write_parquet(aside, metadata={META: frame.meta})


def load_frame(path: Path) -> Frame:
    """What `save_result` wrote. Raises UserError for a file that is no saved result."""
    try:
        meta, cases = pl.read_parquet_metadata(path).get(META), pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"cannot read a saved result: {error}", where=str(path), remedy="judge the run again"
        ) from error
    if meta is None:
        raise UserError("this Parquet file is no saved result", where=str(path), remedy="name one that napo wrote")
    return Frame(cases, meta)


def load_result(path: Path) -> Result:
    """The result in a file."""
    return put_together(load_frame(path))


def _to_plain(value: Any, name: str, cases: int, columns: dict[str, Any]) -> Any:
    """The value as JSON has it; arrays of one entry a case go into `columns`."""
    inside = f"{name}." if name else ""
    if isinstance(value, np.ndarray):
        if value.ndim in (1, 2) and len(value) == cases and 0 not in value.shape:
            columns[name] = value
            return {"column": name}
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        names = [one.name for one in fields(value) if one.init]
        held = {one: _to_plain(getattr(value, one), inside + one, cases, columns) for one in names}
        return {"kind": type(value).__name__, "fields": held}
    if isinstance(value, Mapping):
        return {"mapping": {key: _to_plain(one, inside + key, cases, columns) for key, one in value.items()}}
    if isinstance(value, tuple):
        return [_to_plain(one, f"{inside}{place}", cases, columns) for place, one in enumerate(value)]
    assert value is None or isinstance(value, str | int | float), f"{name} can't be kept: {type(value)}"
    return value


def _from_plain(plain: Any, cases: pl.DataFrame) -> Any:
    if isinstance(plain, list):
        return tuple(_from_plain(one, cases) for one in plain)
    if not isinstance(plain, dict):
        return plain
    if "column" in plain:
        column = cases[plain["column"]]
        if isinstance(column.dtype, pl.List):  # of a store: see experiments.store
            column = column.list.to_array(len(column[0]))
        return column.to_numpy()
    if "array" in plain:
        return np.array(plain["array"], dtype=plain["dtype"]).reshape(plain["shape"])
    if "mapping" in plain:
        return {key: _from_plain(one, cases) for key, one in plain["mapping"].items()}
    return KINDS[plain["kind"]](**{key: _from_plain(one, cases) for key, one in plain["fields"].items()})
