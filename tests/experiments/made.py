"""Stores with figures that a test chose: no data, no training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from napo.evaluation.bias_report import BiasReport
from napo.evaluation.results import CandidateResult, FullResult, Result
from napo.evaluation.saved import taken_apart
from napo.experiments.store import Store

USERS = np.repeat(np.arange(200), 2)
CASES = USERS.size
UNTRAINED = ("chance", "popularity", "blind slot rule")


def ranks_of(hits: int, *, seed: int = 0, cases: int = CASES) -> np.ndarray:
    """Rank 1 in so many cases, 7 in the others; more hits contain those of fewer."""
    ranks = np.full(cases, 7)
    ranks[np.random.default_rng(seed).permutation(cases)[:hits]] = 1
    return ranks


def among(ranks: np.ndarray, users: np.ndarray = USERS, **fields: Any) -> CandidateResult:
    """Among 20 candidates."""
    n = ranks.size
    known: dict[str, Any] = {
        "scorer": "made",
        "prompt": None,
        "split": "last_tenth 0123456789ab",
        "part": "test",
        "lists": "ba9876543210",
        "negatives": "uniform",
        "candidates": 20,
        "users": users,
        "targets": np.arange(n) % 40,
        "ranks": ranks,
        "best_ranks": ranks,
        "picks": np.arange(n) % 40,
        "broken": np.zeros(n, dtype=bool),
        "pick_popularity": np.full(n, 30.0),
        "target_popularity": np.full(n, 20.0),
        "candidate_popularity": 10.0,
    }
    return CandidateResult(**{**known, **fields})


def whole(
    ranks: np.ndarray, popularity: np.ndarray, fifths: np.ndarray, users: np.ndarray = USERS, **fields: Any
) -> FullResult:
    """Over the whole catalog. popularity, fifths: of the lists, (cases,) and (cases, 5); the histories are even."""
    n = ranks.size
    tenths = np.repeat(fifths.sum(axis=0) / fifths.sum() / 2, 2)
    even = np.full(10, 0.1)
    bias = BiasReport(
        {"popularity": popularity.astype(np.float64)},
        {},
        {"popularity": 20.0},
        tenths,
        even,
        even,
        fifths.astype(np.int32),
        np.full((n, 5), 2, dtype=np.int32),
    )
    known: dict[str, Any] = {
        "scorer": "made",
        "prompt": None,
        "split": "last_tenth 0123456789ab",
        "part": "test",
        "mask_seen": "history",
        "k": 10,
        "items": 40,
        "cases": np.arange(n),
        "dropped": np.empty(0, dtype=np.int64),
        "cold": 0,
        "users": users,
        "targets": np.arange(n) % 40,
        "ranks": ranks,
        "top": np.zeros((n, 10), dtype=np.int64),
        "bias": bias,
    }
    return FullResult(**{**known, **fields})


def write_store(
    folder: Path,
    results: Mapping[tuple[str, str], Mapping[str, Sequence[Result]]],
    *,
    claims: Sequence[Mapping[str, Any]] = (),
    seeds: int = 1,
    keys: Mapping[str, Mapping[str, Any]] | None = None,
    curves: Sequence[Mapping[str, Any]] = (),
    costs: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    checks: Mapping[str, Any] | None = None,
    **said: Any,
) -> Store:
    """results: by data set and protocol, by row, one a seed. keys, costs: by row. curves: by row and seed."""
    folder.mkdir(parents=True)
    rows, cases, spent = [], {}, {}
    for (data, protocol), by_row in results.items():
        for row, given in by_row.items():
            for seed, result in enumerate(given):
                labels = _labels(data, row, seed, (keys or {}).get(row, {}))
                frame = taken_apart(result)
                rows.append({**labels, "protocol": protocol, "meta": frame.meta, "recipe": "{}"})
                cell = pl.lit(labels["cell"]).alias("cell")
                cases.setdefault(protocol, []).append(frame.cases.insert_column(0, cell))
                cost = (costs or {}).get(row, [{}] * len(given))[seed]
                spent[labels["cell"]] = {**labels, "seconds": 60.0, "peak_gb": 1.0, **cost}
    pl.DataFrame(rows).write_parquet(folder / "cells.parquet")
    pl.DataFrame(list(spent.values()), infer_schema_length=None).write_parquet(folder / "costs.parquet")
    for protocol, frames in cases.items():
        pl.concat(frames, how="diagonal").write_parquet(folder / f"{protocol}.parquet")
    if curves:
        logged = [
            {**_labels(one["data"], one["row"], one["seed"], (keys or {}).get(one["row"], {})), **one} for one in curves
        ]
        pl.DataFrame(logged, infer_schema_length=None).write_parquet(folder / "curves.parquet")
    (folder / "checks.json").write_text(json.dumps(checks or {}))
    known = {"title": "Made", "base": "SFT", "tried": {}, "command": "napo sweep made.yaml", "cells": 1, "done": 1}
    whole = {**known, "seeds": list(range(seeds)), "claims": list(claims), **said}
    (folder / "sweep.json").write_text(json.dumps(whole))
    return Store(folder)


def _labels(data: str, row: str, seed: int, keys: Mapping[str, Any]) -> dict[str, Any]:
    method = row.partition(",")[0]
    return {
        "cell": f"{data} {row} {seed}",
        "kind": method if method in UNTRAINED else "model",
        "row": row,
        "method": method,
        "data": data,
        "seed": seed,
        "keys": json.dumps(dict(keys)),
    }
