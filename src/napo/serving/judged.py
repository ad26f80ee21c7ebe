"""A recommender judged on another log than its own: newer events, another shop's.

Path    log -> [serving.judged] -> evaluation.protocols -> table
Takes   a Recommender; an InteractionLog, a frame or a file of events; where each user's events are cut
Gives   ResultTable: chance, popularity and the recommender, on the same cases
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from napo.data.candidates import draw_candidates
from napo.data.catalog import Catalog
from napo.data.log import InteractionLog, make_log
from napo.data.settings import DataSettings, SplitSettings
from napo.data.source import load_source
from napo.data.split import make_split
from napo.errors import UserError, did_you_mean
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.protocols import Scorer, evaluate_candidates, evaluate_full
from napo.evaluation.results import Result
from napo.evaluation.table import ResultTable, make_table

if TYPE_CHECKING:
    from napo.serving.recommender import Recommender

PROTOCOLS = ("full", "cand20")
CANDIDATES = 20


def judge_on(
    recommender: "Recommender",
    log: InteractionLog | pl.DataFrame | str | Path,
    *,
    protocol: str = "full",
    split: SplitSettings | None = None,
    name: str | None = None,
) -> ResultTable:
    """The protocol's table; see Recommender.evaluate. name: of the recommender's row; None: the model's own."""
    if protocol not in PROTOCOLS:
        raise UserError(f"no protocol {protocol!r} here", where="protocol", remedy=did_you_mean(protocol, PROTOCOLS))
    read, note = in_catalog(_log_of(log), recommender.catalog)
    parted = make_split(read, split or SplitSettings())
    cases = parted.cases("test")
    row = name or recommender.ranker.name
    scorers: Mapping[str, Scorer] = {
        "chance": Chance(len(recommender.catalog)),
        "popularity": Popularity(parted.popularity),
        row: recommender.ranker,
    }
    results: dict[str, Result] = {}
    if protocol == "full":
        for name_, scorer in scorers.items():
            results[name_] = evaluate_full(scorer, cases, k=10, mask_seen=parted.mask_seen)
    else:
        lists = draw_candidates(cases, count=CANDIDATES, list_seed=0, negatives="uniform")
        for name_, scorer in scorers.items():
            results[name_] = evaluate_candidates(scorer, cases, lists)
    table = make_table(results, base="popularity")
    return replace(table, notes=[*([note] if note else []), *table.notes])


def in_catalog(log: InteractionLog, catalog: Catalog) -> tuple[InteractionLog, str | None]:
    """The log in the catalog's numbers, less the events of items that it does not have; a note says how many.

    Raises UserError where no event is left.
    """
    number = np.array([catalog.index.get(key, -1) for key in log.catalog.keys], dtype=np.int32)
    items = number[log.frame["item"].to_numpy()]
    frame = log.frame.with_columns(pl.Series("item", items)).filter(pl.Series(items >= 0))
    if not frame.height:
        some = ", ".join(log.catalog.keys[:3])
        raise UserError(
            f"none of the log's {len(log.catalog):,} items is in the model's catalog ({some}, ...)",
            where="log",
            remedy="a log whose item keys are those of the model's",
        )
    gone, unknown = log.frame.height - frame.height, int((number < 0).sum())
    note = f"{gone:,} events left out: {unknown:,} items of the log are not in the model's catalog" if gone else None
    return replace(log, frame=frame, catalog=catalog), note


def _log_of(log: InteractionLog | pl.DataFrame | str | Path) -> InteractionLog:
    """It needs no titles: the catalog's own are used."""
    if isinstance(log, InteractionLog):
        return log
    if isinstance(log, str | Path):
        return load_source(DataSettings(interactions=Path(log), untitled="id"))
    if missing := {"user", "item"} - set(log.columns):
        raise UserError(
            f"the frame has no column {', '.join(sorted(missing))}", where="log", remedy="rename its columns"
        )
    events = log.with_columns(pl.col("user", "item").cast(pl.String))
    return make_log(events, untitled="id")
