"""A tokenizer and a model that get new titles: old ones are cut, and weigh, as before."""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.models.grown import grow, grown_tokenizer, most_new_tokens
from napo.models.tiny import make_model, make_tokenizer
from napo.models.tokens import text_tokens

OLD = ["abc abc", "abd", "xyz"]
TEXTS = [": ", "\n"]


def made(vocabulary=300, old=OLD):
    return make_tokenizer(old, TEXTS, vocabulary)


def test_pairs_of_new_titles_are_merged_most_frequent_first():
    tokenizer = make_tokenizer(["a", "b", "c"], [], 258)  # bytes alone
    a, b, c = (text_tokens(tokenizer, [letter])[0][0] for letter in "abc")
    more, parts = grown_tokenizer(tokenizer, ["a", "b", "c"], ["abab", "abc"], most=2)
    # ab stands three times: the first merge. Then abab as (ab ab) and abc as (ab c) stand once: of equal pairs
    # that of the older tokens, and c is older than ab
    assert parts == [[a, b], [a, b, c]] or parts == [[a, b], [a, b, a, b]]
    assert len(more) == 260
    assert text_tokens(more, ["ab", "abab", "a"]) in ([[258], [258, 258], [a]], [[258], [259], [a]])


def test_a_pair_of_an_old_title_is_never_merged():
    tokenizer = make_tokenizer(["q"], [], 258)
    more, parts = grown_tokenizer(tokenizer, ["ab"], ["abab"], most=5)
    # a b stands in an old title; b a does not: a (ba) b, then (a ba), then the whole
    a, b = (text_tokens(tokenizer, [letter])[0][0] for letter in "ab")
    assert parts[0] == [b, a]
    assert text_tokens(more, ["ab"]) == text_tokens(tokenizer, ["ab"]) == [[a, b]]
    assert text_tokens(more, ["abab"]) == [[len(more) - 1]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="abcde ", min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
def test_old_texts_are_cut_as_before_and_new_titles_stay_themselves(new):
    tokenizer = made()
    more, parts = grown_tokenizer(tokenizer, [*OLD, *TEXTS], new, most=20)
    assert text_tokens(more, [*OLD, *TEXTS]) == text_tokens(tokenizer, [*OLD, *TEXTS])
    assert [more.decode(ids) for ids in text_tokens(more, new)] == new
    assert len(more) == len(tokenizer) + len(parts) <= len(tokenizer) + 20
    for ids in text_tokens(more, new):
        assert len(ids) <= len(text_tokens(tokenizer, [more.decode(ids)])[0])


def test_it_survives_being_saved_and_begins_and_ends_as_it_did(tmp_path):
    tokenizer = made()
    more, parts = grown_tokenizer(tokenizer, OLD, ["abyss", "abyss"], most=3)
    more.save_pretrained(tmp_path)
    again = type(more).from_pretrained(tmp_path)
    assert again("abyss")["input_ids"] == more("abyss")["input_ids"]
    assert (again.bos_token_id, again.eos_token_id) == (0, 1)
    assert again("abyss")["input_ids"][0] == 0
    assert parts


def test_new_titles_get_as_many_tokens_as_old_ones_had():
    tokenizer = made()  # 258 for the alphabet and some merges for 3 titles
    merges = len(tokenizer) - 258
    assert most_new_tokens(tokenizer, 3, 3) == merges
    assert most_new_tokens(tokenizer, 3, 1) == -(-merges // 3)
    assert most_new_tokens(tokenizer, 3, 0) == 0


def test_a_new_token_begins_as_the_mean_of_its_parts_and_old_weights_stay():
    model = make_model(260, width=8, layers=1, heads=2, feed_forward=8, positions=16, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grow(model, [[5, 7], [5, 7, 7]])
    weight = model.get_input_embeddings().weight
    assert weight is model.get_output_embeddings().weight
    torch.testing.assert_close(weight[260], (weight[5] + weight[7]) / 2)
    torch.testing.assert_close(weight[261], (weight[5] + 2 * weight[7]) / 3)
    assert torch.equal(weight[:260], before["model.embed_tokens.weight"])
    assert model.config.vocab_size == 262
    for name, value in before.items():
        if not name.endswith(("embed_tokens.weight", "lm_head.weight")):
            assert torch.equal(model.state_dict()[name], value)


def test_nothing_new_leaves_all_as_it_was():
    tokenizer = made()
    more, parts = grown_tokenizer(tokenizer, OLD, [], most=0)
    assert parts == []
    assert text_tokens(more, OLD) == text_tokens(tokenizer, OLD)
    assert not list(pairwise(parts))
