"""Parquet: columns keep their type.

Path    file -> [data.formats.parquet] -> readers
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from napo.data.formats._base import EMPTY, Head, OpenFile, Place, Told, category
from napo.errors import UserError


def matches(head: Head) -> bool:
    return head.start.startswith(b"PAR1") or head.name.endswith((".parquet", ".pq"))


def open_file(head: Head, told: Told) -> OpenFile:
    path = head.path
    try:
        columns = tuple(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from error

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        try:
            frame = pl.read_parquet(path, columns=list(wanted) if wanted is not None else None, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _unreadable(path, error) from error
        if frame.height == 0:
            raise UserError("the file has no rows", where=str(path), remedy=EMPTY)
        texts = [name for name in keys if frame.schema.get(name) == pl.String]
        return frame.with_columns(pl.col(name).cast(category()) for name in texts), lambda row: f"{path}, row {row + 1}"

    return OpenFile(path, "parquet", columns, load, notes=(f"{path.name}: parquet",))


def _unreadable(path: Path, error: Exception) -> UserError:
    remedy = "write it again, or export the table as CSV"
    return UserError(f"the Parquet file can't be read: {error}", where=str(path), remedy=remedy)
