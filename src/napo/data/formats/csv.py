"""CSV, TSV and their like: a header line, then a row a line; and MovieLens' `ratings.csv` and `movies.csv`.

Path    file -> [data.formats.csv] -> readers
"""

from napo.data.formats._base import Head, OpenFile, Told
from napo.data.formats._delimited import open_delimited


def matches(head: Head) -> bool:
    """Whatever nobody else knows."""
    return True


def open_file(head: Head, told: Told) -> OpenFile:
    return open_delimited(head.path, told)
