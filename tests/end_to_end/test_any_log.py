"""Four data sets in their publishers' forms, made small: each goes from files to report by its recipe."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from napo.cli import main
from tests.data.row_files import ids, write, write_chain, write_items

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    *("sft.epochs=1", "sft.evaluate_every=1", "preference.epochs=0.5", "auxiliary.epochs=1", "model.width=16"),
    *("auxiliary.validate_every=1", "model.layers=1", "model.heads=2", "model.feed_forward=32", "model.vocabulary=400"),
)
FILMS = [f"Film, The Séquel {number} ({1990 + number % 9})" for number in range(40)]
USERS, LENGTH = 24, 12


def ratings() -> list[tuple[int, int, int, int]]:
    """24 users of 12 films each, one after the other, all of them liked."""
    return [
        (user + 1, (3 * user + step) % len(FILMS) + 1, 4 + step % 2, 874_000_000 + 1000 * user + step)
        for user in range(USERS)
        for step in range(LENGTH)
    ]


def movielens_original(folder: Path) -> None:
    """u.data by tabs; u.item in Latin-1, by bars, with 19 flags for genres."""
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in ratings()))
    flags = "|".join(["0"] * 5 + ["1"] + ["0"] * 13)
    lines = [f"{item}|{title}|01-Jan-1995||http://x.org/{item}|{flags}\n" for item, title in enumerate(FILMS, start=1)]
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))


def movielens_csv(folder: Path) -> None:
    """ratings.csv with ratings such as 4.0; movies.csv with titles in quotes, as they hold commas."""
    with (folder / "ratings.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["userId", "movieId", "rating", "timestamp"])
        rows.writerows([user, item, float(rating), time] for user, item, rating, time in ratings())
    with (folder / "movies.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["movieId", "title", "genres"])
        rows.writerows([item, title, "Comedy|Drama"] for item, title in enumerate(FILMS, start=1))


def lastfm(folder: Path) -> None:
    """Rows of titles with candidates, to validate and to test on; training windows by ids."""
    write_chain(folder, users=USERS, items=len(FILMS), length=LENGTH)
    (folder / "valid.json.gz").rename(folder / "val.json.gz")


def amazon_industrial(folder: Path) -> None:
    """Rows with their users, none to train on."""
    write_items(folder, [f"Tool {number}" for number in range(len(FILMS))])
    for name, seen in (("valid", LENGTH - 2), ("test", LENGTH - 1)):
        taken = [[(3 * user + step) % len(FILMS) for step in range(seen + 1)] for user in range(USERS)]
        windows = [(items[:-1], items[-1], f"u{user}") for user, items in enumerate(taken)]
        write(folder / f"{name}.jsonl.gz", ids(*windows))


# what the run folder says was read, of each
SETS = {
    "movielens-original": (movielens_original, {"events": USERS * LENGTH, "items": len(FILMS)}),
    "movielens-csv": (movielens_csv, {"events": USERS * LENGTH, "items": len(FILMS)}),
    "lastfm": (lastfm, {"train_rows": USERS * (LENGTH - 2), "valid_rows": USERS, "test_rows": USERS}),
    "amazon-industrial": (amazon_industrial, {"valid_rows": USERS, "test_rows": USERS}),
}


def test_the_recipes_differ_in_their_data_alone():
    methods = [yaml.safe_load((RECIPES / name / "napo.yaml").read_text()) for name in SETS]
    assert all(written.pop("extends") == "../napo.yaml" for written in methods)
    assert all(written.keys() == {"data", "split"} for written in methods)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_each_goes_from_files_to_report_by_its_recipe(name, tmp_path, capsys):
    make, counts = SETS[name]
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    make(data)
    with pytest.raises(SystemExit) as ended:
        main(["train", str(RECIPES / name / "napo.yaml"), f"data.folder={data}", *SMALL, "--out", str(run)])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert all(row in printed for row in ("chance", "popularity", "SASRec", "SFT", "NAPO"))
    read = json.loads((run / "run.json").read_text())["read"]
    assert {key: read.get(key) for key in counts} == counts
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "NAPO" in report
    tables = json.loads((run / "comparison.json").read_text())["tables"]
    assert {"cand20", "full"} <= set(tables)
