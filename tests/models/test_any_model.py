"""A model that can't share prefixes, from its folder to recommendations."""

import logging

import numpy as np
import pytest
import torch
from transformers import MptConfig, MptForCausalLM

from napo.data.prepare import prepare
from napo.models.language import create, open_folder
from napo.recipe_keys import ModelSection
from napo.scoring.shared_prefix import judging
from napo.training.run import train_recipe
from tests.tiny_world import Quiet, tiny_recipe


@pytest.fixture
def alibi(tmp_path):
    """A folder with a model whose distances go by the order in the row, and a tokenizer."""
    recipe = tiny_recipe(tmp_path / "data")
    catalog = prepare(recipe).log.catalog
    tiny = create(recipe.model, catalog, recipe.prompt, "catalog", seed=0)
    tiny.tokenizer.save_pretrained(tmp_path / "mpt")
    torch.manual_seed(0)
    config = MptConfig(vocab_size=len(tiny.tokenizer), d_model=16, n_layers=1, n_heads=2, max_seq_len=512)
    MptForCausalLM(config).save_pretrained(tmp_path / "mpt")
    return tmp_path / "mpt", catalog


def test_a_model_that_can_not_share_is_asked_all_the_same_and_it_is_said_once(alibi, caplog):
    folder, catalog = alibi
    recipe = tiny_recipe(folder.parent / "data")
    language = create(ModelSection(name=str(folder)), catalog, recipe.prompt, "catalog", seed=0)
    histories = [np.array([1, 2, 3]), np.array([5])]
    with caplog.at_level(logging.WARNING, logger="napo"):
        ranker = language.ranker()
        language.ranker()
    assert sum("side by side" in record.message for record in caplog.records) == 1
    assert not ranker.model.shared
    every = ranker.all_scores(histories)
    np.testing.assert_allclose(np.exp(every).sum(axis=1), 1, rtol=1e-5)
    some = ranker.candidate_scores(histories, np.array([[0, 4], [7, 9]]))
    np.testing.assert_allclose(some, [every[0, [0, 4]], every[1, [7, 9]]], atol=1e-5)
    best, scores = ranker.top_with_scores(histories, [np.array([], dtype=int)] * 2, 5)
    np.testing.assert_allclose(scores, np.sort(every, axis=1)[:, :-6:-1], atol=1e-5)
    ranks = ranker.target_ranks(histories, [np.array([], dtype=int)] * 2, best[:, 2])
    np.testing.assert_array_equal(ranks, [3, 3])


def test_it_trains_in_prompts_and_is_delivered(alibi):
    folder, _ = alibi
    recipe = tiny_recipe(
        folder.parent / "data",
        model={"name": str(folder)},
        sft={"epochs": 1.0},
        preference={"form": "prompt", "epochs": 0.1},
        objective={"name": "sdpo"},
        evaluation={"protocols": ["cand20", "full"]},
    )
    quiet = Quiet()
    run = train_recipe(recipe, folder.parent / "run", progress=quiet)
    assert set(run.outcomes) == {"sft", "preference"}
    back = open_folder(folder.parent / "run" / "model")
    assert not back.shared
    with judging(back.policy):
        assert np.isfinite(back.ranker().all_scores([np.array([1])])).all()
