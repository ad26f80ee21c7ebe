import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from napo.errors import UserError
from napo.models.policy import LanguagePolicy
from napo.scoring.batch import Row, main_path
from napo.scoring.continuations import TitleModel
from napo.scoring.logits_processor import CatalogLogitsProcessor, generate_titles, items_written
from napo.scoring.search import exact_top
from tests.scoring.toys import END, NEXT, SHAPES, A, B, C, D, E, catalog_tree, ids, llama, toy_tree

TREE = catalog_tree()
MODELS = {name: make().float() for name, make in SHAPES.items()}
HISTORIES = [ids(0, 5, 4), ids(), ids(8, 2)]
PROMPTS = [main_path(Row(history), TREE, NEXT) for history in HISTORIES]


@settings(deadline=None, max_examples=25)
@given(
    shape=st.sampled_from(list(MODELS)),
    normalize=st.sampled_from(["catalog", "vocabulary"]),
    beams=st.sampled_from([1, 1, 2, 3, 12]),
    do_sample=st.booleans(),
    temperature=st.floats(0.01, 50),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 20),
    min_p=st.none() | st.floats(0, 1),
    typical_p=st.floats(0.05, 1),
    epsilon_cutoff=st.none() | st.floats(0.0001, 0.9),
    eta_cutoff=st.none() | st.floats(0.0001, 0.9),
    exponential_decay=st.none() | st.tuples(st.integers(0, 5), st.floats(0.5, 3)),
    repetition_penalty=st.floats(0.5, 5),
    length_penalty=st.floats(-2, 2),
    early_stopping=st.sampled_from([True, False, "never"]),
    several=st.booleans(),
    seed=st.integers(0, 9),
)
def test_only_titles_of_the_catalog_come_out_whatever_the_settings(
    shape, normalize, beams, do_sample, several, seed, length_penalty, early_stopping, exponential_decay, **warpers
):
    more = {"num_return_sequences": 2} if several and (do_sample or beams > 1) else {}
    if do_sample:
        more |= warpers
    else:
        more["repetition_penalty"] = warpers["repetition_penalty"]
    more["exponential_decay_length_penalty"] = exponential_decay
    if beams > 1:
        more |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
    how = GenerationConfig(num_beams=beams, do_sample=do_sample, **more)
    torch.manual_seed(seed)
    found = generate_titles(MODELS[shape], TREE, PROMPTS, how, normalize=normalize)
    assert len(found) == 3
    for lists in found:
        # sampled beams may be chosen at a probability that rounds to 0: generate() then writes what it likes
        assert len(lists) == more.get("num_return_sequences", 1) or (do_sample and beams > 1)
        assert all(set(items.tolist()) in ({0}, {1}, {2, 3}, {4}, {5}, {6}, {7}, {8}) for items in lists)


@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
def test_beams_as_many_as_titles_give_the_exact_list(normalize):
    how = GenerationConfig(num_beams=8, num_return_sequences=8, length_penalty=0.0, early_stopping="never")
    found = generate_titles(llama(), TREE, PROMPTS, how, normalize=normalize)
    exact, _ = exact_top(TitleModel(LanguagePolicy(llama()), TREE, NEXT, normalize), HISTORIES, [ids()] * 3, 9)
    for lists, items in zip(found, exact, strict=True):
        # beams of generate() are cut at 8 of a step, titles begun and ended: all of the 8 distinct ones may not be left
        assert [item for some in lists for item in some.tolist()][:4] == items.tolist()[:4]


def test_the_processor_does_what_prefix_allowed_tokens_fn_does():
    prompt = torch.from_numpy(PROMPTS[0][None])
    every = [tuple(TREE.title(item).tolist()) for item in range(TREE.items)]

    def following(_, row):
        begun = tuple(row[prompt.shape[1] :].tolist())
        return sorted({title[len(begun)] for title in every if title[: len(begun)] == begun and title != begun} or {1})

    how = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 6, "eos_token_id": 1, "pad_token_id": 1}
    theirs = MODELS["llama"].generate(
        prompt, attention_mask=torch.ones_like(prompt), prefix_allowed_tokens_fn=following, **how
    )
    ours = generate_titles(MODELS["llama"], TREE, PROMPTS[:1], GenerationConfig(num_beams=3, num_return_sequences=3))
    assert [items.tolist() for items in ours[0]] == [
        items.tolist() for items in items_written(TREE, theirs[:, prompt.shape[1] :])
    ]


def test_scores_by_hand():
    scores = torch.zeros(6, 7, dtype=torch.float64)
    scores[:, A], scores[:, E], scores[:, END] = 1.0, 0.0, 0.5
    rows = torch.tensor([[9, A, C], [9, A, B], [9, E, END], [9, B, B], [9, A, A], [9, A, C]])
    scores[5] = -torch.inf  # another processor has forbidden all
    low = -np.inf
    held = CatalogLogitsProcessor(toy_tree(), prompt=1)(rows, scores)
    np.testing.assert_array_equal(held[0], [low, low, low, 0.0, low, 0.5, low])  # after a c: d or the end
    np.testing.assert_array_equal(held[1], [low, low, low, low, low, 0.5, low])  # after a b: the end
    for over in (2, 3, 4):  # a title that is over, and rows that are no title
        np.testing.assert_array_equal(held[over], [low, low, low, low, low, 0.0, low])
    np.testing.assert_array_equal(held[5], [low, low, low, 0.0, low, 0.0, low])
    # among each other: log softmax (0, .5); a single token is certain
    among = CatalogLogitsProcessor(toy_tree(), prompt=1, normalize="catalog")(rows, scores)
    np.testing.assert_allclose(among[0, [D, END]], [-0.974077, -0.474077], atol=1e-6)
    assert among[1, END] == 0.0


def test_what_is_no_title_has_no_items_and_what_follows_the_end_does_not_count():
    written = torch.tensor([[E, END, A], [A, C, D], [A, C, END], [B, END, END]])
    assert [items.tolist() for items in items_written(toy_tree(), written)] == [[3], [], [1], []]


def test_settings_of_the_models_folder_are_not_heeded_and_stay():
    model, how = llama(), GenerationConfig(do_sample=False)
    plain = generate_titles(model, TREE, PROMPTS, how)
    theirs = GenerationConfig(do_sample=True, temperature=9.0, repetition_penalty=50.0, num_beams=4, max_length=3)
    model.generation_config = theirs
    again = generate_titles(model, TREE, PROMPTS, how)
    assert [lists[0].tolist() for lists in again] == [lists[0].tolist() for lists in plain]
    assert model.generation_config is theirs


def test_the_processor_alone_is_held_to_the_folders_settings_and_what_is_no_title_then_has_no_items():
    model, prompt = llama(), torch.from_numpy(PROMPTS[0][None])
    model.generation_config = GenerationConfig(max_new_tokens=1, eos_token_id=TREE.end, pad_token_id=TREE.end)
    bare = {"logits_processor": [CatalogLogitsProcessor(TREE, prompt.shape[1])]}
    cut = model.generate(prompt, attention_mask=torch.ones_like(prompt), **bare)
    assert [len(items) for items in items_written(TREE, cut[:, prompt.shape[1] :])] == [0]  # titles have two or more
    said = {"max_new_tokens": int(TREE.lengths.max()), "eos_token_id": TREE.end}
    whole = model.generate(prompt, attention_mask=torch.ones_like(prompt), **bare, **said)
    (held,) = generate_titles(model, TREE, PROMPTS[:1], GenerationConfig())
    assert items_written(TREE, whole[:, prompt.shape[1] :])[0].tolist() == held[0].tolist() != []


@pytest.mark.parametrize("wrong", [{"min_new_tokens": 5}, {"no_repeat_ngram_size": 1}, {"suppress_tokens": [1]}])
def test_settings_that_forbid_a_titles_tokens_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        generate_titles(MODELS["llama"], TREE, PROMPTS, GenerationConfig(**wrong))
