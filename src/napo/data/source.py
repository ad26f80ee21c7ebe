"""The log that a recipe names: a known data set, or the user's own files.

Path    recipe -> [data.source] -> formats, readers, log
Takes   DataSettings, the keys under `data:`
Gives   InteractionLog
"""

from pathlib import Path

from napo.data.converted import is_converted, read_converted
from napo.data.fetch import cached
from napo.data.formats import Told, open_table
from napo.data.log import InteractionLog, make_log
from napo.data.readers import read_events, read_items
from napo.data.settings import DataSettings as DataSettings
from napo.data.tally import Tally
from napo.data.times import HowTimes
from napo.errors import UserError


def load_source(settings: DataSettings) -> InteractionLog:
    """Read, check and number the log. Raises UserError for whatever is missing or does not fit."""
    interactions, items = files_of(settings)
    if interactions.is_dir():
        return _of_folder(interactions, settings)
    tally = Tally()
    told = Told(settings.encoding, settings.separator, settings.header)
    events = read_events(
        open_table(interactions, told, format=settings.format),
        settings.columns,
        tally,
        decimal=settings.decimal,
        times=HowTimes(settings.time_unit, settings.time_format, settings.time_zone),
    )
    titles = None
    if items is not None:
        listed = open_table(items, Told(settings.encoding, settings.separator), format=settings.items_format)
        titles = read_items(listed, settings.columns, tally, need_title=settings.untitled != "id")
    return make_log(
        events,
        titles,
        repeats=settings.repeats or "first",
        untitled=settings.untitled,
        core=settings.core,
        tally=tally,
        where=str(items or interactions),
    )


def _of_folder(folder: Path, settings: DataSettings) -> InteractionLog:
    if not is_converted(folder):
        raise UserError(
            "the folder holds no converted log",
            where=str(folder),
            remedy="name a file, or make one of the folder's files into such: napo data convert LOG --out FOLDER",
        )
    if settings.items is not None:
        raise UserError("a converted log has its own items", where=str(folder), remedy="leave `items` out")
    return read_converted(folder, settings)


def files_of(settings: DataSettings) -> tuple[Path, Path | None]:
    """The interactions file and the items file, if there is one."""
    if settings.source is not None:
        return cached(settings.source)
    assert settings.interactions is not None, "DataSettings has made sure"
    return settings.interactions, settings.items
