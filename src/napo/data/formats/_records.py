"""Files with one record a line: JSON lines, and the Python dict literals that some publishers give out as JSON.

Path    file -> [data.formats._records] -> json, amazon, steam, goodreads
Takes   a path, what the user said of it; a format's way to turn one record into rows
Gives   OpenFile: a field is text as it would be written (a list of words is joined by |, what is nested is JSON)
"""

import ast
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from napo.data.formats._base import EMPTY, Head, OpenFile, Place, Told, category, placed, regular
from napo.data.formats._encoding import Utf8, utf8
from napo.errors import UserError

Record = dict[str, Any]
Unfold = Callable[[Record], Iterable[Record]]

_BLOCK = 50_000
_LOOK = 1000  # records whose fields are the file's columns


def parse(line: str) -> Record | None:
    """The record of a line in either notation; None where it is none. Nothing is ever evaluated: literals only."""
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        record = json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        try:
            record = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def fields_of(head: Head) -> set[str]:
    """The fields of a file's first record; none where the first line is no record."""
    return set(parse(head.lines[0]) or ()) if head.lines else set()


def open_records(
    path: Path,
    told: Told,
    *,
    format: str,
    unfold: Unfold | None = None,
    means: Mapping[str, str | None] | None = None,
    kept: tuple[str, ...] | None = None,
) -> OpenFile:
    """unfold: the rows of one record, where they are not the record itself. means, kept: as in OpenFile."""
    content = utf8(path, told.encoding)
    columns: dict[str, None] = {}
    for number, (_, row) in enumerate(_rows(content, unfold)):
        columns.update(dict.fromkeys(row))
        if number == _LOOK:
            break
    if not columns:
        raise UserError("the file is empty", where=str(path), remedy=EMPTY)
    notes = [f"{path.name}: {format}, {content.shown}, one record a line"] + ([content.note] if content.note else [])

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        # ids and numbers only: of an item list the exact way joins the words of lists
        if wanted is not None and keys and unfold is None and (frame := _fast(content, wanted, keys)) is not None:
            return frame, placed(path, first=1)
        return _load(content, wanted, keys, unfold)

    return OpenFile(path, format, tuple(columns), load, dict(means or {}), kept, tuple(notes))


def _fast(content: Utf8, wanted: Sequence[str], keys: Sequence[str]) -> pl.DataFrame | None:
    """Polars, where every line is one JSON record with plain values; else None."""
    lines = 0
    last = b"\n"
    for part in content.parts():
        lines += part.count(b"\n")
        last = part[-1:]
    try:
        frame = pl.scan_ndjson(content.source, schema=dict.fromkeys(wanted, pl.String), ignore_errors=False).collect()
    except pl.exceptions.PolarsError:
        return None
    if frame.height != lines + (last != b"\n"):
        return None
    return frame.with_columns(pl.col(name).replace("", None) for name in wanted).cast(
        {name: category() for name in keys if name in wanted}
    )


def _load(
    content: Utf8, wanted: Sequence[str] | None, keys: Sequence[str], unfold: Unfold | None
) -> tuple[pl.DataFrame, Place]:
    schema = {name: category() for name in keys}
    blocks: list[pl.DataFrame] = []
    lines, block = array("q"), list[Record]()
    seen: dict[str, None] = dict.fromkeys(wanted or ())

    def flush() -> None:
        names = list(seen) if wanted is None else list(wanted)
        values = {name: [_written(row.get(name)) for row in block] for name in names}
        frame = pl.DataFrame(values, schema=dict.fromkeys(names, pl.String))
        blocks.append(frame.cast({name: type for name, type in schema.items() if name in names}))
        block.clear()

    for line, row in _rows(content, unfold):
        if wanted is None:
            seen.update(dict.fromkeys(row))
        block.append(row)
        lines.append(line)
        if len(block) == _BLOCK:
            flush()
    flush()
    frame = pl.concat(blocks, how="diagonal")
    if frame.height == 0:
        raise UserError("the file has no rows", where=str(content.path), remedy=EMPTY)
    return frame, placed(content.path, regular(np.frombuffer(lines, dtype=np.int64), 1), first=1)


def _rows(content: Utf8, unfold: Unfold | None) -> Iterator[tuple[int, Record]]:
    """Each row with the line of its record. Raises UserError with the first line that is no record."""
    with content.text() as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            if (record := parse(line)) is None:
                raise UserError(
                    f"the line is no record: {line.strip()[:40]!r}",
                    where=f"{content.path}, line {number}",
                    remedy='one JSON object a line, such as {"user": "u1", "item": "i1"}; or say `format:`',
                )
            for row in (record,) if unfold is None else unfold(record):
                yield number, row


def _written(value: Any) -> str | None:
    """A field as text; what is empty is null."""
    if value is None or value == "" or value == [] or value == {}:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        flat = [part for one in value for part in (one if isinstance(one, list) else [one])]
        if all(isinstance(part, str | int | float) for part in flat):
            return "|".join(dict.fromkeys(str(part) for part in flat))
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:  # a Python literal that JSON has no word for
        return repr(value)
