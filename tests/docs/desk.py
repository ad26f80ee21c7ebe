"""The folder in which the commands of the how-to pages are typed: the files that the pages name, made small.

30 users of 8 films each, out of 40; napo's own sweeps, and its recipes of a model that trains in a second; a finished
run under three names.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from napo.events import Event
from napo.events.store import EventStore
from tests.commands import napo_in
from tests.data.row_files import write_chain
from tests.docs.commands import ROOT, block

FILMS = ["Alien (1979)", "Heat (1995)", "Aliens (1986)", *(f"Film number {n} ({1980 + n})" for n in range(3, 40))]
USERS = [str(number) for number in range(20, 50)]  # 42 is one of them
START = 1_700_000_000
MINUTE = 60_000
EVENTS = [
    {
        "user": user,
        "item": f"i{(3 * place + step) % 40:02d}",
        "rating": 4 + step % 2,
        "time": START + 1000 * place + step,
    }
    for place, user in enumerate(USERS)
    for step in range(8)
]
ITEMS = [
    {"item": f"i{n:02d}", "title": title, "genre": genre, "class": genre, "year": int(title[-5:-1])}
    for n, title in enumerate(FILMS)
    for genre in (("Comedy", "Drama", "War")[n % 3],)
]
KEYS: dict[str, Any] = {
    "data": {"interactions": "log.csv", "items": "items.csv"},
    "model": {"width": 16, "layers": 2, "heads": 2, "feed_forward": 32, "vocabulary": 300},
    "sft": {"epochs": 1.0, "lr": 1e-2, "warmup_steps": 0},
    "preference": {"epochs": 0.5, "lr": 1e-3, "warmup_steps": 0},
    "auxiliary": {"name": "sasrec", "epochs": 1, "validate_every": 1, "model": {"width": 8, "heads": 1}},
}


def lay_out(desk: Path) -> None:
    """Fill the desk; trains one run."""
    for name in ("log", "my-log"):
        pl.DataFrame(EVENTS).write_csv(desk / f"{name}.csv")
    for name in ("items", "my-items"):
        pl.DataFrame(ITEMS).write_csv(desk / f"{name}.csv")
    pl.DataFrame({"item": ["new"], "title": ["A new film (2025)"]}).write_csv(desk / "new-items.csv")
    shutil.copytree(ROOT / "sweeps", desk / "sweeps")
    for path in (ROOT / "recipes").rglob("*.yaml"):
        _write(desk / path.relative_to(ROOT), _small(path, desk))
    _write(desk / "base.yaml", KEYS)
    for method in ("sdpo", "napo"):
        _write(desk / f"{method}.yaml", {"extends": "base.yaml", "objective": {"name": method}})
    _write(desk / "sft.yaml", {"extends": "base.yaml"})
    ran = napo_in(desk)("train", "sdpo.yaml", "--out", "runs/mine")
    assert ran.code == 0, ran.err
    for name in ("napo", "sft"):
        shutil.copytree(desk / "runs" / "mine", desk / "runs" / name)


def _small(path: Path, desk: Path) -> dict[str, Any]:
    """One of napo's recipes, of a small model, with this desk's log where it names MovieLens, and of few rounds."""
    keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "extends" not in keys:
        data = {name: str(desk / file) for name, file in KEYS["data"].items()}
        keys |= {name: section for name, section in KEYS.items() if name != "data"}
        keys |= {"data": data} if "data" in keys else {}
    if "rounds" in keys:
        keys["rounds"] |= {"count": 1, "examples": 64}
    keys.get("negatives", {}).pop("embedder", None)  # 83 MB: the model's own token vectors do
    return dict(keys)


def _write(path: Path, keys: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")


def for_data(desk: Path) -> None:
    """Amazon's reviews and products, MovieLens' ratings and films, a shop's database."""
    reviews = "".join(
        json.dumps(
            {"reviewerID": one["user"], "asin": one["item"], "overall": one["rating"], "unixReviewTime": one["time"]}
        )
        + "\n"
        for one in EVENTS
    )
    products = "".join(repr({"asin": one["item"], "title": one["title"]}) + "\n" for one in ITEMS)
    for name, text in (
        ("reviews_Beauty", reviews),
        ("meta_Beauty", products),
        ("reviews", reviews),
        ("meta", products),
    ):
        (desk / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
    ratings = [f"{one['user']}::{one['item'][1:]}::{one['rating']}::{one['time']}\n" for one in EVENTS]
    (desk / "ratings.dat").write_text("".join(ratings))
    (desk / "movies.dat").write_text("".join(f"{one['item'][1:]}::{one['title']}::Drama\n" for one in ITEMS))
    import duckdb

    orders = pl.DataFrame(EVENTS).rename({"user": "customer", "item": "product", "time": "bought_at"}).drop("rating")
    with duckdb.connect(str(desk / "shop.duckdb")) as shop:
        shop.execute("CREATE TABLE orders (customer VARCHAR, product VARCHAR, bought_at BIGINT)")
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders.rows())
    _write(desk / "recipe.yaml", {**KEYS, "data": {"source": "ml-100k"}, "objective": {"name": "sdpo"}})


def for_own_objective(desk: Path) -> None:
    """The objective and the recipe that the page shows."""
    (desk / "hinge.py").write_text(block("own-objective.md", "class Objective"), encoding="utf-8")
    (desk / "mine.yaml").write_text(block("own-objective.md", "./hinge.py"), encoding="utf-8")


def for_rounds(desk: Path) -> None:
    """The rounds that the page shows, of a small model and over few rounds."""
    shown = yaml.safe_load(block("rounds.md", "rounds:"))
    shown["rounds"] |= {"count": 2, "examples": 64}
    _write(desk / "recipes" / "ml100k" / "sprec.yaml", {"extends": "base.yaml", **shown})


def for_refresh(desk: Path) -> None:
    """The log as it is later: four more films of each user, one of them new."""
    later = [
        {"user": user, "item": item, "rating": 5, "time": START + 10_000 + 60 * step + place}
        for place, user in enumerate(USERS)
        for step, item in enumerate([*(f"i{(3 * place + step) % 40:02d}" for step in (10, 11, 12)), "new"])
    ]
    pl.DataFrame([*EVENTS, *later]).write_csv(desk / "newer.csv")
    new = {"item": "new", "title": "A newer film (2026)", "genre": "Drama", "year": 2026}
    pl.DataFrame([*ITEMS, new]).write_csv(desk / "newer-items.csv")


def for_events(desk: Path) -> None:
    """What the served run showed and what was taken, and the recipe that the page shows."""
    with EventStore.open(desk / "runs" / "mine" / "events.db") as store:
        for user in USERS:
            had = {one["item"] for one in EVENTS if one["user"] == user}
            free = [one["item"] for one in ITEMS if one["item"] not in had]
            for number in range(3):
                shown, request = free[4 * number : 4 * number + 4], f"{user}-{number}"
                when = START * 1000 + 100_000 * MINUTE + 10 * number * MINUTE
                told = {"time": when, "request": request}
                store.append([Event(user, item, "shown", position=n, **told) for n, item in enumerate(shown, start=1)])
                store.append([Event(user, shown[1], "took", time=when + MINUTE, request=request)])
    (desk / "next.yaml").write_text(block("events.md", "next.yaml"), encoding="utf-8")


def for_readme(desk: Path) -> None:
    """A place for the run that is trained there, a sweep, and a loss of one's own."""
    shutil.rmtree(desk / "runs" / "mine")
    _write(desk / "sweep.yaml", {"methods": {"SFT": {"recipe": "sft.yaml"}, "S-DPO": {"recipe": "sdpo.yaml"}}})
    (desk / "my_loss.py").write_text(block("own-objective.md", "class Objective"), encoding="utf-8")


def for_experiments(desk: Path) -> None:
    """The sweep that the page shows, and a method of one's own."""
    (desk / "sweep.yaml").write_text(block("experiments.md", "NAPO without sharing:"), encoding="utf-8")
    _write(desk / "mine.yaml", {"extends": "recipes/ml100k/base.yaml", "objective": {"name": "dmpo"}})


def results(desk: Path) -> None:
    """What a sweep has left, where the page reports of two."""
    swept, kept = desk / "runs" / "sweep" / "sweep" / "store", desk / "docs" / "results" / "napo"
    for name in ("one", "two"):
        shutil.copytree(swept, kept / name / "store")


def for_search(desk: Path) -> None:
    """The search that the page shows, with fewer trials."""
    shown = yaml.safe_load(block("search.md", "trials: 8"))
    _write(desk / "search.yaml", {**shown, "trials": 2})


def for_lastfm(desk: Path) -> None:
    """Rows in the form of S-DPO's files."""
    write_chain(desk / "LASTFM", candidates=20)
    (desk / "LASTFM" / "valid.json.gz").rename(desk / "LASTFM" / "val.json.gz")


def another_tool(desk: Path) -> None:
    """Between two commands of its page: ranks the exported cases, by how often an item was taken."""
    cases = {
        name: pl.read_parquet(desk / "cases" / f"{name}.parquet") for name in ("train", "test_cases", "test_candidates")
    }
    taken = cases["train"].group_by("item").len("score")
    scores = cases["test_candidates"].join(taken, on="item", how="left").with_columns(pl.col("score").fill_null(0))
    scores.select("user", "position", "item", "score").write_parquet(desk / "scores.parquet")
    everything = cases["test_cases"].join(pl.DataFrame(ITEMS).select("item"), how="cross")
    unseen = everything.filter(~pl.col("history").list.contains(pl.col("item")))
    ranked = unseen.with_columns(rank=pl.col("item").rank("ordinal").over("user", "position"))
    ranked.select("user", "position", "item", "rank").write_parquet(desk / "lists.parquet")


# by page, what happens before a command; {command's place on its page: what happens}
BEFORE: dict[str, dict[int, Callable[[Path], None]]] = {
    "README.md": {0: for_readme},
    "docs/data.md": {0: for_data},
    "docs/evaluation.md": {},
    "docs/events.md": {0: for_events},
    "docs/experiments.md": {0: for_experiments, 3: results},
    "docs/judge-another-tool.md": {1: another_tool},
    "docs/own-objective.md": {0: for_own_objective},
    "docs/refresh.md": {0: for_refresh},
    "docs/results/lastfm-legacy.md": {0: for_lastfm},
    "docs/rounds.md": {0: for_rounds},
    "docs/search.md": {0: for_search},
    "docs/serving.md": {},
}
