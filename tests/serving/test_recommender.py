"""`napo.Recommender` on a small untrained model: what it answers, what it refuses, what a folder keeps."""

import json
import math
import os
import pickle

import pytest
import torch
from transformers import AutoTokenizer

import napo
from napo.errors import UserError
from napo.models.tiny import make_tokenizer
from napo.serving.where import read_where
from tests.recommenders import FILMS, KEYS, TITLES, USERS, small_recommender


@pytest.fixture(scope="module")
def recommender():
    return small_recommender()


@pytest.fixture
def folder(recommender, tmp_path):
    recommender.save(tmp_path / "model")
    return tmp_path / "model"


def ids(found):
    return [item.item for item in found]


def test_answers_are_the_catalogs_items_best_first_and_never_seen_ones(recommender):
    found = recommender.recommend(["Alien", "Aliens", "Title number 7"], k=12)
    assert len(set(ids(found))) == 12
    assert not {0, 1, 7} & set(ids(found))
    assert all((item.key, item.title) == (KEYS[item.item], TITLES[item.item]) for item in found)
    log_probs = [item.log_prob for item in found]
    assert log_probs == sorted(log_probs, reverse=True)


def test_log_probs_of_the_list_are_those_of_scoring_each_title(recommender):
    history = ["Alien", "Title number 9"]
    found = recommender.recommend(history, k=40)
    assert sorted(ids(found)) == [item for item in range(40) if item not in (0, 9)]
    scores = recommender.score(history, [item.title for item in found])
    assert [item.log_prob for item in found] == pytest.approx(scores, abs=1e-5)


def test_the_probabilities_of_all_distinct_titles_sum_to_one(recommender):
    everything = recommender.recommend(["Alien"], k=100, exclude_seen=False)
    assert sorted(ids(everything)) == list(range(40))
    by_title = {item.title: item.log_prob for item in everything}
    assert sum(math.exp(log_prob) for log_prob in by_title.values()) == pytest.approx(1, abs=1e-5)


def test_films_of_one_title_tie_also_where_the_list_ends_between_them(recommender):
    everything = recommender.recommend(["Alien"], k=39)
    first = ids(everything).index(2)
    assert ids(everything)[first + 1] == 3
    assert everything[first].log_prob == everything[first + 1].log_prob
    assert everything[first].tied
    assert everything[first + 1].tied
    cut = recommender.recommend(["Alien"], k=first + 1)
    assert (cut[first].item, cut[first].tied) == (2, True)


def test_a_title_in_the_history_takes_its_twin_out_and_a_key_does_not(recommender):
    assert not {2, 3} & set(ids(recommender.recommend(["Crash"], k=40)))
    by_key = recommender.recommend(["i03"], k=40)
    assert 3 not in ids(by_key)
    assert not by_key[ids(by_key).index(2)].tied  # nothing left that it could tie with


def test_the_same_title_ten_times_is_a_history_of_ten(recommender):
    once, ten = (recommender.recommend(["Alien"] * times, k=3) for times in (1, 10))
    assert 0 not in ids(ten)
    assert once[0].log_prob != ten[0].log_prob


def test_a_long_history_is_cut_at_the_old_end_and_says_so():
    recommender = small_recommender(max_history=5)
    history = [f"Title number {6 + number % 34}" for number in range(500)]
    found = recommender.recommend(history, k=6)
    assert found.notes[0] == "history cut to the newest 5 of 500 items"
    assert {*ids(found)} <= {*range(6)}  # what was cut off is still seen
    newest = recommender.recommend(history[-5:], k=40)
    assert {item.item: item.log_prob for item in newest}[0] == pytest.approx(
        {item.item: item.log_prob for item in found}[0], abs=1e-5
    )


def test_an_empty_history_gives_popular_items_under_that_name(recommender):
    found = recommender.recommend([], k=4)
    assert ids(found) == [0, 1, 2, 3]
    assert [item.tied for item in found] == [False, False, True, True]
    assert {item.log_prob for item in found} == {None}
    assert found.notes == ("no history: the most popular items",)


def test_a_user_gets_what_follows_the_liked_items_without_those_that_were_met(recommender):
    of_ann, typed = recommender.recommend(user="ann", k=40), recommender.recommend(["i08", "i09"], k=40)
    assert set(ids(typed)) - set(ids(of_ann)) == {0}
    assert of_ann[0].log_prob == pytest.approx(typed[0].log_prob, abs=1e-5)
    assert recommender.users == ("ann", "bob", "cay")


def test_a_user_who_liked_nothing_gets_popular_items(recommender):
    found = recommender.recommend(user="bob", k=2)
    assert ids(found) == [2, 3]
    assert found.notes == ("no history: the most popular items",)


def test_fewer_than_k_left_are_all_that_is_returned(recommender):
    found = recommender.recommend([key for key in KEYS if key not in ("i05", "i30", "i31")], k=10)
    assert sorted(ids(found)) == [5, 30, 31]
    assert "only 3 of the 40 items are left" in found.notes


def test_a_user_who_has_seen_everything_is_told_so(recommender):
    with pytest.raises(UserError, match="seen the whole catalog") as caught:
        recommender.recommend(user="cay")
    assert "exclude_seen=False" in caught.value.remedy
    assert len(recommender.recommend(user="cay", exclude_seen=False, k=3)) == 3


def test_an_unknown_user_is_offered_a_history(recommender):
    with pytest.raises(UserError, match="no user 'nobody'") as caught:
        recommender.recommend(user="nobody")
    assert "--history" in caught.value.remedy


@pytest.mark.parametrize("asked", [{}, {"history": [], "user": "ann"}, {"user": "ann", "k": 0}])
def test_nobody_both_and_no_items_are_mistakes(recommender, asked):
    with pytest.raises(UserError):
        recommender.recommend(**asked)


@pytest.mark.parametrize("where", ["genre=Drama", "year<1925", ["genre!=Comedy", "year>=1930"]])
def test_a_filtered_list_is_the_whole_list_without_the_others(recommender, where):
    allowed = read_where(where, FILMS).items
    whole = recommender.recommend(["Alien", "i20"], k=40)
    some = recommender.recommend(["Alien", "i20"], k=40, filter=where)
    assert ids(some) == [item for item in ids(whole) if allowed[item]]
    short = recommender.recommend(["Alien", "i20"], k=5, filter=where)
    assert [(one.item, one.log_prob) for one in short] == [(one.item, one.log_prob) for one in some][:5]
    assert some.notes[0].startswith(f"{allowed.sum()} of the 40 items have ")
    assert some.notes[-1] == f"only {len(some)} of the {allowed.sum()} items are left"


def test_popular_items_are_filtered_too(recommender):
    found = recommender.recommend([], k=3, filter="genre=Drama")
    assert ids(found) == [2, 3, 7]
    assert "no history: the most popular items" in found.notes


def test_a_user_who_has_seen_all_that_a_filter_leaves_is_told_so(recommender):
    with pytest.raises(UserError, match="seen all 1 items with genre=Horror: nothing is left"):
        recommender.recommend(["Alien"], filter="genre=Horror")
    assert ids(recommender.recommend(["Alien"], filter="genre=Horror", exclude_seen=False)) == [0]


def test_items_come_with_their_columns(recommender):
    first = recommender.recommend([], k=1)
    assert first[0].columns == {"genre": "Horror|Sci-Fi", "Year": "1979"}
    assert first.to_json()["items"][0]["columns"] == {"genre": "Horror|Sci-Fi", "Year": "1979"}


def test_many_histories_are_answered_as_one_by_one(recommender):
    histories = [["Alien"], [], ["Title number 20", "crash", "i11"], ["Aliens"] * 4]
    together = recommender.recommend_many(histories, k=6)
    for found, history in zip(together, histories, strict=True):
        alone = recommender.recommend(history, k=6)
        assert (ids(found), found.notes) == (ids(alone), alone.notes)
    with pytest.raises(UserError) as caught:
        recommender.recommend_many([["Alien"], ["Alien", "Alein"]])
    assert caught.value.where == "history 2, item 2"


def test_scores_of_many_titles_do_not_depend_on_their_company(recommender):
    many = recommender.score(["Alien"], ["Aliens"] * 70)
    assert many == pytest.approx(recommender.score(["Alien"], ["Aliens"]) * 70, abs=1e-5)
    assert recommender.score([], []) == []


def test_asking_leaves_the_models_mode_and_makes_no_gradients(recommender):
    recommender.language.model.train()
    recommender.recommend(["Alien"], k=1)
    assert recommender.language.model.training
    assert all(parameter.grad is None for parameter in recommender.language.model.parameters())


def test_a_saved_recommender_gives_the_same_scores(recommender, folder):
    back = napo.Recommender.load(folder, device="cpu")
    history = ["Alien", "Title number 12"]
    assert back.score(history, TITLES[:20]) == pytest.approx(recommender.score(history, TITLES[:20]), abs=1e-6)
    assert back.recommend(user="ann") == recommender.recommend(user="ann")
    assert back.recommend([]) == recommender.recommend([])


def test_a_run_folder_opens_as_the_model_in_it(folder):
    assert napo.Recommender.load(str(folder.parent)).users == USERS.user_keys


def test_a_run_that_has_not_ended_and_a_folder_that_is_none_say_so(tmp_path):
    with pytest.raises(UserError, match="no model that napo saved"):
        napo.Recommender.load(tmp_path / "nowhere")
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(UserError, match="has not ended"):
        napo.Recommender.load(tmp_path)


def test_saving_replaces_a_model_and_nothing_else(recommender, folder):
    recommender.save(folder)
    (folder.parent / "letters").mkdir()
    (folder.parent / "letters" / "love.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other things"):
        recommender.save(folder.parent / "letters")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["letters", "model"]


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_pickle_in_the_weights_place_is_refused_and_never_run(folder, tmp_path, name, write):
    (folder / "model.safetensors").unlink()
    with (folder / name).open("wb") as file:
        write(Planted(tmp_path / "planted"), file)
    with pytest.raises(UserError, match="can't be loaded"):
        napo.Recommender.load(folder)
    assert not (tmp_path / "planted").exists()


def test_code_that_lies_in_the_folder_is_never_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'planted')!r})\n")
    with pytest.raises(UserError):
        napo.Recommender.load(folder)
    assert not (tmp_path / "planted").exists()


def test_weights_that_were_cut_short_are_a_user_error(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(UserError, match="can't be loaded"):
        napo.Recommender.load(folder)


def test_weights_that_lack_a_tensor_are_not_filled_up_with_chance(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.0.mlp.down_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"down_proj"):
        napo.Recommender.load(folder)


def test_a_tokenizer_of_another_size_is_refused_with_both_sizes(folder):
    trained = len(AutoTokenizer.from_pretrained(folder))
    other = make_tokenizer(FILMS.titles, [], 300)
    other.save_pretrained(folder)
    with pytest.raises(UserError, match=rf"{len(other)} tokens.*{trained}"):
        napo.Recommender.load(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_napo_json_that_says_nothing_is_a_user_error(folder, text):
    (folder / "napo.json").write_text(text)
    with pytest.raises(UserError):
        napo.Recommender.load(folder)
