"""A cleaned log as a folder that every later step, and any other tool, can read at once.

Path    InteractionLog -> [data.converted] -> `log.parquet`, `items.parquet`, `manifest.json` -> source
Takes   a log, and the settings and files that it was made from
Gives   the folder, whole or not at all; from a folder, the same log again with the counts of its making

`log.parquet`: `user`, `item` (texts), `time` (UTC, milliseconds), `rating`, by user, then time; `items.parquet`:
`item`, `title` and the other columns of the items file.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from napo.data.formats import Told, open_table
from napo.data.known_items import KnownItems, joined
from napo.data.log import InteractionLog, make_log
from napo.data.readers import Columns, read_events, read_items
from napo.data.settings import DataSettings
from napo.data.tally import Tally
from napo.errors import UserError
from napo.files import folder_aside

MANIFEST, LOG, ITEMS, EXPOSURES = "manifest.json", "log.parquet", "items.parquet", "exposures.parquet"
_FORM = 1  # of the folder; a later one that can't be read by us has another number
# the manifest names the files without their folders
_FILES = {"source", "interactions", "items", "exposures", "catalog", "renamed"}


def write_converted(
    log: InteractionLog,
    settings: DataSettings,
    files: Sequence[Path],
    out: Path,
    *,
    exposures: pl.DataFrame | None = None,
) -> None:
    """Write a log to a folder, in the place of an earlier one. Raises UserError where `out` holds anything else.

    exposures: what users were shown and did not take, for `exposures.parquet` beside it.
    """
    if out.exists() and not is_converted(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} holds something else than a converted log", remedy="--out another folder")
    users = pl.Series(log.user_keys, dtype=pl.String)
    items = pl.Series(log.catalog.keys, dtype=pl.String)
    events = log.frame.select(
        users.gather(log.frame["user"]).alias("user"),
        items.gather(log.frame["item"]).alias("item"),
        pl.col("time").cast(pl.Datetime("ms", "UTC")),
        "rating",
    )
    absent = [name for name in ("time", "rating") if events[name].null_count() == events.height]
    catalog = pl.DataFrame({"item": items, "title": pl.Series(log.catalog.titles, dtype=pl.String)})
    with folder_aside(out) as aside:
        events.drop(absent).write_parquet(aside / LOG)
        pl.concat([catalog, log.catalog.columns], how="horizontal").write_parquet(aside / ITEMS)
        if exposures is not None:
            exposures.write_parquet(aside / EXPOSURES)
        said = {
            "form": _FORM,
            "napo": version("napo"),
            "files": {path.name: _sha256(path) for path in sorted(aside.glob("*.parquet"))},
            "made_from": {path.name: _sha256(path) for path in files},
            "log": log.digest,
            "rules": settings.model_dump(mode="json", exclude=_FILES) | {"repeats": settings.repeats or "first"},
            "counts": log.counts,
            "examples": log.examples,
            "notes": log.notes,
        }
        (aside / MANIFEST).write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_converted(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def read_converted(folder: Path, settings: DataSettings) -> InteractionLog:
    """The log of a folder, with the counts and notes of its making; `repeats` and `core` may leave out more.

    `items` may name more items where the log goes on from an earlier catalog, and say other things of these.
    Raises UserError where the files are not those that were written, or lack what `repeats` asks for.
    """
    made = _manifest(folder)
    rules = made["rules"]
    if settings.repeats not in (None, rules["repeats"]) and rules["repeats"] != "all":
        raise UserError(
            f"`repeats: {settings.repeats}` can't be had: the folder was made with {rules['repeats']}",
            where=str(folder),
            remedy="leave `repeats` out, or make the folder anew: napo data convert --repeats ...",
        )
    unread, tally = Tally(), Tally()
    items = read_items(open_table(folder / ITEMS), Columns(), unread)
    if settings.items is not None:
        told = Told(settings.encoding, settings.separator)
        more = read_items(open_table(settings.items, told, format=settings.items_format), settings.columns, tally)
        items = joined(more, items.join(more, on="item", how="anti", maintain_order="left"), str(settings.items))
    log = make_log(
        read_events(open_table(folder / LOG), Columns(), unread),
        items,
        repeats=settings.repeats or rules["repeats"],
        core=settings.core,
        known=KnownItems.of(settings),
        tally=tally,
        where=str(folder),
    )
    said = ", ".join(f"{name} {rules[name]}" for name in ("repeats", "untitled", "core") if rules.get(name) is not None)
    notes = (*made["notes"], f"{folder.name}: made by `napo data convert` with {said}")
    later = {
        name: number for name, number in log.counts.items() if name != "events_read" and (number or name in _SIZES)
    }
    return InteractionLog(
        log.frame,
        log.user_keys,
        log.catalog,
        counts={**made["counts"], **later},
        examples={name: tuple(names) for name, names in made["examples"].items()},
        notes=(*notes, *(note for note in log.notes if note not in notes)),
    )


_SIZES = {"users", "items", "events", "items_without_events", "titles_shared_by_items"}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form, files = made["form"], made["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the manifest can't be read: {error}", where=str(path), remedy=_AGAIN) from error
    if form != _FORM:
        raise UserError(f"the folder is of form {form}, and this napo reads {_FORM}", where=str(path), remedy=_AGAIN)
    for name, digest in files.items():
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise UserError(f"{name} is not the file that was written", where=str(folder), remedy=_AGAIN)
    return made


_AGAIN = "make the folder anew with `napo data convert`"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
