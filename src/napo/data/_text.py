"""Text files with columns, whatever wrote them: byte-order marks, semicolons, quotes that hold line breaks.

Path    file -> [data._text] -> readers
Takes   a path, and where the user says so the encoding and the separator
Gives   TextTable: all columns as text (empty is null), the line of each row, what was detected
"""

import codecs
import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from napo.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}


@dataclass(frozen=True, eq=False)
class TextTable:
    """lines: of each row, from 1; None where row r is line r + 2."""

    frame: pl.DataFrame
    separator: str
    lines: list[int] | None
    notes: tuple[str, ...]

    def line(self, row: int) -> int:
        return row + 2 if self.lines is None else self.lines[row]


def read_text_table(
    path: Path, *, encoding: str | None = None, separator: str | None = None, quoted: bool = True
) -> TextTable:
    """Read a file with a header line. Raises UserError that names file and line for anything that does not fit."""
    text, used = decode(path, encoding)
    text = (text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")).rstrip("\n")
    if not text.strip():
        raise UserError("the file is empty", where=str(path))
    first = text.split("\n", 1)[0]
    mark = separator or _separator_of(first, path)
    notes = [f"{path.name}: read as {used}"] if used not in ("utf-8", "utf-8-sig") else []
    if mark not in ",\t":
        notes.append(f"{path.name}: columns are separated by {_SEPARATORS.get(mark, repr(mark))}")
    header = [name.strip() for name in next(csv.reader([first], delimiter=mark, quoting=_quoting(quoted)))]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"the header names a column twice: {', '.join(twice)}", where=f"{path}, line 1")
    frame = _fast(text, header, mark) if not quoted or '"' not in text else None
    lines = None
    if frame is None:
        frame, lines = _exact(text, header, mark, quoted, path)
    if frame.height == 0:
        raise UserError("the file has a header and no rows", where=str(path))
    return TextTable(frame, mark, lines, tuple(notes))


def decode(path: Path, encoding: str | None) -> tuple[str, str]:
    """The text of a file and its encoding. Never a replacement character: what can't be read is an error."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the file: {reason}", where=str(path)) from error
    # a mark is stronger than what was said: `encoding` is given for both files, and often only one of them needs it
    used = next((name for mark, name in _MARKS if data.startswith(mark)), encoding or "utf-8")
    if encoding is None and used == "utf-8" and b"\0" in data[:1000]:
        raise UserError(
            "the file holds zero bytes: it is UTF-16 without a mark, or no text",
            where=str(path),
            remedy="say `encoding: utf-16-le` or save the file as UTF-8",
        )
    try:
        return data.decode(used), used
    except LookupError as error:
        raise UserError(
            f"unknown encoding {used!r}", where=str(path), remedy="`utf-8`, `latin-1`, `cp1252`, `utf-16`"
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"byte 0x{data[error.start]:02x} is not {used.upper()}",
            where=f"{path}, line {line}",
            remedy="say `encoding: latin-1` (or the one that the file was written in)",
        ) from error


def _separator_of(header: str, path: Path) -> str:
    if ".tsv" in path.suffixes[-2:]:
        return "\t"
    outside = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=outside.count) if any(mark in outside for mark in _SEPARATORS) else ","


def _quoting(quoted: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _fast(text: str, header: list[str], mark: str) -> pl.DataFrame | None:
    """Polars, where no quote is about and the separators add up to a rectangle; else None."""
    if text.count(mark) != (text.count("\n") + 1) * (len(header) - 1) or "\n\n" in text or len(mark) != 1:
        return None
    try:
        frame = pl.read_csv(io.BytesIO(text.encode()), separator=mark, quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != text.count("\n"):
        return None
    frame.columns = header
    return frame


def _exact(text: str, header: list[str], mark: str, quoted: bool, path: Path) -> tuple[pl.DataFrame, list[int]]:
    """Row by row: slower, and exact about quotes, line breaks inside them, and the line of a mistake."""
    rows: list[list[str]] = []
    lines: list[int] = []
    start = 2
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, quoting=_quoting(quoted), strict=True)
        next(reader)
        for row in reader:
            if row:  # a blank line is no row
                if len(row) != len(header):
                    raise UserError(
                        f"{len(row)} columns where the header has {len(header)}: {', '.join(header)}",
                        where=f"{path}, line {start}",
                        remedy="put a field that holds the separator in quotes, or say `separator:`",
                    )
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"the quotes do not fit: {error}",
            where=f"{path}, line {start}",
            remedy='a quote inside quotes is written ""',
        ) from error
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    values = {name: [value or None for value in column] for name, column in zip(header, columns, strict=True)}
    return pl.DataFrame(values, schema=dict.fromkeys(header, pl.String)), lines
