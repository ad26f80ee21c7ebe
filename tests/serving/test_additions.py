"""New items in a model's folder: they are ranked like any other, and the folder is whole or as it was."""

import hashlib

import numpy as np
import polars as pl
import pytest

import napo
from napo.errors import UserError
from napo.evaluation.runs import evaluate_run
from napo.models.tokens import title_tokens
from napo.scoring.batch import NONE, Row
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.shared_prefix import judging
from napo.scoring.tree import PrefixTree
from napo.serving.additions import _titles_a_way, add_items
from napo.training.run import train_recipe
from tests.recommenders import FILMS, small_recommender
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
    """An untrained model knows no favourites: of many more first tokens, all new, one is the likeliest."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    after = before.with_items(pl.DataFrame({"item": letters, "title": letters}))
    assert {after.recommend([key], k=1)[0].key for key in FILMS.keys[:4]} & set(letters)


def test_their_log_probs_are_those_of_each_title_by_itself(after):
    language, history = after.language, np.array([0, 9])
    rows = [Row(history, NONE, np.arange(46), np.full(46, 2))]
    with judging(language.policy):
        alone = naive_title_log_probs(language.policy, rows, language.tree, language.frame, "catalog")
    found = after.recommend(["i00", "i09"], k=46, exclude_seen=False)
    assert {one.item: one.log_prob for one in found} == pytest.approx(dict(enumerate(alone.tolist())), abs=1e-5)


@pytest.mark.parametrize("history", [["Alien"], ["n1", "Амели", "Crash"]])
def test_the_probabilities_of_all_distinct_titles_still_sum_to_one(after, history):
    found = after.recommend(history, k=50, exclude_seen=False)
    by_title = {item.title: item.log_prob for item in found}
    assert len(by_title) == 45  # two are called "Crash"
    assert sum(np.exp(log_prob) for log_prob in by_title.values()) == pytest.approx(1, abs=1e-5)


def test_a_new_title_takes_its_probability_from_those_that_it_shares_its_beginning_with(before):
    """An old title of one token, whose end was certain: the new one goes on where it ended."""
    tokens = title_tokens(before.language.tokenizer, ["Crash", "Crashing"])
    assert tokens[1][: len(tokens[0]) - 1] == tokens[0][:-1]
    after = before.with_items(pl.DataFrame({"item": ["n"], "title": ["Crashing"]}))
    old, new = (
        {one.key: one.log_prob for one in model.recommend(["Alien"], k=50, exclude_seen=False)}
        for model in (before, after)
    )
    assert np.exp(new["i02"]) + np.exp(new["n"]) == pytest.approx(np.exp(old["i02"]), rel=1e-4)
    assert {key: new[key] for key in old if key not in ("i02", "i03")} == pytest.approx(
        {key: old[key] for key in old if key not in ("i02", "i03")}, abs=1e-5
    )


def test_new_items_can_stand_in_a_history_be_filtered_and_are_unpopular(after):
    assert after.recommend(["Alien 3"], where="genre=War", k=40)[0].item >= 7
    assert "n4" in [one.key for one in after.recommend(["Alien 3"], where="genre=War", k=40)]
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
    assert changed <= {"model/catalog.parquet", "model/popularity.parquet", "model/histories.parquet"}
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


@pytest.mark.parametrize(("title", "expected"), [((2, 3, 1), 1), ((2, 4, 9, 1), 1), ((9, 1), 2), ((2, 9, 1), 1.5)])
def test_how_many_titles_a_way_leads_to_where_a_new_one_leaves(title, expected):
    """Three titles begin with 2 and then part two ways, one begins with 5: 4 / 2 at the root, 3 / 2 behind the 2."""
    tree = PrefixTree.build([(2, 3, 1), (2, 3, 1), (2, 4, 1), (5, 1)], end=1)
    assert _titles_a_way(tree, np.array(title)) == expected


@pytest.mark.slow
def test_what_a_new_title_is_worth_beside_a_trained_model(tmp_path):
    """41 titles of few first tokens. Where a new one goes on as they do it is one of many; with a token of its own it
    is as likely as a first token, not as a title, and comes first: that is said.
    """
    recipe = tiny_recipe(tmp_path / "data", chain=True, sft={"epochs": 15.0, "evaluate_every": 5.0})
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    judged = [table.to_json() for table in evaluate_run(run.folder)]
    old = napo.Recommender.load(run.folder)
    added = add_items(run.folder, pl.DataFrame({"item": ["like", "unlike"], "title": ["Title number 40", "Zebra"]}))
    assert (added.untrained, added.favoured) == (1, 1)
    assert "may come first for everybody" in added.lines()[-2]
    new = napo.Recommender.load(run.folder)
    for user in new.users:
        after = new.recommend(user=user, k=50, exclude_seen=False)
        assert sum(np.exp(item.log_prob) for item in after) == pytest.approx(1, abs=1e-5)
        keys = [item.key for item in after]
        assert keys.index("like") > 1  # behind the best of the old ones too
        assert keys.index("unlike") == 0
        elsewhere = [item.key for item in after if not item.title.startswith(("Title number 4", "Z"))]
        before = old.recommend(user=user, k=50, exclude_seen=False)
        assert elsewhere == [item.key for item in before if not item.title.startswith("Title number 4")]
    assert [table.to_json() for table in evaluate_run(run.folder)] == judged
