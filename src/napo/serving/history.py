"""What a person says of whom: item keys, or titles as one types them.

Path    the command line, HTTP, Python -> [serving.history] -> recommender
Takes   texts, oldest first; a Catalog
Gives   Named: the items that the prompt shows, and all those that count as seen
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from napo.arrays import IntArray
from napo.data.catalog import Catalog
from napo.errors import UserError, raise_together

# Gives the titles nearest to a text, nearest first; see catalog.find for the plain way.
Suggest = Callable[[str], list[str]]
MOST_ERRORS = 5  # looking for the nearest titles takes time, and nobody reads fifty of them


@dataclass(frozen=True, eq=False)
class Named:
    """items: one for each text, in its order. seen: the same items and their twins, where a title names several.

    notes: what to tell the person about how the texts were understood.
    """

    items: IntArray
    seen: IntArray
    notes: tuple[str, ...] = ()


def read_items(
    texts: Sequence[str], catalog: Catalog, *, where: str = "history", suggest: Suggest | None = None
) -> Named:
    """The items that the texts name. Each is looked up as a title, case and outer blanks forgiven, then as a key.

    Of items with equal titles the first is shown: their prompts are the same words. All of them count as seen, since
    a person who types a title does not want it back. A key names its item alone.

    Raises UserError for a text that is neither, with the nearest titles and its number, from 1. suggest: what finds
    these, in a catalog that is too large for comparing the text with every title.
    """
    if isinstance(texts, str):
        raise UserError("one text was given, not a list of them", where=where, remedy=f"[{texts!r}]")
    found: list[list[int]] = []
    errors: list[UserError] = []
    for number, text in enumerate(texts, start=1):
        try:
            found.append(_items_of(text, catalog, f"{where}, item {number}", suggest))
        except UserError as error:
            errors.append(error)
            if len(errors) == MOST_ERRORS:
                break
    raise_together(errors)
    twins = dict.fromkeys(catalog.titles[items[0]] for items in found if len(items) > 1)
    return Named(
        items=np.array([items[0] for items in found], dtype=np.int64),
        seen=np.unique(np.array([item for items in found for item in items], dtype=np.int64)),
        notes=tuple(f"{title!r} is the title of several items: all of them count as seen" for title in twins),
    )


def typed_titles(texts: Iterable[str], catalog: Catalog) -> list[str]:
    """The titles in what was typed on a command line: each text is one, or several with `;` between them.

    A text that is a title or a key as it stands is left whole. Blank ones are left out.
    """
    titles: list[str] = []
    for text in texts:
        whole = catalog.of_title(text) or text.strip() in catalog.index
        titles += [text] if whole else text.split(";")
    return [title.strip() for title in titles if title.strip()]


def _items_of(text: str, catalog: Catalog, where: str, suggest: Suggest | None) -> list[int]:
    if not isinstance(text, str):
        raise UserError(f"{text!r} is no text", where=where, remedy=f'titles and keys are texts: "{text}"')
    if text in catalog.by_name:  # "ALIEN" and "Alien" may be two films: who writes it so means one of them
        return catalog.by_name[text]
    if items := catalog.of_title(text):
        return items
    item = catalog.index.get(text.strip())
    return catalog.find(text, where=where, suggest=suggest) if item is None else [item]
