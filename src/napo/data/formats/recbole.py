"""RecBole's atomic files: tabs, and a header of `name:type`.

Path    file -> [data.formats.recbole] -> readers
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from napo.data.formats._base import Head, OpenFile, Place, Told
from napo.data.formats._delimited import open_delimited

_TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")


def matches(head: Head) -> bool:
    if head.name.endswith((".inter", ".item", ".user")):
        return True
    return bool(head.lines) and all(_TYPED.fullmatch(name) for name in head.lines[0].split("\t"))


def open_file(head: Head, told: Told) -> OpenFile:
    # RecBole writes titles with stray quotes in them, and never quotes a field
    file = open_delimited(head.path, replace(told, separator="\t"), format="recbole", quoted=False)
    typed = [_TYPED.fullmatch(name) for name in file.columns]
    if not all(typed):
        return file
    theirs = {match[1]: match[0] for match in typed if match}
    ours = {name: short for short, name in theirs.items()}

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        names = None if wanted is None else [theirs[name] for name in wanted]
        frame, place = file.load(names, [theirs[name] for name in keys])
        return frame.rename({name: ours[name] for name in frame.columns}), place

    return replace(file, columns=tuple(theirs), load=load, recbole=True)
