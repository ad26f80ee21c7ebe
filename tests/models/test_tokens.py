"""Begin, end and padding by each tokenizer's own rules; the border of prompt and title; titles in any script."""

import logging

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from napo.errors import UserError
from napo.models.policy import LanguagePolicy
from napo.models.tokens import apart, end_token, text_tokens, title_tokens
from napo.prompts.template import begin_tokens, load_template, parse_template
from napo.scoring.batch import Row, pack
from napo.scoring.naive import naive_title_log_probs, sequences_of
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from napo.scoring.tree import PrefixTree
from tests.made_tokenizers import BEGINS, MADE, gpt2_like, llama2_like, qwen_like, unigram, words_and_unknowns

KINDS = pytest.mark.parametrize("kind", MADE)
# what might merge with the words before it, were it tokenized together with them
EDGES = ["$9.99", "1984", "'Til Dawn", " Leading space", "...And Justice", "Title", "Alien", "Aliens"]
ASCII = ["1234", "Title", "Alien", "Aliens", "Alien 3", "one first"]
PLAIN_TITLES = {"unigram": ASCII, "unknowns": ASCII}


def tree_of(tokenizer, titles) -> PrefixTree:
    return PrefixTree.build(title_tokens(tokenizer, titles), end_token(tokenizer))


@KINDS
def test_a_prompt_begins_as_the_tokenizer_begins_a_text_once_and_never_ends_in_it(kind):
    tokenizer = MADE[kind]()
    words = load_template("next").header
    header = load_template("next").frame(tokenizer).header.tolist()
    alone = tokenizer(words, add_special_tokens=False)["input_ids"]
    assert header == [*tokenizer.convert_tokens_to_ids(BEGINS[kind]), *alone]
    assert tokenizer.eos_token_id not in header or tokenizer.eos_token_id == tokenizer.bos_token_id
    assert header.count(tokenizer.eos_token_id) == 0


def test_a_begin_token_that_the_template_writes_out_is_not_doubled():
    tokenizer = llama2_like()
    header = parse_template("<s>Liked: {history}").frame(tokenizer).header.tolist()
    assert header.count(tokenizer.bos_token_id) == 1
    assert header[0] == tokenizer.bos_token_id


def test_a_template_that_begins_with_the_history_takes_the_begin_token_that_is_otherwise_not_used():
    tokenizer = gpt2_like()
    assert begin_tokens(tokenizer) == []
    assert parse_template("{history}").frame(tokenizer).header.tolist() == [tokenizer.bos_token_id]
    with pytest.raises(UserError, match="begins with a title"):
        parse_template("{history}").frame(qwen_like())


@KINDS
def test_a_title_is_its_own_tokens_and_the_end_token_once_and_nothing_else(kind):
    tokenizer = MADE[kind]()
    titles = PLAIN_TITLES.get(kind, EDGES)
    for title, ids in zip(titles, title_tokens(tokenizer, titles), strict=True):
        assert ids == [*tokenizer(title, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        assert ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.bos_token_id == tokenizer.eos_token_id or tokenizer.bos_token_id not in ids
        assert tokenizer.decode(ids[:-1]) == title


@KINDS
@pytest.mark.parametrize("ending", ["Answer: ", "Answer:", "Answer:\n", "$", ""])
def test_the_prompt_is_the_same_before_every_title_and_titles_are_those_of_the_tree(kind, ending):
    tokenizer = MADE[kind]()
    titles = PLAIN_TITLES.get(kind, EDGES)
    frame, tree = parse_template(f"first: {{history}}{ending}").frame(tokenizer), tree_of(tokenizer, titles)
    row = Row(np.array([5]), branches=np.arange(len(titles)), sees=np.full(len(titles), 1))
    prompts, items = sequences_of([row], tree, frame)
    assert len({tuple(prompt) for prompt in prompts}) == 1
    batch = pack([row], tree, frame, "vocabulary")
    scored = batch.target.split(batch.lengths.tolist())
    assert [ids.tolist() for ids in scored] == title_tokens(tokenizer, titles)
    assert items.tolist() == list(range(len(titles)))


def gpt2_of(tokenizer) -> LanguagePolicy:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=128)
    return LanguagePolicy(GPT2LMHeadModel(config).double().eval())


@KINDS
@pytest.mark.parametrize("ending", ["Answer: ", "Answer:"])
@torch.no_grad()
def test_whole_strings_one_by_one_equal_the_shared_prefix_at_the_border(kind, ending):
    tokenizer = MADE[kind]()
    titles = PLAIN_TITLES.get(kind, EDGES)
    frame, tree = parse_template(f"first: {{history}}{ending}").frame(tokenizer), tree_of(tokenizer, titles)
    rows = [Row(np.array([1, 5]), branches=np.arange(len(titles)), sees=np.full(len(titles), 2))]
    policy = gpt2_of(tokenizer)
    shared = title_log_probs(policy, pack(rows, tree, frame, "vocabulary"), TreeOnDevice(tree), "vocabulary")
    naive = naive_title_log_probs(policy, rows, tree, frame, "vocabulary")
    torch.testing.assert_close(shared, naive, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_where_pad_is_end_a_title_of_n_tokens_has_n_plus_one_places_and_padding_moves_no_score():
    tokenizer = gpt2_like()
    assert tokenizer.pad_token_id is None  # so that pad = end would be the usual trick
    frame, tree = load_template("next").frame(tokenizer), tree_of(tokenizer, EDGES)
    short = Row(np.array([5]), branches=np.array([6]), sees=np.array([1]))
    long = Row(np.arange(6), scored=np.arange(6))
    batch = pack([short, long], tree, frame, "vocabulary", pad=tokenizer.eos_token_id)
    lengths = [len(ids) + 1 for ids in text_tokens(tokenizer, [EDGES[6], *EDGES[:6]])]
    assert batch.lengths.tolist() == lengths
    assert (batch.target[batch.lengths.cumsum(0) - 1] == tokenizer.eos_token_id).all()
    policy, on_device = gpt2_of(tokenizer), TreeOnDevice(tree)
    together = title_log_probs(policy, batch, on_device, "vocabulary")
    alone = title_log_probs(policy, pack([short], tree, frame, "vocabulary"), on_device, "vocabulary")
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-9)


# -- titles that are hard to tell apart


def tokens_apart(tokenizer, titles) -> PrefixTree:
    apart(tokenizer, titles, title_tokens(tokenizer, titles))
    return tree_of(tokenizer, titles)


@pytest.mark.parametrize("kind", ["gpt2", "llama 3", "llama 2"])
def test_bytes_keep_titles_of_unknown_letters_apart(kind):
    titles = ["映画", "音楽", "🎬", "🎞", "فيلم", "מוזיקה", "Am\u00e9lie", "Ame\u0301lie"]
    tree = tokens_apart(MADE[kind](), titles)
    assert len(set(tree.leaf.tolist())) == len(titles)


@pytest.mark.parametrize("made", [unigram, words_and_unknowns])
def test_titles_that_unknown_tokens_would_make_one_are_refused_by_name(made):
    with pytest.raises(UserError, match="can't tell '映' from '音'") as refused:
        tokens_apart(made(), ["Alien", "映", "音"])
    assert "tiny" in refused.value.remedy


def test_titles_that_differ_where_the_tokenizer_smooths_are_ties_and_it_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        tree = tokens_apart(qwen_like(), ["Alien", "Am\u00e9lie", "Ame\u0301lie"])
    assert tree.leaf[1] == tree.leaf[2]
    assert "1 titles differ from another one" in caplog.text
    assert "ties" in caplog.text


def test_equal_titles_are_no_matter(caplog):
    with caplog.at_level(logging.WARNING):
        tokens_apart(unigram(), ["Crash", "Crash", "Alien"])
    assert caplog.text == ""


def test_a_title_that_the_tokenizer_leaves_nothing_of_is_named():
    with pytest.raises(UserError, match=r"leaves nothing of '', '', '' and 1 more titles"):
        tokens_apart(gpt2_like(), ["Alien", "", "", "", ""])


@pytest.mark.parametrize("kind", ["gpt2", "qwen", "llama 3", "llama 2"])
def test_a_title_that_reads_like_a_special_token_is_letters(kind):
    tokenizer = MADE[kind]()
    titles = [f"{token} of time" for token in tokenizer.all_special_tokens]
    tree = tokens_apart(tokenizer, titles)
    assert not set(tree.token.tolist()) & set(tokenizer.all_special_ids) - {tree.end}
    assert tokenizer.all_special_tokens[0] in tokenizer("x" + titles[0]).tokens()  # in a template it stays a token
