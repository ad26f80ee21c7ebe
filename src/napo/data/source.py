"""The log that a recipe names: a known data set, or the user's own files.

Path    recipe -> [data.source] -> readers, log
Takes   DataSettings, the keys under `data:`
Gives   InteractionLog
"""

from napo.data.fetch import cached
from napo.data.log import InteractionLog, Tally, make_log
from napo.data.readers import read_events, read_items, read_table
from napo.data.settings import DataSettings as DataSettings


def load_source(settings: DataSettings) -> InteractionLog:
    """Read, check and number the log. Raises UserError for whatever is missing or does not fit."""
    interactions, items = settings.interactions, settings.items
    if settings.source is not None:
        interactions, items = cached(settings.source)
    assert interactions is not None, "DataSettings has made sure"
    tally = Tally()
    table = read_table(interactions, encoding=settings.encoding, separator=settings.separator)
    events = read_events(table, settings.columns, tally)
    titles = None
    if items is not None:
        listed = read_table(items, encoding=settings.encoding, separator=settings.separator)
        titles = read_items(listed, settings.columns, tally, need_title=settings.untitled != "id")
    return make_log(
        events,
        titles,
        repeats=settings.repeats,
        untitled=settings.untitled,
        tally=tally,
        where=str(items or interactions),
    )
