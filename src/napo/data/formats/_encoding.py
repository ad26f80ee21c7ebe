"""The text of a file as UTF-8, whatever it was written in; and a count of what it is made of.

Path    bytes -> [data.formats._encoding] -> _delimited, _records
Takes   a path, and where the user said so its encoding
Gives   Utf8: the content in parts, the encoding that was read, a note where it was guessed

Never a replacement character: a byte that does not fit is an error with its line.
"""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napo.data.formats._base import opened
from napo.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PART = 1 << 24
_WESTERN = "cp1252"  # Windows' Latin-1: the same letters, and printable signs where Latin-1 has control characters
_RUNS = re.compile(rb"[\x80-\xff]+")
_WORDS = re.compile(r"[\w'-]*[^\x00-\x7f][\w'-]*")


@dataclass(frozen=True, eq=False)
class Utf8:
    """source: the file itself where it is UTF-8 already, so that a large one need not be held; else its bytes."""

    path: Path
    source: Path | bytes
    encoding: str
    note: str | None = None

    @property
    def shown(self) -> str:
        return "UTF-8" if self.encoding.startswith("utf-8") else self.encoding

    def parts(self) -> Iterator[bytes]:
        """The content without a mark, some megabytes at a time."""
        if isinstance(self.source, bytes):
            yield from (self.source[start : start + _PART] for start in range(0, len(self.source), _PART))
            return
        with opened(self.source) as file:
            while part := file.read(_PART):
                yield part

    def text(self) -> io.TextIOWrapper:
        """The content as text, line ends as they are."""
        return io.TextIOWrapper(io.BufferedReader(_Joined(self.parts())), encoding="utf-8", newline="")


@dataclass(frozen=True)
class Made:
    """What a content is made of: counts of bytes. blank: it has an empty line."""

    lines: int
    separators: int
    quotes: int
    returns: int
    blank: bool


def made_of(content: Utf8, separator: bytes) -> Made:
    """Count in one pass. A last line without a line end counts as one."""
    lines = separators = quotes = returns = 0
    blank, before = False, b"\n"
    for part in content.parts():
        values = np.frombuffer(part, dtype=np.uint8)
        lines += int(np.count_nonzero(values == ord("\n")))
        separators += int(np.count_nonzero(values == separator[0]))
        quotes += int(np.count_nonzero(values == ord('"')))
        returns += int(np.count_nonzero(values == ord("\r")))
        border = before + part[:2]
        blank = blank or any(sign in piece for piece in (border, part) for sign in (b"\n\n", b"\n\r\n"))
        before = (before + part[-2:])[-2:]
    return Made(lines + (not before.endswith(b"\n")), separators, quotes, returns, blank)


def utf8(path: Path, encoding: str | None) -> Utf8:
    """Find out what a file is written in, if nobody said so, and give its text as UTF-8."""
    with opened(path) as file:
        start = file.read(1000)
    # a mark is stronger than what was said: `encoding` is given for both files, and often only one of them needs it
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    used = marked or encoding or "utf-8"
    if marked is None and _is_wide(used) and b"\0" not in start:
        used = "utf-8"  # for the same reason: a comma or a line end in UTF-16 has a zero
    if marked is None and encoding is None and b"\0" in start:
        used = _utf_16_by_its_zeros(start, path)
    if _is_utf_8(used):
        if (wrong := _first_wrong_byte(path)) is None:
            return Utf8(path, _whole(path).removeprefix(codecs.BOM_UTF8) if marked else path, "utf-8")
        if marked is None and encoding is None:
            return _western(path, wrong)
    content = _whole(path)
    try:
        text = content.decode(used)
    except LookupError as error:
        raise UserError(
            f"unknown encoding {used!r}", where=str(path), remedy="`utf-8`, `latin-1`, `cp1252`, `utf-16`"
        ) from error
    except UnicodeDecodeError as error:
        raise _not_in(used, path, content, error.start) from error
    return Utf8(path, text.removeprefix("\ufeff").encode(), used)


def _is_utf_8(name: str) -> bool:
    try:
        return codecs.lookup(name).name in ("utf-8", "utf-8-sig")
    except LookupError:
        return False


def _is_wide(name: str) -> bool:
    return name.casefold().replace("_", "-").startswith(("utf-16", "utf16", "utf-32", "utf32"))


def _utf_16_by_its_zeros(start: bytes, path: Path) -> str:
    """UTF-16 without a mark: ASCII characters have their zero in the second byte (little end first) or the first."""
    values = np.frombuffer(start[: len(start) // 2 * 2], dtype=np.uint8)
    zeros = (values.reshape(-1, 2) == 0).mean(axis=0)
    if zeros.max() > 0.7 and zeros.min() < 0.05:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    raise UserError(
        "the file holds zero bytes: it is no text", where=str(path), remedy="save it as CSV in UTF-8, or as Parquet"
    )


def _first_wrong_byte(path: Path) -> int | None:
    """Where a file stops being UTF-8; None: nowhere."""
    before = b""
    place = 0
    with opened(path) as file:
        while part := file.read(_PART):
            if before or not part.isascii():
                part = before + part
                try:
                    _, read = codecs.utf_8_decode(part, "strict", False)
                except UnicodeDecodeError as error:
                    return place - len(before) + error.start
                place += len(part) - len(before)
                before = part[read:]
            else:
                place += len(part)
    return place - len(before) if before else None


def _western(path: Path, wrong: int) -> Utf8:
    """Not UTF-8, and nobody said what: Western European where it looks so, else an error.

    In a Western text a letter beyond ASCII stands alone among others; in Cyrillic, Greek, Chinese or Japanese ones they
    come in runs.
    """
    content = _whole(path)
    runs = _RUNS.findall(content)
    alone = sum(len(run) <= 2 for run in runs)
    try:
        text = content.decode(_WESTERN)
    except UnicodeDecodeError:
        text = ""
    if not text or alone < 0.9 * len(runs):
        raise _not_in("utf-8", path, content, wrong)
    words = list(dict.fromkeys(_WORDS.findall(text)))[:3]
    note = f"{path.name}: not UTF-8; read as {_WESTERN} (Latin-1), such as {', '.join(words)}; else say `encoding:`"
    return Utf8(path, text.encode(), _WESTERN, note)


def _whole(path: Path) -> bytes:
    with opened(path) as file:
        return file.read()


def _not_in(encoding: str, path: Path, content: bytes, place: int) -> UserError:
    line = content[:place].count(b"\n") + 1
    byte = f"byte 0x{content[place]:02x}" if place < len(content) else "the end"
    return UserError(
        f"{byte} is not {encoding.upper()}",
        where=f"{path}, line {line}",
        remedy="say `encoding: latin-1` (or the one that the file was written in)",
    )


class _Joined(io.RawIOBase):
    """Parts as one stream."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._parts, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
