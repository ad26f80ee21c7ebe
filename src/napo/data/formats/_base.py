"""What every format of files is asked, and what it hands on: the columns first, the rows when they are wanted.

Path    path -> [data.formats] -> readers
Takes   Head, a look at a file's beginning; Told, what the user said of it
Gives   OpenFile: the names of the columns, and `load` for the rows of some of them

A file is opened before it is read, so that of a large log only the columns that are used come into memory.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from napo.arrays import IntArray
from napo.errors import UserError

Place = Callable[[int], str]
EMPTY = "export it again, or name another one"  # the remedy for a file that holds nothing
_LOOK = 1 << 20  # bytes that are enough to tell a format


@dataclass(frozen=True)
class Told:
    """What the user said of a file; None: told from the file. header: the columns of a file without a header line."""

    encoding: str | None = None
    separator: str | None = None
    header: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class OpenFile:
    """A file whose columns are known.

    columns: as the file calls them. means: our name -> the file's, where the format settles it (None: it has no such
    column, whatever others are called). kept: what is worth having of an item beside its title; None: everything.
    load: the rows of these columns (None: of all), `keys` among them as categories, and the place of each row.
    header: where the columns are named; None: on the file's first line.
    """

    path: Path
    format: str
    columns: tuple[str, ...]
    load: Callable[[Sequence[str] | None, Sequence[str]], tuple[pl.DataFrame, Place]]
    means: Mapping[str, str | None] = field(default_factory=dict)
    kept: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    recbole: bool = False
    header: str | None = None


@dataclass(frozen=True)
class Head:
    """The beginning of a file. start: its first bytes, unpacked."""

    path: Path
    start: bytes

    @cached_property
    def name(self) -> str:
        """The file's name in small letters, without `.gz`."""
        return self.path.name.casefold().removesuffix(".gz")

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The whole lines of the beginning that are not blank; bytes as Latin-1, which refuses none."""
        lines = re.split(r"\r\n|\n|\r", self.start.decode("latin-1"))
        if len(self.start) >= _LOOK and len(lines) > 1:
            lines = lines[:-1]  # cut in the middle
        return tuple(line for line in lines if line.strip())


def look_at(path: Path) -> Head:
    with opened(path) as file:
        return Head(path, file.read(_LOOK))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is gzip; what can't be read is a UserError."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.open(raw) as unpacked:
                    yield unpacked  # type: ignore[misc]
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"the gzip file is damaged: {error}", where=str(path), remedy="copy it anew") from error
    except OSError as error:
        remedy = "see that it is a file that you may read"
        raise UserError(f"cannot read the file: {error.strerror or error}", where=str(path), remedy=remedy) from error


def placed(path: Path, lines: IntArray | None = None, *, first: int = 2) -> Place:
    """The place of a row: its line, or without `lines` row r on line r + first."""
    return lambda row: f"{path}, line {row + first if lines is None else int(lines[row])}"


def regular(lines: IntArray, first: int) -> IntArray | None:
    """None where row r stands on line r + first anyway: then nobody need remember the lines."""
    return None if np.array_equal(lines, np.arange(first, first + len(lines))) else lines


def category() -> pl.Categorical:
    """A type for ids: each is held once, and a row holds a number. Of its own, so that it goes with its last column."""
    return pl.Categorical(pl.Categories.random())
