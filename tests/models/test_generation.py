"""A model learns to stop: where the pad token is the end token, too."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from napo.data.prepare import prepare
from napo.training.run import train_recipe
from tests.made_tokenizers import gpt2_like
from tests.tiny_world import Quiet, tiny_recipe


@pytest.mark.slow
def test_after_200_steps_nearly_all_that_is_generated_ends_by_itself(tmp_path):
    tokenizer = gpt2_like()
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 512}
    config = GPT2Config(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, **sizes)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    recipe = tiny_recipe(
        tmp_path / "data",
        chain=True,
        model={"name": str(tmp_path / "gpt2")},
        sft={"epochs": 50.0, "evaluate_every": 50.0, "lr": 3e-3},
        normalize="vocabulary",
        objective=None,
    )
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    assert run.outcomes["sft"].helped  # else the model delivered is the one before any step
    language = run.language
    cases = prepare(recipe).test
    ended = 0
    for history in cases.histories():
        shown = language.frame.history_tokens(language.tree).of(history)
        prompt = torch.tensor([[*language.frame.header, *shown]])
        torch.manual_seed(0)
        made = language.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=30, do_sample=True, pad_token_id=end
        )
        ended += int((made[0, prompt.shape[1] :] == end).any())
    assert ended > 0.95 * len(cases)
