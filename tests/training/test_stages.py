import numpy as np
import pytest
import torch

from napo.errors import UserError
from napo.training.module import PreferenceModule
from napo.training.stages import check_rows, overlap
from tests.tiny_world import World

KEPT_BACK = {"sft": {"keep_back": 0.5}, "preference": {"positives": "kept_back"}}


def world(tmp_path, **sections) -> World:
    return World.of(tmp_path, **{"objective": {"name": "sdpo"}, **sections})


def trained(inputs) -> list[tuple[int, int]]:
    """(user, position) of all that a pass trains."""
    return sorted((span.user, at) for span in inputs.batches.plan.spans for at in range(span.begin, span.end))


def test_both_stages_train_on_all_training_events_unless_some_are_kept_back(tmp_path):
    made = world(tmp_path)
    every = [(user, at) for user in range(30) for at in range(6)]
    assert trained(made.supervised()) == every
    assert trained(made.preference()) == every
    assert overlap(made.recipe, made.prepared) == counted(180, of=180)


def test_what_is_kept_back_is_for_the_preference_stage_alone(tmp_path):
    made = world(tmp_path, **KEPT_BACK)
    # 3 of 6 events a user
    assert trained(made.supervised()) == [(user, at) for user in range(30) for at in range(3)]
    assert trained(made.preference()) == [(user, at) for user in range(30) for at in range(3, 6)]
    assert overlap(made.recipe, made.prepared) == counted(0, of=90)


def test_the_overlap_counts_what_both_stages_train_on(tmp_path):
    assert overlap(*both(world(tmp_path, sft={"keep_back": 0.5}))) == counted(90, of=180)
    assert overlap(*both(world(tmp_path, sft=None))) == counted(0, of=180)
    assert overlap(*both(world(tmp_path, objective=None))) == counted(0, of=0)


def counted(shared: int, *, of: int) -> dict[str, int]:
    return {"preference_positives": of, "sft_targets": shared}


def both(made: World):
    return made.recipe, made.prepared


@pytest.mark.parametrize("shift", [False, True])
def test_rows_are_as_long_as_the_recipe_says_and_cut_where_it_says(tmp_path, shift):
    plan = world(tmp_path, sft={"row": 4, "shift": shift}).supervised().batches.plan
    first, second = ({span for step in steps for span in plan.batch(step)[1]} for steps in two_epochs(plan))
    assert len(first) == len(second) == 60  # 6 events a user
    assert (first == second) == (not shift)


def two_epochs(plan):
    return range(plan.steps), range(plan.steps, 2 * plan.steps)


def test_held_out_events_are_never_trained_on(tmp_path):
    made = world(tmp_path)
    for inputs in (made.supervised(), made.preference()):
        for step in range(inputs.batches.plan.steps):
            batch = inputs.batches[step]
            for user, chosen in zip(batch["user"].tolist(), batch["chosen"].tolist(), strict=True):
                assert chosen not in made.prepared.split.sequences[user][6:]


def test_the_supervised_stage_draws_no_rejected_items(tmp_path):
    batch = world(tmp_path).supervised().batches[0]
    assert batch["rejected"].shape[1] == 0
    assert "seen" not in batch


def test_more_supervised_training_needs_neither_rejected_items_nor_a_reference(tmp_path):
    inputs = world(tmp_path, objective={"name": "sft"}).preference()
    assert inputs.batches[0]["columns"].shape[1] == 1
    assert not inputs.needs_reference
    assert inputs.name == "SFT longer"


def test_napo_gets_vectors_and_scores_of_the_auxiliary_model(tmp_path):
    made = world(tmp_path, objective={"name": "napo"})
    batch = made.preference().batches[0]
    model = made.auxiliary()
    user, chosen = int(batch["user"][5]), int(batch["chosen"][5])
    sequence = made.prepared.split.sequences[user]
    history = sequence[: sequence.tolist().index(chosen)]
    with torch.no_grad():
        vector = model.sequence_vectors([history])[0]
        scores = model.item_vectors[batch["rejected"][5]] @ vector
    torch.testing.assert_close(batch["history_vectors"][5], vector)
    torch.testing.assert_close(batch["auxiliary"][5], scores)


def test_an_auxiliary_model_is_not_made_where_nobody_asks_for_it(tmp_path):
    made = world(tmp_path)

    def never():
        raise AssertionError

    made.auxiliary = never
    assert "auxiliary" not in made.preference().batches[0]


def test_the_hardest_rejected_items_are_those_that_the_auxiliary_model_puts_first(tmp_path):
    made = world(tmp_path, negatives={"name": "hardest", "count": 3, "pool": 34})
    batch = made.preference().batches[0]
    user, chosen = int(batch["user"][0]), int(batch["chosen"][0])
    sequence = made.prepared.split.sequences[user]
    with torch.no_grad():
        vector = made.auxiliary().sequence_vectors([sequence[: sequence.tolist().index(chosen)]])[0]
        scores = (made.auxiliary().item_vectors @ vector).numpy()
    scores[sequence[:6]] = -np.inf
    assert batch["rejected"][0].tolist() == np.argsort(-scores)[:3].tolist()


def test_list_prompts_name_as_many_candidates_as_evaluation_does(tmp_path):
    made = world(
        tmp_path,
        prompt={"kind": "list", "template": "list"},
        sft={"form": "prompt"},
        preference={"form": "prompt"},
        candidates={"count": 8},
    )
    check_rows(made.recipe, made.prepared, made.language)
    for inputs, columns in ((made.supervised(), 1), (made.preference(), 4)):
        assert inputs.batches.settings.drawing.listed == 8
        assert inputs.batches[0]["columns"].shape[1] == columns
        assert len(inputs.batches.plan.spans) == 180


def refused(tmp_path, **sections) -> UserError:
    made = world(tmp_path, **sections)
    with pytest.raises(UserError) as stopped:
        check_rows(made.recipe, made.prepared, made.language)
    return stopped.value


def test_a_title_that_does_not_fit_is_refused_before_training(tmp_path):
    error = refused(tmp_path, prompt={"max_tokens": 16}, model={"vocabulary": 300}, **{"objective": {"name": "sdpo"}})
    assert "a row of 16 tokens can't hold" in error.what
    assert error.where == "prompt.max_tokens"


def test_words_behind_the_history_and_a_trajectory_do_not_go_together(tmp_path):
    template = tmp_path / "mine.txt"
    template.write_text("They liked: {history}Next comes:")
    error = refused(tmp_path, prompt={"template": str(template)}, sft={"form": "prompt"})
    assert "words after it" in error.what
    assert "preference.form" in error.where  # shown before the supervised stage, not after it
    sections = {"prompt": {"template": str(template)}, "sft": {"form": "prompt"}, "preference": {"form": "prompt"}}
    made = world(tmp_path, **sections)
    check_rows(made.recipe, made.prepared, made.language)
    assert made.preference().batches[0]["columns"].shape == (8, 4)


def test_more_rejected_items_than_there_are_is_refused_before_training(tmp_path):
    check_rows(*at_most(tmp_path, 34))
    with pytest.raises(UserError, match="has 34 of 40 items left to reject, 35 are wanted"):
        check_rows(*at_most(tmp_path, 35))


def at_most(tmp_path, count: int):
    made = world(tmp_path, negatives={"name": "uniform", "count": count})
    return made.recipe, made.prepared, made.language


def test_a_model_without_shared_prefixes_is_refused_for_rejected_titles_beside_a_trajectory(tmp_path):
    made = world(tmp_path)
    made.language.shared = False
    with pytest.raises(UserError, match="beside a trajectory") as refused:
        check_rows(made.recipe, made.prepared, made.language)
    assert "preference.form: prompt" in refused.value.remedy


def test_a_model_without_shared_prefixes_trains_the_same_titles_one_by_one(tmp_path):
    one, other = (world(tmp_path, preference={"form": "prompt"}) for _ in range(2))
    other.language.shared = False
    check_rows(other.recipe, other.prepared, other.language)
    assert other.supervised().batches[0]["tokens"]["branch"].any() == 0  # a trajectory needs no mask
    found = []
    for made in (one, other):
        inputs = made.preference()
        module = PreferenceModule(
            made.language.policy, inputs.objective, made.language.tree, made.language.usage.normalize
        ).eval()
        found.append(module.scored(inputs.batches[0]))
        assert made is one or not inputs.batches[0]["tokens"]["branch"].any()
    torch.testing.assert_close(found[1].policy, found[0].policy, rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1].lengths, found[0].lengths)


def test_an_adaptive_temperature_is_the_catalogs(tmp_path):
    adaptive = {"temperature": {"name": "adaptive", "eta": 0.3}}
    inputs = world(tmp_path, sft=adaptive).supervised()
    assert inputs.temperature.settings.eta == 0.3
    with pytest.raises(UserError, match="normalize: catalog"):
        world(tmp_path, sft=adaptive, normalize="vocabulary").supervised()


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"negatives": {"name": "uniform", "count": 2}},
        {"preference": {"epochs": 3.0}},
        {"preference": {"row": 4}},
        {"preference": {"row": 4, "overlap": 1}},
        {"preference": {"row": 4, "shift": True}},
        {"prompt": {"max_history": 5}},
        {"normalize": "vocabulary"},
        {"split": {"name": "leave_one_out", "min_rating": 4.0, "min_history": 1}},
        {"auxiliary": {"name": "sasrec", "epochs": 3}},
    ],
)
def test_whatever_changes_the_reference_is_in_what_it_was_made_by(tmp_path, changed):
    plain, other = (world(tmp_path, **sections).preference().made_by for sections in ({}, changed))
    assert plain == world(tmp_path).preference().made_by
    assert plain != other


def test_the_seed_decides_what_is_drawn(tmp_path):
    first, again, other = (world(tmp_path, seed=seed).preference().batches[0]["rejected"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_a_reference_is_made_for_the_titles_vectors_that_the_draws_rest_on(tmp_path):
    made = world(tmp_path, negatives={"name": "semantic", "count": 2})
    first = made.preference().made_by
    with torch.no_grad():
        made.language.model.get_input_embeddings().weight[0] += 1.0  # of a token in no title
    assert made.preference().made_by == first
    with torch.no_grad():
        made.language.model.get_input_embeddings().weight.mul_(torch.arange(1.0, 17.0))
    changed = made.preference().made_by
    assert {key for key in changed if changed[key] != first[key]} == {"drawn_from"}
