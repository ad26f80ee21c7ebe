"""New items in a model's folder: they are ranked like any other, and the folder is whole or as it was."""

import hashlib

import numpy as np
import polars as pl
import pytest

import napo
from napo.data.histories import Histories
from napo.errors import UserError
from napo.evaluation.runs import evaluate_run
from napo.models.tokens import title_tokens
from napo.scoring.batch import NONE, Row
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.shared_prefix import judging
from napo.serving.additions import add_items
from napo.serving.recommender import Recommender
from napo.training.run import train_recipe
from tests.recommenders import POPULARITY, small_recommender
from tests.tiny_world import Quiet, largest_file, tiny_recipe

NEW = pl.DataFrame(
    {
        "item": [f"n{number}" for number in range(6)],
        # a beginning of an old title, a longer one than an old one, other scripts, and what no title is like
        "title": ["Al", "Alien 3", "Title number 40", "Амели", "Zebra & Ωmega", "Me; Myself & Irene"],
        "genre": ["Horror", "Horror", "Comedy", None, "War", "Comedy"],
    }
)


@pytest.fixture(scope="module")
def before():
    return small_recommender()


@pytest.fixture(scope="module")
def after(before):
    return before.with_items(NEW)


@pytest.fixture
def folder(before, tmp_path):
    before.save(tmp_path / "run" / "model")
    return tmp_path / "run"


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_new_titles_are_ranked_among_the_others(before, after):
    history = ["Alien", "Title number 9"]
    found = after.recommend(history, k=50)
    assert sorted(item.item for item in found) == [item for item in range(46) if item not in (0, 9)]
    assert before.recommend(history, k=50).items != found.items


def test_a_new_title_can_come_first(before):
    """Behind the likeliest title, for somebody who has met that one: some of its sequels are as likely as it is."""
    best = before.recommend(["Alien"], k=1)[0]
    met = Histories(("dan",), (np.array([0]),), (np.array([0, best.item]),), POPULARITY)
    sequels = [best.title + chr(code) for code in range(ord("a"), ord("z") + 1)]
    after = Recommender(before.language, met).with_items(pl.DataFrame({"item": sequels, "title": sequels}))
    assert after.recommend(user="dan", k=1)[0].title in sequels
    assert after.recommend(["Alien"], k=1)[0] == best


def test_their_log_probs_are_those_of_each_title_by_itself(after):
    language, history = after.language, np.array([0, 9])
    rows = [Row(history, NONE, np.arange(46), np.full(46, 2))]
    with judging(language.policy):
        alone = naive_title_log_probs(language.policy, rows, language.tree, language.frame, "catalog")
    found = after.recommend(["i00", "i09"], k=46, exclude_seen=False)
    assert {one.item: one.log_prob for one in found} == pytest.approx(dict(enumerate(alone.tolist())), abs=1e-5)


@pytest.mark.parametrize("history", [["Alien"], ["n1", "Амели", "Crash"]])
def test_the_probabilities_of_old_titles_still_sum_to_one(after, history):
    found = after.recommend(history, k=50, exclude_seen=False)
    by_title = {item.title: item.log_prob for item in found if item.item < 40}
    assert len(by_title) == 39  # two are called "Crash"
    assert sum(np.exp(log_prob) for log_prob in by_title.values()) == pytest.approx(1, abs=1e-5)


def test_old_titles_keep_what_they_had_and_a_new_one_gets_at_most_an_average_one_s(before):
    """Two items are called "Crash"; their end was certain, and the new one goes on where they ended."""
    tokens = title_tokens(before.language.tokenizer, ["Crash", "Crashing"])
    assert tokens[1][: len(tokens[0]) - 1] == tokens[0][:-1]
    after = before.with_items(pl.DataFrame({"item": ["n"], "title": ["Crashing"]}))
    old, new = (
        {one.key: one.log_prob for one in model.recommend(["Alien"], k=50, exclude_seen=False)}
        for model in (before, after)
    )
    assert {key: new[key] for key in old} == pytest.approx(old, abs=1e-5)
    assert new["n"] <= old["i02"] + np.log(1 / 2) + 1e-5


def test_new_items_can_stand_in_a_history_be_filtered_and_are_unpopular(after):
    assert after.recommend(["Alien 3"], filter="genre=War", k=40)[0].item >= 7
    assert "n4" in [one.key for one in after.recommend(["Alien 3"], filter="genre=War", k=40)]
    assert after.recommend([], k=46)[45].key == "n5"
    assert after.recommend(user="ann", k=50)[0].log_prob is not None


def test_a_folder_with_new_items_opens_as_the_recommender_that_was_saved(folder, after):
    added = add_items(folder, NEW)
    assert (added.items, added.counts["items_added"]) == (46, 6)
    back = napo.Recommender.load(folder)
    assert back.catalog.keys == after.catalog.keys
    assert back.catalog.columns.equals(after.catalog.columns)
    found, expected = (model.recommend(["Alien"], k=46) for model in (back, after))
    assert [one.item for one in found] == [one.item for one in expected]
    assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in expected], abs=1e-6)
    assert sorted(path.name for path in folder.iterdir()) == ["model"]


def test_only_catalog_and_popularity_change_and_a_second_time_nothing_does(folder):
    old = digests(folder)
    add_items(folder, NEW)
    once = digests(folder)
    changed = {name for name in once if once[name] != old.get(name)}
    assert once.keys() == old.keys()
    names = ("catalog.parquet", "popularity.parquet", "napo.json", "README.md")
    assert changed <= {f"model/{name}" for name in names}
    again = add_items(folder, NEW)
    assert (again.counts["items_added"], again.counts["items_there_already"]) == (0, 6)
    assert digests(folder) == once


@pytest.mark.parametrize(("title", "said"), [("x" * 3000, "room for"), ("", None)])
def test_a_title_that_can_not_be_asked_for_leaves_the_folder_as_it_was(folder, title, said):
    old = digests(folder)
    new = pl.DataFrame({"item": ["n1", "n2"], "title": ["Fargo", title]})
    if said is None:
        assert add_items(folder, new).counts["items_without_title"] == 1
        return
    with pytest.raises(UserError, match=said):
        add_items(folder, new)
    assert digests(folder) == old


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(folder):
    old = digests(folder)
    with largest_file(1000), pytest.raises(UserError, match="cannot write"):
        add_items(folder, NEW)
    assert digests(folder) == old
    assert sorted(path.name for path in folder.iterdir()) == ["model"]


def test_what_was_added_skipped_and_is_untrained_is_said(folder):
    new = pl.DataFrame({"item": ["i00", "n1", "n2"], "title": ["Alien", "Crash", "Ωmega"]})
    lines = add_items(folder, new).lines()
    assert lines[0] == "1 items added (Ωmega)"
    assert lines[1] == "1 are there already: skipped (i00)"
    assert lines[2].startswith("1 have the title of another item: skipped")
    assert lines[3].startswith("1 of the new titles hold tokens that no title had in training")
    assert lines[-1] == "the catalog has 41 items"


def test_what_is_added_in_two_steps_is_what_is_added_at_once(before, after):
    steps = before.with_items(NEW[:2]).with_items(NEW[2:])
    found, expected = (model.recommend(["Alien"], k=46, exclude_seen=False) for model in (steps, after))
    assert {one.key: one.log_prob for one in found} == pytest.approx(
        {one.key: one.log_prob for one in expected}, abs=1e-6
    )


@pytest.mark.slow
def test_what_a_new_title_is_worth_beside_a_trained_model(tmp_path):
    """40 titles of few first tokens: a new one with a token of its own is as likely as an average title, not as a way
    on that leads to several; no old one moves.
    """
    recipe = tiny_recipe(tmp_path / "data", chain=True, sft={"epochs": 15.0, "evaluate_every": 5.0})
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    judged = [table.to_json() for table in evaluate_run(run.folder)]
    old = napo.Recommender.load(run.folder)
    added = add_items(run.folder, pl.DataFrame({"item": ["like", "unlike"], "title": ["Title number 40", "Zebra"]}))
    assert added.untrained == 1
    new = napo.Recommender.load(run.folder)
    for user in new.users:
        after = {item.key: item.log_prob for item in new.recommend(user=user, k=50, exclude_seen=False)}
        before = {item.key: item.log_prob for item in old.recommend(user=user, k=50, exclude_seen=False)}
        assert {key: after[key] for key in before} == pytest.approx(before, abs=1e-4)
        assert max(after["like"], after["unlike"]) < max(before.values())
        assert after["unlike"] <= np.log(1 / 40) + 1e-6
    assert [table.to_json() for table in evaluate_run(run.folder)] == judged
