"""Case 10: a tokenizer without a padding token, as GPT-2's; the end token is learnt nonetheless."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from napo import plugins
from napo.evaluation.runs import open_run
from tests.cases.gpt2_world import write_gpt2
from tests.commands import napo_in, write_recipe
from tests.tiny_world import World, tiny_keys

TITLES = [f"Title number {item}" for item in range(40)]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return write_gpt2(tmp_path_factory.mktemp("brought") / "gpt2", ["What this person liked, oldest first:\n", *TITLES])


def world_of(gpt2, folder, **sections) -> World:
    model = {"name": str(gpt2), "precision": "float32"}
    return World.of(folder, model=model, normalize="vocabulary", prompt={"max_tokens": 256}, **sections)


def assert_all_scored_to_the_end(batch, tree) -> None:
    """n tokens of a title and the end token after them, each a scored place, for every title of the batch."""
    tokens = batch["tokens"]
    chosen, rejected = batch["chosen"].tolist(), batch["rejected"].tolist()
    for numbers, first, others in zip(batch["columns"].tolist(), chosen, rejected, strict=True):
        for number, item in zip(numbers, [first, *others], strict=True):
            scored = tokens["target"][tokens["title"] == number].tolist()
            assert scored == tree.title(item).tolist()
            assert scored[-1] == tree.end
            assert tree.end not in scored[:-1]


@pytest.mark.parametrize("objective", [None, *plugins.names("objectives")])
def test_every_objective_scores_each_title_to_its_end_token(gpt2, tmp_path, objective):
    keys = {} if objective is None else {"objective": {"name": objective}, "preference": {"dropout": False}}
    made = world_of(gpt2, tmp_path, **keys)
    assert made.language.tokenizer.pad_token is None
    inputs = made.supervised() if objective is None else made.preference()
    assert_all_scored_to_the_end(inputs.batches[0], made.language.tree)


def test_a_title_scores_alone_what_it_scores_in_a_padded_batch(gpt2, tmp_path):
    ranker = world_of(gpt2, tmp_path).language.ranker()
    histories = [np.arange(length) for length in (1, 9, 4)]
    lists = np.array([[20, 21, 22], [23, 24, 25], [26, 27, 28]])
    together = ranker.candidate_scores(histories, lists)
    for history, row, scores in zip(histories, lists, together, strict=True):
        alone = [ranker.candidate_scores([history], np.array([[item]]))[0, 0] for item in row]
        np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_after_200_steps_free_generation_ends_by_itself(gpt2, tmp_path):
    keys = tiny_keys(tmp_path, chain=True)
    sft = {"epochs": 50.0, "lr": 3e-3, "leave_out": 0.0, "evaluate_every": 50.0}
    keys |= {"model": {"name": str(gpt2)}, "normalize": "vocabulary", "prompt": {"max_tokens": 256}}
    write_recipe(tmp_path / "gpt2.yaml", keys, sft=sft)
    ran = napo_in(tmp_path)("train", "gpt2.yaml", "--out", "run")
    assert ran.code == 0, ran.err
    _, prepared, language = open_run(tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    # the last step's weights, whichever step did best on validation
    (checkpoint,) = tmp_path.glob("stages/sft-*/checkpoint-200")
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    tree, frame, longest = language.tree, language.frame, int(language.tree.lengths.max())
    torch.manual_seed(0)
    ended = []
    for case in range(len(prepared.test)):
        history = prepared.test.history(case)
        prompt = torch.tensor([[*frame.header, *(int(token) for item in history for token in tree.title(item))]])
        whole = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=4 * longest,
            do_sample=case % 2 == 0,
            pad_token_id=tokenizer.eos_token_id,
        )
        ended.append(tokenizer.eos_token_id in whole[0, prompt.shape[1] :].tolist())
    assert np.mean(ended) > 0.95
