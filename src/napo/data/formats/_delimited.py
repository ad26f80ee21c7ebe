"""Text files with columns, whatever wrote them: byte-order marks, semicolons, quotes that hold line breaks.

Path    file -> [data.formats._delimited] -> csv, recbole, movielens, amazon
Takes   a path, what the user said of it, and what the format knows (separator, quotes, header)
Gives   OpenFile: all columns as text (empty is null), the line of each row, what was detected
"""

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from napo.data.formats._base import EMPTY, OpenFile, Place, Told, category, placed, regular
from napo.data.formats._encoding import Made, Utf8, made_of, utf8
from napo.errors import UserError

_SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
_STAND_IN = "\x1f"  # for a separator of several characters; a control sign that texts do not hold
_BLOCK = 100_000  # rows that are held as Python objects at a time


@dataclass(frozen=True, eq=False)
class _Layout:
    """How to cut the content. header_lines: 1, or 0 where the names come from elsewhere. shown: what users call it."""

    content: Utf8
    names: tuple[str, ...]
    separator: str
    quoted: bool
    header_lines: int

    @property
    def path(self) -> Path:
        return self.content.path


def open_delimited(path: Path, told: Told, *, format: str = "csv", quoted: bool = True) -> OpenFile:
    """Find the columns of a file. Raises UserError that names file and line for anything that does not fit."""
    content = utf8(path, told.encoding)
    content = _with_single_separator(_with_line_ends(content), told.separator)
    first = _first_row_text(content)
    shown = told.separator or _separator_of(first, path)
    separator = _STAND_IN if len(shown) > 1 else shown
    if told.header is None:
        names = tuple(name.strip() for name in _rows(content, separator, quoted, path).__next__()[1])
    else:
        names = told.header
    if twice := sorted({name for name in names if names.count(name) > 1}):
        what = f"the header names a column twice: {', '.join(twice)}"
        raise UserError(what, where=f"{path}, line 1", remedy="give each column a name of its own")
    layout = _Layout(content, names, separator, quoted, 0 if told.header else 1)
    notes = [content.note] if content.note else []
    notes.insert(
        0, f"{path.name}: {format}, {content.shown}, columns separated by {_SEPARATORS.get(shown, repr(shown))}"
    )

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        return _load(layout, names if wanted is None else tuple(wanted), frozenset(keys))

    return OpenFile(path, format, names, load, notes=tuple(notes))


def _load(layout: _Layout, wanted: tuple[str, ...], keys: frozenset[str]) -> tuple[pl.DataFrame, Place]:
    frame = _fast(layout, wanted, keys)
    first = 1 + layout.header_lines
    lines = None
    if frame is None:
        frame, lines = _exact(layout, wanted, keys)
        lines = regular(lines, first)
    if frame.height == 0:
        raise UserError("the file has a header and no rows", where=str(layout.path), remedy=EMPTY)
    return frame, placed(layout.path, lines, first=first)


def _fast(layout: _Layout, wanted: tuple[str, ...], keys: frozenset[str]) -> pl.DataFrame | None:
    """Polars, where no quote is about and the separators add up to a rectangle; else None."""
    made = made_of(layout.content, layout.separator.encode())
    rows = made.lines - layout.header_lines
    if not _is_plain(made, layout) or made.separators != made.lines * (len(layout.names) - 1):
        return None
    # by number, as a name of a column may be anything
    schema = {str(place): category() if name in keys else pl.String() for place, name in enumerate(layout.names)}
    places = [str(layout.names.index(name)) for name in wanted]
    try:
        frame = (
            pl.scan_csv(
                layout.content.source,
                has_header=False,
                skip_lines=layout.header_lines,
                schema=schema,
                separator=layout.separator,
                quote_char=None,
                glob=False,
            )
            .select(places)
            .collect()
        )
    except pl.exceptions.PolarsError:
        return None  # the exact way will find the line
    if frame.height != rows:
        return None
    frame.columns = list(wanted)
    return frame


def _is_plain(made: Made, layout: _Layout) -> bool:
    if layout.quoted and made.quotes:
        return False
    return not made.blank and made.returns in (0, made.lines, made.lines - 1)


def _exact(layout: _Layout, wanted: tuple[str, ...], keys: frozenset[str]) -> tuple[pl.DataFrame, np.ndarray]:
    """Row by row: slower, and exact about quotes, line breaks inside them, and the line of a mistake."""
    path, width = layout.path, len(layout.names)
    places = [layout.names.index(name) for name in wanted]
    schema = pl.Schema({name: category() if name in keys else pl.String() for name in wanted})
    blocks: list[pl.DataFrame] = []
    lines, block = array("q"), list[list[str]]()

    def flush() -> None:
        columns = list(zip(*block, strict=True)) or [()] * width
        values = {name: [text or None for text in columns[place]] for name, place in zip(wanted, places, strict=True)}
        blocks.append(pl.DataFrame(values, schema=dict.fromkeys(wanted, pl.String)).cast(schema))
        block.clear()

    rows = _rows(layout.content, layout.separator, layout.quoted, path)
    if layout.header_lines:
        next(rows)
    for line, row in rows:
        if len(row) != width:
            raise UserError(
                f"{len(row)} columns where the header has {width}: {', '.join(layout.names)}",
                where=f"{path}, line {line}",
                remedy="put a field that holds the separator in quotes, or say `separator:`",
            )
        block.append(row)
        lines.append(line)
        if len(block) == _BLOCK:
            flush()
    flush()
    return pl.concat(blocks), np.frombuffer(lines, dtype=np.int64) if lines else np.zeros(0, dtype=np.int64)


def _rows(content: Utf8, separator: str, quoted: bool, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line where it begins."""
    start = 1
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with content.text() as text:
            reader = csv.reader(text, delimiter=separator, quoting=quoting, strict=True)
            for row in reader:
                if row:
                    yield start, row
                start = reader.line_num + 1
    except csv.Error as error:
        if "field limit" in str(error):
            what = f"a field has more than {csv.field_size_limit():,} characters"
            remedy = 'a quote that nothing closes takes in all that follows; a quote inside quotes is written ""'
            raise UserError(what, where=f"{path}, line {start}", remedy=remedy) from error
        raise UserError(
            f"the quotes do not fit: {error}",
            where=f"{path}, line {start}",
            remedy='a quote inside quotes is written ""',
        ) from error


def _first_row_text(content: Utf8) -> str:
    with content.text() as text:
        first = next((line for line in text if line.strip()), None)
    if first is None:
        raise UserError("the file is empty", where=str(content.path), remedy=EMPTY)
    return first.rstrip("\r\n")


def _separator_of(header: str, path: Path) -> str:
    if path.name.removesuffix(".gz").endswith(".tsv"):
        return "\t"
    outside = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=outside.count) if any(mark in outside for mark in _SEPARATORS) else ","


def _with_line_ends(content: Utf8) -> Utf8:
    """An old Macintosh's lines end in a return alone."""
    with content.text() as text:
        beginning = text.read(1 << 16)
    if "\n" in beginning or "\r" not in beginning.rstrip("\r"):
        return content
    return _changed(content, lambda whole: whole if b"\n" in whole else whole.replace(b"\r", b"\n"))


def _with_single_separator(content: Utf8, separator: str | None) -> Utf8:
    if separator is None or len(separator) == 1:
        return content
    return _changed(content, lambda whole: whole.replace(separator.encode(), _STAND_IN.encode()))


def _changed(content: Utf8, change: Callable[[bytes], bytes]) -> Utf8:
    return Utf8(content.path, change(b"".join(content.parts())), content.encoding, content.note)
