"""A run goes on with a newer log: who keeps which number, what it cost and brought, and a server that takes it."""

import csv
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

import napo
from napo.data.catalog import Catalog
from napo.data.fetch import cached, fetch
from napo.events import Event
from napo.events.store import FILE, EventStore
from napo.serving.http.models import load_recommender
from tests.commands import files_in, napo_in, nothing_changes_in, power_cut_after, write_recipe
from tests.serving.http.http_desk import server
from tests.tiny_world import tiny_keys

LATER = 1_800_000_000  # after all events of the first log
OLD_USERS, NEW_USERS, SINCE, NEW_EACH = 30, 3, 4, 8
NEW_ITEMS = {"a-film": "Number of titles", "b-film": "A film about titles"}  # their keys come before i00
ML100K = Path(__file__).parents[2] / "recipes" / "ml100k" / "napo.yaml"
PRIVATE = "user-key-"  # so begins every user's key


def write_later(folder: Path) -> None:
    """The old log, and since then four events of each old user and eight of each of three new ones, place by place.

    Everybody's second new event is a new item, and so is every other one's fourth: an old user's fourth is the newest.
    The items file lacks two of the old ones.
    """
    with (folder / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    met = {f"{PRIVATE}u{user:02d}": set() for user in range(OLD_USERS)}
    for row in rows:
        met[row["user"]].add(row["item"])
    for number in range(NEW_USERS):
        met[f"{PRIVATE}new{number}"] = set()
    for place in range(NEW_EACH):
        for number, (user, seen) in enumerate(met.items()):
            if place >= SINCE and "new" not in user:
                continue
            free = [f"i{(7 * number + step) % 38:02d}" for step in range(38)]
            item = next(one for one in free if one not in seen)
            if place == 1 or (place == 3 and number % 2):
                item = list(NEW_ITEMS)[(number + place) // 2 % 2]
                item = item if item not in seen else next(one for one in NEW_ITEMS if one not in seen)
            seen.add(item)
            time = LATER + 1000 * place + number if "new" not in user else LATER + 400 * place + number
            rows.append({"user": user, "item": item, "rating": "5", "time": str(time)})
    with (folder / "later.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["user", "item", "rating", "time"])
        table.writeheader()
        table.writerows(rows)
    with (folder / "later-items.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["item", "title"])
        table.writerows([[key, title] for key, title in NEW_ITEMS.items()])
        table.writerows([[f"i{item:02d}", f"Title number {item}"] for item in range(38)])  # i38 and i39 are gone


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A finished run, and what came later."""
    folder = tmp_path_factory.mktemp("desk")
    keys = tiny_keys(folder)
    text = (folder / "log.csv").read_text().replace("\nu", f"\n{PRIVATE}u")
    (folder / "log.csv").write_text(text)
    keys["data"] = {"interactions": "log.csv", "items": "items.csv"}
    write_recipe(
        folder / "old.yaml",
        keys,
        sft={"epochs": 1.0},
        preference={"epochs": 1.0},
        objective={"name": "napo"},
        evaluation={"protocols": ["cand20", "full"]},
    )
    ran = napo_in(folder)("train", "old.yaml")
    assert ran.code == 0, ran.err
    write_later(folder)
    os.symlink("old", folder / "runs" / "latest")
    return folder


REFRESH = ("train", "--from", "runs/latest", "--data", "later.csv", "--items", "later-items.csv")


@pytest.fixture(scope="module")
def refreshed(desk):
    """(the folder with all of it, how the command ended): the new run is runs/old-r2."""
    before = files_in(desk / "runs" / "old")
    ran = napo_in(desk)(*REFRESH)
    assert ran.code == 0, ran.err
    assert files_in(desk / "runs" / "old") == before
    return desk, ran


def test_old_items_keep_their_numbers_new_ones_come_behind_and_vanished_ones_stay(refreshed):
    desk, _ = refreshed
    old, new = (Catalog.load(desk / "runs" / name / "model" / "catalog.parquet") for name in ("old", "old-r2"))
    assert old.keys == tuple(f"i{item:02d}" for item in range(40))
    assert new.keys == (*old.keys, "a-film", "b-film")
    assert new.titles[38:] == ("Title number 38", "Title number 39", *NEW_ITEMS.values())


def test_it_says_what_was_new_what_it_cost_and_what_it_brought(refreshed):
    desk, ran = refreshed
    said = json.loads((desk / "runs" / "old-r2" / "refresh.json").read_text())
    assert said["run"] == "old"
    # 30 x 4 and 3 x 8 events are new, 30 x 8 were known
    assert said["counts"] == {
        "new_users": 3,
        "new_items": 2,
        "new_interactions": 144,
        "interactions_known_before": 240,
        "items_kept_from_before": 2,
    }
    assert set(said["seconds"]) == {"SASRec", "SFT", "NAPO"}
    assert said["steps"] > 0
    assert said["memory_gb"] > 0
    gains = {(one["protocol"], one["which"]): one for one in said["gains"]}
    assert set(gains) == {(protocol, which) for protocol in ("cand20", "full") for which in ("all", "known", "new")}
    for protocol in ("cand20", "full"):
        parts = [gains[protocol, which] for which in ("all", "known", "new")]
        assert parts[0]["cases"] == parts[1]["cases"] + parts[2]["cases"]
        assert parts[2]["before"] == 0  # what it could not name, it missed
        for one in parts:
            assert one["difference"]["value"] == pytest.approx(one["after"] - one["before"])
            assert one["difference"]["low"] <= one["difference"]["value"] <= one["difference"]["high"]
    # the newest fifth of 144 new events: the fourth of users 1 to 29, a new item for the 15 odd ones
    assert [gains["cand20", which]["cases"] for which in ("all", "known", "new")] == [29, 14, 15]
    page = (desk / "runs" / "old-r2" / "report.html").read_text()
    for line in said["lines"]:
        assert line in ran.out
    assert "before the refresh" in page
    assert "new interactions" in page
    table = (desk / "runs" / "old-r2" / "table.md").read_text()
    assert "HR@1 against before the refresh" in table


def test_the_newest_events_are_held_out_and_the_passes_are_few(refreshed):
    desk, ran = refreshed
    recipe = napo_recipe(desk / "runs" / "old-r2")
    # 144 of 384 events are new: a fifth of them is 0.075 of all, a tenth 0.0375
    assert (recipe.split.name, recipe.split.test, recipe.split.valid) == ("global_time", 0.075, 0.0375)
    assert (recipe.sft.epochs, recipe.preference.epochs) == (1.0, 1.0)
    assert recipe.refresh.run == (desk / "runs" / "old").resolve()
    assert recipe.data.catalog == (desk / "runs" / "old-r2" / "known-items.parquet").resolve()
    assert "3 users, 2 items and 144 interactions are new" in ran.err


def napo_recipe(run):
    from napo.recipe import load_recipe

    return load_recipe(run / "recipe.yaml")


def test_no_user_is_named_in_anything_but_the_histories(refreshed):
    desk, ran = refreshed
    assert PRIVATE not in ran.out + ran.err
    for run in ("old", "old-r2"):
        for name, held in files_in(desk / "runs" / run).items():
            assert PRIVATE.encode() not in held or name == "model/histories.parquet", name
    for name, held in files_in(desk / "runs" / "stages").items():
        assert PRIVATE.encode() not in held, name


def test_the_same_log_again_is_told_and_nothing_is_written(refreshed):
    desk, _ = refreshed
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "--from", "runs/old", "--data", "log.csv")
        assert ran.code == 2
        assert "nothing new: old knew all 240 interactions" in ran.err
        ran = napo_in(desk)("train", "--from", "runs/old-r2", "--data", "later.csv", "--out", "runs/again")
        assert ran.code == 2
        assert "nothing new" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "runs/none", "--data", "later.csv"), "runs/none holds no run"),
        (("--from", "runs/old"), "no newer log"),
        (("--from", "runs/old", "--data", "later.csv"), "2 items have no title"),
        (("--from", "runs/old", "--data", "later.csv", "--items", "renamed.csv"), "another title than before (i03"),
        ((*REFRESH[1:], "model.width=32"), "`model.width` is the earlier run's"),
        ((*REFRESH[1:], "--out", "runs/old"), "holds a run already"),
        (("--from", "runs/old", "--data", "none.csv"), "none.csv"),
        ((*REFRESH[1:], "refresh.repaly=0.3"), "refresh.repaly"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(refreshed, words, said):
    desk, _ = refreshed
    renamed = (desk / "later-items.csv").read_text().replace("Title number 3\n", "Another\n")
    (desk / "renamed.csv").write_text(renamed)
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", *words)
        assert ran.code == 2, ran.err
        assert said in ran.err


def test_a_run_that_is_cut_off_goes_on_to_the_same_model(refreshed, tmp_path):
    desk, _ = refreshed
    there = tmp_path / "desk"
    shutil.copytree(desk, there, symlinks=True, ignore=shutil.ignore_patterns("old-r2", "stages"))
    with power_cut_after(2):
        napo_in(there)(*REFRESH)
    assert not (there / "runs" / "old-r2" / "model").exists()
    ran = napo_in(there)(*REFRESH, "--resume")
    assert ran.code == 0, ran.err
    weights = [folder / "runs" / "old-r2" / "model" / "model.safetensors" for folder in (desk, there)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_server_takes_it_by_reload_and_recommends_an_item_that_it_did_not_have(refreshed):
    desk, _ = refreshed
    link = desk / "runs" / "served"
    os.symlink("old", link)
    asked = {"history": ["Title number 3", "Title number 4"], "k": 42, "exclude_seen": False}
    with server({"served": link}, load=load_recommender) as client:

        def keys():
            return {item["key"] for item in client.post("/v1/recommend", json=asked).json()["items"]}

        assert len(keys()) == 40
        pointed_at(link, "broken")
        (desk / "runs" / "broken").mkdir()
        assert client.post("/v1/admin/reload").status_code == 422
        assert len(keys()) == 40
        pointed_at(link, "old-r2")
        assert client.post("/v1/admin/reload").status_code == 200
        assert set(NEW_ITEMS) < keys()


def pointed_at(link: Path, target: str) -> None:
    """What `ln -sfn` does."""
    aside = link.with_name("aside")
    os.symlink(target, aside)
    aside.replace(link)


def test_a_new_user_and_a_new_item_are_known_to_the_new_recommender(refreshed):
    desk, _ = refreshed
    recommender = napo.Recommender.load(desk / "runs" / "old-r2")
    assert recommender.recommend(user=f"{PRIVATE}new0", k=3)
    assert len(recommender.recommend(["Number of titles"], k=41)) == 41


@pytest.mark.slow
def test_a_servers_events_are_a_newer_log_and_a_refresh_can_be_refreshed(refreshed):
    desk, _ = refreshed
    file = desk / "runs" / "old-r2" / FILE
    with EventStore.open(file) as store:
        for user in range(OLD_USERS):
            free = 38 + user % 2
            at = (LATER + 100_000 + user) * 1000
            store.append([Event(f"{PRIVATE}u{user:02d}", f"i{free}", "took", time=at, key=str(user))])
            store.append([Event(f"{PRIVATE}u{user:02d}", "i05", "shown", time=at, key=f"s{user}")])
    ran = napo_in(desk)("train", "--from", "runs/old-r2", "--data", str(file), "--out", "runs/third")
    assert ran.code == 0, ran.err
    said = json.loads((desk / "runs" / "third" / "refresh.json").read_text())
    known = pl.read_csv(desk / "log.csv").filter(pl.col("item").is_in(["i38", "i39"]))
    taken = known.filter(pl.col("item") == "i" + (38 + pl.col("user").str.tail(2).cast(int) % 2).cast(str)).height
    assert said["counts"]["new_interactions"] == OLD_USERS - taken
    assert said["run"] == "old-r2"
    assert Catalog.load(desk / "runs" / "third" / "model" / "catalog.parquet").keys[40:] == tuple(NEW_ITEMS)
    assert (desk / "runs" / "third-traffic" / "exposures.parquet").is_file()


@pytest.mark.slow
def test_movielens_goes_on_after_four_fifths_of_its_time(tmp_path):
    """What a longer run brought stands in docs/journal.md."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPO_CACHE", str(tmp_path / "cache"))
        fetch("ml-100k")
        fetch("ml-100k")
        events, items = cached("ml-100k")
    log = pl.read_csv(events, separator="\t", infer_schema=False)
    log = log.sort(pl.col("timestamp:float").cast(float), maintain_order=True)
    first = log.head(len(log) * 8 // 10)
    titles = pl.read_csv(items, separator="\t", infer_schema=False, quote_char=None)
    known = titles.filter(pl.col("item_id:token").is_in(first["item_id:token"].implode()))
    assert (len(first), len(known), len(titles)) == (80_000, 1_616, 1_682)
    files = {"first.inter": first, "all.inter": log, "first.item": known, "all.item": titles}
    for name, frame in files.items():
        frame.write_csv(tmp_path / name, separator="\t", quote_style="never")
    data = ("data.source=null", "data.interactions=first.inter", "data.items=first.item")
    short = ("sft.epochs=2", "preference.epochs=0.3", "auxiliary.epochs=3", "evaluation.full_cases=50")
    desk = napo_in(tmp_path)
    ran = desk("train", str(ML100K), *data, *short, "--out", "runs/first")
    assert ran.code == 0, ran.err
    ran = desk("train", "--from", "runs/first", "--data", "all.inter", "--items", "all.item", "sft.epochs=1")
    assert ran.code == 0, ran.err
    said = json.loads((tmp_path / "runs" / "first-r2" / "refresh.json").read_text())
    assert said["counts"] == {
        "new_users": 192,
        "new_items": 66,
        "new_interactions": 11_303,
        "interactions_known_before": 44_072,
        "items_kept_from_before": 0,
    }
    gains = {one["which"]: one for one in said["gains"] if one["protocol"] == "cand20"}
    assert [gains[which]["cases"] for which in ("all", "known", "new")] == [2_199, 2_159, 40]
    assert gains["new"]["before"] == 0
