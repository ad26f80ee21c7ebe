"""The split as plain tables, so that another tool can be trained on it and hand in ranked lists.

Path    prepare -> [data.export] -> a folder; back come ranked lists: evaluation.ranked
Takes   Prepared
Gives   train, items, cases and candidates of validation and test, and a README

Test targets are not among it as targets. Those of a user's earlier cases stand in the histories of later ones, since
that is the task: a tool may read a history when it ranks, never train on it.
"""

from pathlib import Path
from typing import Literal

import polars as pl

from napo.data.candidates import CandidateLists
from napo.data.prepare import Prepared
from napo.data.split import Cases, Split
from napo.errors import UserError
from napo.files import folder_aside

Form = Literal["parquet", "csv"]
MARK = "README.md"


def export_cases(
    prepared: Prepared, out: Path, *, full_cases: int | None = None, form: Form = "parquet", asked: str = "RUN"
) -> dict[str, int]:
    """Fill the folder `out`, and say how many rows each table has. Lists are JSON text in CSV.

    full_cases: how many of the test cases are ranked over the whole catalog. asked: what `napo evaluate` takes.
    Raises UserError where `out` holds something else than an earlier export.
    """
    if out.exists() and not (out / MARK).is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} is there and holds no export", where="--out", remedy="name a new folder")
    split, test = prepared.split, prepared.test
    drawn = test if full_cases is None else test.subset(full_cases, seed=0)
    is_full = set(zip(drawn.user.tolist(), drawn.position.tolist(), strict=True))
    marks = [pair in is_full for pair in zip(test.user.tolist(), test.position.tolist(), strict=True)]
    tables = {
        "train": _training_events(split),
        "items": _items(split),
        "valid_cases": _cases(prepared.all_valid).with_columns(target=_keys(split, prepared.all_valid.target.tolist())),
        "valid_candidates": _candidates(prepared.all_valid, prepared.all_valid_lists),
        "test_cases": _cases(test).with_columns(full=pl.Series(marks, dtype=pl.Boolean)),
        "test_candidates": _candidates(test, prepared.test_lists),
    }
    with folder_aside(out) as aside:
        for name, table in tables.items():
            _write(table, aside / f"{name}.{form}", form)
        (aside / MARK).write_text(_readme(prepared, tables, form, asked), encoding="utf-8")
    return {name: table.height for name, table in tables.items()}


def _training_events(split: Split) -> pl.DataFrame:
    """user, position, item, and the time in milliseconds where the log has times; oldest first."""
    users = [user for user, cut in enumerate(split.valid_from.tolist()) for _ in range(cut)]
    items = [item for user in range(len(split.sequences)) for item in split.train(user).tolist()]
    columns = {
        "user": pl.Series([split.user_keys[user] for user in users], dtype=pl.String),
        "position": pl.Series([place for cut in split.valid_from.tolist() for place in range(cut)], dtype=pl.Int64),
        "item": _keys(split, items),
    }
    if split.times is not None:
        cuts = split.valid_from.tolist()
        times = [time for all_times, cut in zip(split.times, cuts, strict=True) for time in all_times[:cut].tolist()]
        columns["time"] = pl.Series(times, dtype=pl.Int64)
    return pl.DataFrame(columns)


def _items(split: Split) -> pl.DataFrame:
    """item, title, and its training events."""
    catalog = split.catalog
    return pl.DataFrame(
        {"item": catalog.keys, "title": catalog.titles, "events": split.popularity},
        schema={"item": pl.String, "title": pl.String, "events": pl.Int64},
    )


def _cases(cases: Cases) -> pl.DataFrame:
    """user, position, and the history that is shown, oldest first."""
    split, keys = cases.split, cases.split.catalog.keys
    histories = [[keys[item] for item in history.tolist()] for history in cases.histories()]
    return pl.DataFrame(
        {
            "user": pl.Series([split.user_keys[user] for user in cases.user.tolist()], dtype=pl.String),
            "position": pl.Series(cases.position.tolist(), dtype=pl.Int64),
            "history": pl.Series(histories, dtype=pl.List(pl.String)),
        }
    )


def _candidates(cases: Cases, lists: CandidateLists) -> pl.DataFrame:
    """user, position, item: a row a candidate, in the order of the list."""
    frame = _cases(cases).drop("history")
    width = lists.items.shape[1]
    repeated = frame.select(pl.all().repeat_by(width).explode())
    return repeated.with_columns(item=_keys(cases.split, lists.items.ravel().tolist()))


def _keys(split: Split, items: list[int]) -> pl.Series:
    return pl.Series([split.catalog.keys[item] for item in items], dtype=pl.String)


def _write(table: pl.DataFrame, path: Path, form: Form) -> None:
    if form == "parquet":
        table.write_parquet(path)
    else:
        lists = [name for name, kind in table.schema.items() if kind == pl.List]
        as_text = [pl.col(name).map_elements(_json, return_dtype=pl.String) for name in lists]
        table.with_columns(as_text).write_csv(path)


def _json(values: pl.Series) -> str:
    import json

    return json.dumps(values.to_list(), ensure_ascii=False)


def _readme(prepared: Prepared, tables: dict[str, pl.DataFrame], form: Form, asked: str) -> str:
    split, lists = prepared.split, prepared.test_lists
    rows = "\n".join(
        f"| `{name}.{form}` | {table.height:,} | {', '.join(table.columns)} | {_MEANING[name]} |"
        for name, table in tables.items()
    )
    seen = "" if split.mask_seen == "none" else " Leave out what stands in the case's `history`."
    return f"""# Cases of `{asked}`, for another tool

| table | rows | columns | |
|---|---:|---|---|
{rows}

* `position` counts the user's liked items before the target; user and position name a case. Histories are oldest first.
* Train on `train` alone, choose settings on the validation cases. A test history may be read to rank its case; it is
  not for training.
* Split {split.name} {split.digest[:12]}; test lists {lists.digest[:12]}, {lists.negatives} negatives.

## Handing in lists

One file, Parquet or CSV with a header, a row an item: `user`, `position`, `item`, and `score` (higher is better) or
`rank` (from 1). Or a TREC run (`.run`, `.trec`) whose query is `user:position`. Equal scores are ties and count against
the tool.

    napo evaluate {asked} --protocol cand20 --ranked NAME=scores.parquet   # a score for each row of test_candidates
    napo evaluate {asked} --protocol full --ranked NAME=lists.parquet      # the best ten or more of all the items

For `full` rank the cases where `full` is true.{seen} Lists of more cases do no harm. A case without rows is a miss, a
candidate without a score stands below the others; both are said beside the table.
"""


_MEANING = {
    "train": "training events, liked ones alone; `time` in milliseconds",
    "items": "the catalog; `events`: in training",
    "valid_cases": "validation, with its targets",
    "valid_candidates": "validation: the items of each list",
    "test_cases": "test; `full`: ranked over the whole catalog too",
    "test_candidates": "test: the items of each list",
}
