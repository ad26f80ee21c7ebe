"""What users were shown and did not take: real rejected items, with the place and the chance they were shown with.

Path    a file -> [data.exposures] -> InteractionLog -> negatives.exposed
Takes   rows of `user`, `item`, `time`, and where known `position`, `propensity`, `answered` (when something was last
        taken from the list that the item stood in), in any format of data.formats
Gives   the rows of the log's users and items; of each user those that training may know
"""

from dataclasses import replace

import numpy as np
import polars as pl

from napo.arrays import FloatArray, IntArray
from napo.data.exposed import Exposed
from napo.data.formats import OpenFile
from napo.data.log import InteractionLog
from napo.data.readers import Columns, read_events
from napo.data.split import Split
from napo.data.tally import Tally
from napo.data.times import HowTimes, to_milliseconds
from napo.errors import UserError

KIND = {"position": pl.Int64, "propensity": pl.Float64}


def with_exposures(log: InteractionLog, file: OpenFile, columns: Columns, times: HowTimes) -> InteractionLog:
    """The log with the exposures of its users and items: `user`, `item`, `time`, `position`, `propensity`, `answered`.

    Those of others are left out and counted. Raises UserError where either of the two has no times: nobody could tell
    then which exposures training may know.
    """
    tally = Tally()
    read = read_events(file, columns, tally, times=times)
    if "time" not in read.columns or not log.has_times:
        raise UserError(
            "exposures need times: training may know only those from before the held-out events",
            where=str(file.path) if log.has_times else "data.interactions",
            remedy="name the time column: `columns: {time: ...}` under `data:`",
        )
    shown = read.select(pl.col("user", "item").cast(pl.String), "time").with_columns(
        *_numbers(file), _answered(file, times)
    )
    tally.count("exposures_read", shown.height)
    for name, keys in (("user", log.user_keys), ("item", log.catalog.keys)):
        numbers = pl.DataFrame({name: pl.Series(keys, dtype=pl.String), "_": np.arange(len(keys), dtype=np.int32)})
        joined = shown.join(numbers, on=name, how="left", maintain_order="left")
        unknown = joined["_"].is_null()
        tally.count(f"exposures_of_unknown_{name}s", int(unknown.sum()), joined[name].filter(unknown))
        shown = joined.filter(~unknown).with_columns(pl.col("_").alias(name)).drop("_")
    tally.count("exposures_without_time", shown["time"].null_count())
    shown = shown.filter(pl.col("time").is_not_null()).sort("user", "time", "item", *KIND, nulls_last=True)
    tally.count("exposures", shown.height)
    tally.count("users_with_exposures", shown["user"].n_unique())
    if shown.height == 0:
        raise UserError(
            "no exposure is of a user and an item of the log",
            where=str(file.path),
            remedy="exposures and log call users and items by the same keys",
        )
    return replace(
        log,
        exposures=shown,
        counts={**log.counts, **tally.counts},
        examples={**log.examples, **tally.examples},
        notes=(*log.notes, *tally.notes),
    )


def _numbers(file: OpenFile) -> list[pl.Series | pl.Expr]:
    """`position` and `propensity`, null where the file has no such column. Raises UserError for what can't be one."""
    present = [name for name in KIND if name in file.columns]
    frame, place = file.load(present, ()) if present else (pl.DataFrame(), _nowhere)
    made: list[pl.Series | pl.Expr] = []
    for name, kind in KIND.items():
        if name not in present:
            made.append(pl.lit(None, dtype=kind).alias(name))
            continue
        given = frame[name]
        values = given.cast(pl.Float64, strict=False)
        wrong = (values.is_null() & given.is_not_null()) | ~values.is_between(0, 1 if name == "propensity" else np.inf)
        wrong |= (values == 0) | ((values != values.floor()) if name == "position" else False)
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise UserError(
                f"{given[row]!r} is no {name}",
                where=place(row),
                remedy="positions count from 1; a propensity is a chance above 0, at most 1; leave it empty if unknown",
            )
        made.append(values.cast(kind).alias(name))
    return made


def _answered(file: OpenFile, times: HowTimes) -> pl.Series | pl.Expr:
    if "answered" not in file.columns:
        return pl.lit(None, dtype=pl.Int64).alias("answered")
    frame, place = file.load(["answered"], ())
    if frame["answered"].null_count() == frame.height:
        return frame["answered"].cast(pl.Int64)
    stamps, _ = to_milliseconds(frame["answered"], place, times)
    return stamps.alias("answered")


def _nowhere(row: int) -> str:
    raise AssertionError("no column was read")


def known_to_training(log: InteractionLog, split: Split) -> dict[int, Exposed]:
    """By user, the exposures from before the user's held-out events; under `global_time`, from before anybody's.

    Of a list from which a held-out item was taken nothing is known: the others of the list would tell which.
    """
    assert log.exposures is not None and split.times is not None
    ends = np.array([_end(split, user) for user in range(len(split.sequences))], dtype=np.int64)
    if split.name == "global_time":
        ends[:] = ends.min()
    end = pl.Series(ends[log.exposures["user"].to_numpy()])
    frame = log.exposures.filter((pl.col("time") < end) & (pl.col("answered") < end).fill_null(True))
    columns: dict[str, IntArray | FloatArray] = {
        "items": frame["item"].to_numpy().astype(np.int64),
        "times": frame["time"].to_numpy(),
        "positions": frame["position"].fill_null(0).to_numpy(),
        "propensities": frame["propensity"].fill_null(np.nan).to_numpy(),
    }
    users, starts = np.unique(frame["user"].to_numpy(), return_index=True)
    stops = [*starts[1:].tolist(), frame.height]
    return {
        user: Exposed(**{name: values[start:stop] for name, values in columns.items()})  # type: ignore[arg-type]
        for user, start, stop in zip(users.tolist(), starts.tolist(), stops, strict=True)
    }


def _end(split: Split, user: int) -> int:
    """When a user's first held-out event happened; the end of all times where nothing is held out."""
    assert split.times is not None
    times, cut = split.times[user], int(split.valid_from[user])
    return int(times[cut]) if cut < len(times) else np.iinfo(np.int64).max
