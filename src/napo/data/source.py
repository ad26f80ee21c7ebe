"""The log that a recipe names: a known data set, the user's own files, or what a query of a database gives.

Path    recipe -> [data.source] -> formats, database, readers, log
Takes   DataSettings, the keys under `data:`
Gives   InteractionLog
"""

from pathlib import Path

from napo.data.converted import is_converted, read_converted
from napo.data.database import open_query
from napo.data.exposures import with_exposures
from napo.data.fetch import cached
from napo.data.formats import OpenFile, Told, open_table
from napo.data.known_items import KnownItems
from napo.data.log import InteractionLog, make_log
from napo.data.readers import read_events, read_items
from napo.data.settings import DataSettings as DataSettings
from napo.data.tally import Tally
from napo.data.times import HowTimes
from napo.errors import UserError


def load_source(settings: DataSettings) -> InteractionLog:
    """Read, check and number the log. Raises UserError for whatever is missing or does not fit."""
    log = _log_of(settings)
    if settings.exposures is None:
        return log
    shown = open_table(settings.exposures, Told(settings.encoding, settings.separator))
    return with_exposures(log, shown, settings.columns, _times(settings))


def _log_of(settings: DataSettings) -> InteractionLog:
    if settings.database is None and (folder := files_of(settings)[0]).is_dir():
        return _of_folder(folder, settings)
    tally = Tally()
    log, items = opened(settings)
    events = read_events(
        log,
        settings.columns,
        tally,
        decimal=settings.decimal,
        times=_times(settings),
    )
    titles = None
    if items is not None:
        titles = read_items(items, settings.columns, tally, need_title=settings.untitled != "id")
    return make_log(
        events,
        titles,
        repeats=settings.repeats or "first",
        untitled=settings.untitled,
        core=settings.core,
        known=KnownItems.of(settings),
        tally=tally,
        where=str((items or log).path),
    )


def _times(settings: DataSettings) -> HowTimes:
    return HowTimes(settings.time_unit, settings.time_format, settings.time_zone)


def opened(settings: DataSettings) -> tuple[OpenFile, OpenFile | None]:
    """The events and, where there are any, the items."""
    titles = None
    if settings.database is not None:
        log, items = open_query(settings.database, settings.query), settings.items
        if settings.items_query is not None:
            titles = open_query(settings.database, settings.items_query, "items_query")
    else:
        interactions, items = files_of(settings)
        told = Told(settings.encoding, settings.separator, settings.header)
        log = open_table(interactions, told, format=settings.format)
    if items is not None:
        titles = open_table(items, Told(settings.encoding, settings.separator), format=settings.items_format)
    return log, titles


def _of_folder(folder: Path, settings: DataSettings) -> InteractionLog:
    if not is_converted(folder):
        raise UserError(
            "the folder holds no converted log",
            where=str(folder),
            remedy="name a file, or make one of the folder's files into such: napo data convert LOG --out FOLDER",
        )
    if settings.items is not None and settings.catalog is None:
        raise UserError("a converted log has its own items", where=str(folder), remedy="leave `items` out")
    return read_converted(folder, settings)


def files_of(settings: DataSettings) -> tuple[Path, Path | None]:
    """The interactions file and the items file, if there is one. Of a log that comes as files."""
    if settings.source is not None:
        return cached(settings.source)
    assert settings.interactions is not None, "DataSettings has made sure"
    return settings.interactions, settings.items
