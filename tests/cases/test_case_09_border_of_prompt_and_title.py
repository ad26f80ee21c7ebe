"""Case 09: where a prompt ends and a title begins, training, ranking and serving cut the tokens alike."""

import numpy as np
import pytest
import torch

from napo.data.histories import Histories
from napo.scoring.batch import NONE, Row
from napo.scoring.naive import naive_title_log_probs, sequences_of
from napo.serving.recommender import Recommender
from tests.cases.gpt2_world import write_gpt2
from tests.tiny_world import World, write_log

TITLES = ("$9.99", "1984", "'Til Dawn", " Leading space", "...And Justice", "Title")
ENDINGS = ("Answer: ", "Answer:")


@pytest.fixture(scope="module", params=ENDINGS, ids=["blank", "no blank"])
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("border")
    write_log(folder / "data")
    lines = (folder / "data" / "items.csv").read_text().splitlines()
    odd = [f'{line.partition(",")[0]},"{title}"' for line, title in zip(lines[1:], TITLES, strict=False)]
    shown = "\n".join([lines[0], *odd, *lines[7:], ""])
    (folder / "template.txt").write_text(f"Liked:\n{{history}}\n{request.param}\n")
    gpt2 = write_gpt2(folder / "gpt2", [f"Answer: {title}" for title in TITLES for _ in range(20)])
    # World.of writes the log anew: the titles are put there after it
    with pytest.MonkeyPatch.context() as patch:
        import tests.tiny_world as tiny_world

        def with_titles(where, *, chain=False):
            write_log(where, chain=chain)
            (where / "items.csv").write_text(shown)

        patch.setattr(tiny_world, "write_log", with_titles)
        made = World.of(
            folder / "data",
            model={"name": str(gpt2), "lora": None, "precision": "float32"},
            normalize="vocabulary",
            prompt={"template": str(folder / "template.txt"), "max_tokens": 256},
            sft={"form": "prompt"},
            preference={"form": "prompt"},
            objective={"name": "sdpo", "reference": False},
        )
    return made, request.param


def test_the_titles_would_be_cut_otherwise_together_with_the_prompt(world):
    made, ending = world
    encode = made.language.tokenizer.encode
    apart = [encode(ending, add_special_tokens=False) + encode(title, add_special_tokens=False) for title in TITLES]
    together = [encode(ending + title, add_special_tokens=False) for title in TITLES]
    assert (apart != together) == (ending == "Answer: ")


def test_within_an_example_chosen_and_rejected_follow_the_very_same_tokens(world):
    made, _ = world
    tree, frame = made.language.tree, made.language.frame
    batch = made.preference().batches[0]
    tokens = batch["tokens"]
    for example, numbers in enumerate(batch["columns"].tolist()):
        items = [int(batch["chosen"][example]), *batch["rejected"][example].tolist()]
        for number, item in zip(numbers, items, strict=True):
            scored = tokens["target"][tokens["title"] == number]
            assert scored.tolist() == tree.title(item).tolist()
    row = Row(np.array([7, 8]), NONE, np.arange(6), np.full(6, 2))
    prompts, _ = sequences_of([row], tree, frame)
    assert {tuple(prompt) for prompt in prompts} == {
        (*frame.header, *tree.title(7), *tree.title(8), *frame.middle, *frame.tail)
    }


def test_what_is_scored_is_what_the_tree_holds_and_what_is_generated_reads_as_the_title(world):
    made, _ = world
    tokenizer, tree, catalog = made.language.tokenizer, made.language.tree, made.prepared.log.catalog
    items = [catalog.titles.index(title) for title in TITLES]
    for item, title in zip(items, TITLES, strict=True):
        ids = tree.title(item).tolist()
        assert ids == [*tokenizer.encode(title, add_special_tokens=False), tokenizer.eos_token_id]
        assert tokenizer.decode(ids[:-1]) == title
    best = made.language.ranker().top([np.array([7, 8])], [NONE], 40)
    assert sorted(best[0].tolist()) == list(range(40))


def test_training_ranking_and_serving_give_a_title_one_log_prob(world):
    made, _ = world
    language, history, items = made.language, np.array([7, 8, 9]), np.arange(12)
    language.model.eval()
    row = Row(history, NONE, items, np.full(len(items), len(history)))
    with torch.no_grad():
        naive = naive_title_log_probs(language.policy, [row], language.tree, language.frame, "vocabulary").numpy()
    shared = language.ranker().candidate_scores([history], items[None])[0]
    np.testing.assert_allclose(shared, naive, rtol=0, atol=1e-4)
    recommender = Recommender(language, Histories.of(made.prepared.split))
    keys = made.prepared.log.catalog.keys
    served = recommender.score([keys[item] for item in history], [keys[item] for item in items])
    np.testing.assert_allclose(served, naive, rtol=0, atol=1e-4)
