"""The formats of logs and item lists, one file each; which one a file is in, is told by its name and beginning.

Path    path -> [data.formats] -> readers
Takes   a path, and what the user said of it
Gives   OpenFile

A format is a module with `matches(head)` and `open_file(head, told)`. A new one is a file here, its place in `_ORDER`,
and its name in `data.settings.Format`.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from napo.data.formats._base import EMPTY as EMPTY
from napo.data.formats._base import OpenFile as OpenFile
from napo.data.formats._base import Place as Place
from napo.data.formats._base import Told as Told
from napo.data.formats._base import look_at
from napo.data.formats._encoding import utf8
from napo.errors import UserError, nearest

# asked in turn: those that look for more come first, and csv takes what is left
_ORDER = ("parquet", "movielens", "recbole", "amazon", "steam", "goodreads", "json", "csv")


def open_table(path: Path, told: Told | None = None, *, format: str | None = None) -> OpenFile:
    """Open a file in the format that was named, else in the first that it looks like."""
    _check_is_there(path)
    told = told or Told()
    head = look_at(path)
    if format is None:
        # who names the columns of a file without a header has a plain one
        format = "csv" if told.header else next(name for name in _ORDER if _module(name).matches(head))
    file: OpenFile = _module(format).open_file(head, told)
    return file


def text_of(path: Path, told: Told) -> tuple[str, str | None]:
    """The whole text of a file that is no table, and a note where its encoding was guessed."""
    _check_is_there(path)
    content = utf8(path, told.encoding)
    with content.text() as text:
        return text.read(), content.note


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {path}", where=str(path), remedy=_files_like(path))


def _module(name: str) -> ModuleType:
    return import_module(f"napo.data.formats.{name}")


def _files_like(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    close = nearest(path.name, (other.name for other in path.parent.iterdir()))
    return f"did you mean {', '.join(close)}" if close else "name a file; docs/data.md says in which forms"
