"""JSON lines: one object a line, a field a column.

Path    file -> [data.formats.json] -> readers
"""

from napo.data.formats._base import Head, OpenFile, Told
from napo.data.formats._records import open_records, parse
from napo.errors import UserError


def matches(head: Head) -> bool:
    if head.name.endswith((".jsonl", ".ndjson", ".json")):
        return True
    return bool(head.lines) and parse(head.lines[0]) is not None


def open_file(head: Head, told: Told) -> OpenFile:
    if head.start.lstrip().startswith(b"["):
        raise UserError(
            "the file is one JSON list, not one object a line",
            where=str(head.path),
            remedy=f"write it as JSON lines: `jq -c '.[]' {head.name} > {head.name}l`",
        )
    return open_records(head.path, told, format="json")
