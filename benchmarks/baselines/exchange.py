"""The exported cases in numbers, and ranked lists back: all that a baseline of another library needs.

Path    `napo data export-cases --format csv` -> [exchange] -> a baseline -> `napo evaluate --ranked`
Takes   the folder; scores (cases, items) in the order of items.csv, NaN where a model does not know an item
Gives   Export; scores.csv and lists.csv

The standard library and numpy alone: it runs in the environment of whatever library is tried.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LIST_LENGTH = 10


@dataclass(frozen=True)
class Cases:
    """histories: items, oldest first. candidates: (n, C) items. targets: (n,), of validation alone. full: (n,) bool."""

    keys: list[tuple[str, str]]  # user, position
    histories: list[list[int]]
    candidates: Any
    targets: Any
    full: Any


@dataclass(frozen=True)
class Export:
    """train: items of each user who has some, oldest first."""

    items: list[str]
    train: dict[str, list[int]]
    valid: Cases
    test: Cases


def read_export(folder: Path) -> Export:
    """What `napo data export-cases --format csv` wrote."""
    items = [row["item"] for row in rows_of(folder / "items.csv")]
    index = {key: item for item, key in enumerate(items)}
    train: dict[str, list[int]] = {}
    for row in rows_of(folder / "train.csv"):
        train.setdefault(row["user"], []).append(index[row["item"]])
    return Export(items, train, _cases(folder, "valid", index), _cases(folder, "test", index))


def arguments(question: str | None, *before: str) -> argparse.Namespace:
    """What each baseline is told. before: names of paths that one takes besides, in front of the others."""
    parser = argparse.ArgumentParser(description=question)
    for name in (*before, "cases", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={})
    return parser.parse_args()


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _cases(folder: Path, part: str, index: dict[str, int]) -> Cases:
    rows = list(rows_of(folder / f"{part}_cases.csv"))
    keys = [(row["user"], row["position"]) for row in rows]
    listed: dict[tuple[str, str], list[int]] = {key: [] for key in keys}
    for row in rows_of(folder / f"{part}_candidates.csv"):
        listed[row["user"], row["position"]].append(index[row["item"]])
    return Cases(
        keys,
        [[index[item] for item in json.loads(row["history"])] for row in rows],
        np.array([listed[key] for key in keys]),
        np.array([index[row["target"]] for row in rows]) if part == "valid" else None,
        np.array([row.get("full") == "true" for row in rows]),
    )


def validation(cases: Cases, scores: Any) -> dict[str, float]:
    """HR@1 and NDCG of the whole list among the candidates, ties and unknown items against the target."""
    known = np.nan_to_num(scores, nan=-np.inf)
    among = np.take_along_axis(known, cases.candidates, axis=1)
    target = known[np.arange(len(known)), cases.targets]
    ranks = (among >= target[:, None]).sum(axis=1)
    return {"hr@1": float((ranks == 1).mean()), "ndcg": float((1 / np.log2(ranks + 1)).mean())}


@dataclass
class Looks:
    """What was seen of validation, every five epochs; after six looks without gain training stops, as ours does."""

    export: Export
    every: int = 5
    patience: int = 6
    seen: list[dict[str, float]] = field(default_factory=list)

    def due(self, epoch: int) -> bool:
        return epoch % self.every == 0

    def add(self, epoch: int, scores: Any) -> bool:
        """Note the scores of the validation cases; whether none were better before."""
        figures = validation(self.export.valid, scores)
        better = not self.seen or figures["ndcg"] > self.best["ndcg"]
        self.seen.append({"epoch": epoch, **figures})
        return better

    @property
    def best(self) -> dict[str, float]:
        return max(self.seen, key=lambda look: look["ndcg"])

    @property
    def stuck(self) -> bool:
        return sum(look["epoch"] > self.best["epoch"] for look in self.seen) >= self.patience


def hand_in(folder: Path, export: Export, cases: Cases, scores: Any) -> None:
    """scores.csv: of the candidates. lists.csv: the best ten that are not in the history, where `full` is true."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(["user", "position", "item", "score"])
        for key, candidates, row in zip(cases.keys, cases.candidates.tolist(), scores, strict=True):
            known = [item for item in candidates if not np.isnan(row[item])]
            write.writerows([*key, export.items[item], repr(float(row[item]))] for item in known)
    with (folder / "lists.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(["user", "position", "item", "rank"])
        for case in np.flatnonzero(cases.full).tolist():
            row = np.nan_to_num(scores[case], nan=-np.inf)
            row[cases.histories[case]] = -np.inf
            best = [item for item in np.argsort(-row, kind="stable")[:LIST_LENGTH].tolist() if row[item] > -np.inf]
            places = enumerate(best, start=1)
            write.writerows([*cases.keys[case], export.items[item], rank] for rank, item in places)


def finish(folder: Path, export: Export, made: dict[str, Any], valid: Any, test: Any) -> None:
    """Hand in the test lists, and say what the run came to on validation: run.json is written last."""
    hand_in(folder, export, export.test, test)
    said = {**made, "validation": validation(export.valid, valid)}
    (folder / "run.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
