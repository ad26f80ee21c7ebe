"""Columns of the catalog as words of a prompt.

Path    catalog -> [models.columns] -> prompts
Takes   the names of columns
Gives   a text for each item and column; what is missing reads `unknown`, and is counted
"""

import logging
from collections.abc import Sequence
from typing import Any

from napo.data.catalog import Catalog
from napo.errors import UserError, nearest

log = logging.getLogger(__name__)

UNKNOWN = "unknown"


def columns_as_text(catalog: Catalog, names: Sequence[str]) -> dict[str, list[str]]:
    """Each named column, as one text an item. Raises UserError for a column that the catalog lacks."""
    found = {}
    for name in names:
        if name not in catalog.columns.columns:
            raise UserError(
                f"`{{{name}}}` in the prompt template is neither `title` nor a column of the catalog",
                where="prompt.template",
                remedy=_remedy(name, catalog.columns.columns),
            )
        texts = [_as_text(value) for value in catalog.columns[name].to_list()]
        if missing := sum(not text for text in texts):
            log.warning("%d of %d items have no `%s`: the prompt says `%s`", missing, len(texts), name, UNKNOWN)
        found[name] = [text or UNKNOWN for text in texts]
    return found


def _as_text(value: Any) -> str:
    """One line: lists joined by commas, whole numbers without a point, nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(text for text in map(_as_text, value) if text)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


def _remedy(name: str, columns: Sequence[str]) -> str:
    if not columns:
        return "the items file has no columns beside key and title: name `{title}` alone"
    close = nearest(name, columns, 1)
    return (f"`{{{close[0]}}}`; " if close else "") + f"its columns are {', '.join(columns)}"
