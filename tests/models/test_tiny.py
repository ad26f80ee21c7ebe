import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.models.policy import LanguagePolicy
from napo.models.tiny import BEGIN, END, make_model, make_tokenizer
from napo.models.tokens import title_tokens
from napo.prompts.template import load_template
from napo.scoring.continuations import TitleModel
from napo.scoring.search import all_log_probs, exact_ranks, exact_top
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import ids

TITLES = [
    "Alien",
    "Aliens",
    "Alien 3",
    "Alien 3: Special Edition",
    "Crash",
    "Crash",
    "The Long Goodbye",
    "The Long Day",
]
TEMPLATE = load_template("next")
TOKENIZER = make_tokenizer(TITLES, TEMPLATE.texts, 320)
SIZES = {"width": 16, "layers": 2, "heads": 2, "feed_forward": 24, "positions": 128}


def encoded(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_any_text_comes_back_from_its_tokens(text):
    assert TOKENIZER.decode(encoded(text)) == text or BEGIN in text or END in text


@pytest.mark.parametrize("text", ["Café Society (2016)", " two  blanks ", "映画", "a\nb", "isn 't , is n't"])
def test_text_with_odd_marks_comes_back_from_its_tokens(text):
    assert TOKENIZER.decode(encoded(text)) == text


def test_merges_cross_blanks_so_that_frequent_phrases_are_one_token():
    assert len(encoded("The Long ")) == 1
    assert len(encoded("Alien 3")) == 1


def test_the_vocabulary_has_at_most_the_size_asked_for_and_begin_and_end():
    assert len(TOKENIZER) <= 320
    assert (TOKENIZER.bos_token, TOKENIZER.eos_token) == (BEGIN, END)
    assert TOKENIZER.pad_token == END
    assert len(make_tokenizer(TITLES, [], 270)) == 270


def test_a_tokenizer_is_the_same_each_time_it_is_made():
    assert make_tokenizer(TITLES, TEMPLATE.texts, 320).get_vocab() == TOKENIZER.get_vocab()


def test_equal_titles_share_a_leaf_and_prefix_titles_do_not():
    tree = PrefixTree.build(title_tokens(TOKENIZER, TITLES), TOKENIZER.eos_token_id)
    assert tree.leaf[4] == tree.leaf[5]
    assert len(set(tree.leaf.tolist())) == 7


def weights(seed: int) -> dict[str, torch.Tensor]:
    return make_model(len(TOKENIZER), **SIZES, seed=seed).state_dict()


def test_weights_depend_on_the_seed_alone():
    before = torch.random.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert all(torch.equal(tensor, first[name]) for name, tensor in weights(1).items())
    assert not torch.equal(weights(2)["model.embed_tokens.weight"], first["model.embed_tokens.weight"])


def test_input_and_output_share_their_token_vectors():
    model = make_model(len(TOKENIZER), **SIZES, seed=0)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_probabilities_of_all_distinct_titles_sum_to_one_under_catalog():
    model = TitleModel(
        LanguagePolicy(make_model(len(TOKENIZER), **SIZES, seed=0).eval()),
        PrefixTree.build(title_tokens(TOKENIZER, TITLES), TOKENIZER.eos_token_id),
        TEMPLATE.frame(TOKENIZER),
        "catalog",
    )
    histories = [ids(), ids(0, 6), ids(4, 3, 2, 1)]
    log_probs = all_log_probs(model, histories)
    distinct = [0, 1, 2, 3, 4, 6, 7]
    assert torch.tensor(log_probs)[:, distinct].exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert (log_probs[:, 4] == log_probs[:, 5]).all()
    top, found = exact_top(model, histories, [ids()] * 3, 8)
    for row in range(3):
        assert found[row].tolist() == pytest.approx(log_probs[row, top[row]].tolist(), abs=1e-5)
        best = exact_ranks(model, histories, [ids()] * 3, top[:, 0])
        assert set(best.tolist()) <= {1, 2}  # 2 where the twins lead
