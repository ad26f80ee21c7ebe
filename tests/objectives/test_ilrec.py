"""The numbers are those of a pencil: one place, five tokens, the right one in column 0, two intermediate layers."""

import json
import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError

from napo.data.prepare import prepare
from napo.errors import UserError
from napo.models.language import create
from napo.objectives import sft
from napo.objectives._self_hard import (
    as_many,
    distillation,
    penalty,
    random_keys_at,
    rivals_of,
    self_hard,
    soft_label_gap,
    weights_of,
)
from napo.objectives.ilrec import Objective, Settings, ilrec_loss, layers_asked
from napo.scoring.scored import LOWEST, Scored
from napo.training.module import PreferenceModule
from napo.training.run import train_recipe
from tests.contracts.test_objectives import scored
from tests.made_tokens import made_tokens
from tests.tiny_world import Quiet, World, tiny_recipe

quick = settings(deadline=None, max_examples=30)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


Z = f64([[2, 1.5, 0.5, -1, -2]])
LAYERS = f64([[[1, 1.6, 1.2, -0.5, -1]], [[0.6, 1.8, 0.4, -1.5, -0.6]]])
RIGHT, ALL = torch.tensor([0]), torch.ones(1, 5, dtype=torch.bool)
LIKELY = f64([[0.5, 0.3, 0.05, 0.1, 0.05]])  # of the collaborative model
CROSS_ENTROPY = 0.640676


def found(**how):
    """Columns of the negatives, and all weights."""
    weighing = how.pop("weighing", "sum")
    negatives, beneath = self_hard(Z, LAYERS, RIGHT, ALL, **how)
    return negatives[0].nonzero()[:, 0].tolist(), weights_of(negatives, beneath, weighing)


def near(values, by_hand):
    torch.testing.assert_close(values, f64(by_hand), atol=1e-6, rtol=0)


def test_the_layers_logits_are_averaged_before_their_softmax():
    near(Z.softmax(dim=1), [[0.526936, 0.319603, 0.117575, 0.026235, 0.009651]])
    near(self_hard(Z, LAYERS, RIGHT, ALL)[1], [[0.207177, 0.509572, 0.207177, 0.034246, 0.041828]])
    assert -Z.log_softmax(dim=1)[0, 0].item() == pytest.approx(CROSS_ENTROPY, abs=1e-6)


@pytest.mark.parametrize(
    ("how", "negatives", "weights", "loss"),
    [
        ({}, [], [0, 0, 0, 0, 0], 0.640676),
        ({"phi": 0.5}, [1], [0, 1, 0, 0, 0], 1.078394),
        ({"phi": 0.25}, [1, 2], [0, 0.710950, 0.289050, 0, 0], 0.955845),
        ({"phi": 0.25, "weighing": "max"}, [1, 2], [0, 1, 0.406570, 0, 0], 1.115761),
        # thresholds 0.5 * 0.207177, and 0.04 itself
        ({"phi": 0.5, "threshold": "own"}, [1, 2], [0, 0.710950, 0.289050, 0, 0], 0.955845),
        ({"phi": 0.04, "threshold": "constant", "weighing": "uniform"}, [1, 2, 4], [0, *[1 / 3] * 2, 0, 1 / 3], None),
        ({"top": 1}, [1], [0, 1, 0, 0, 0], 1.078394),
        ({"top": 9}, [1, 2, 3, 4], [0, 0.642731, 0.261316, 0.043195, 0.052758], None),
    ],
)
def test_negatives_their_weights_and_the_penalised_loss_by_hand(how, negatives, weights, loss):
    columns, weighed = found(**how)
    assert columns == negatives
    near(weighed, [weights])
    if loss is not None:
        assert CROSS_ENTROPY + penalty(Z, weighed).item() == pytest.approx(loss, abs=2e-6)


def test_the_gradient_of_the_penalised_loss_by_hand():
    z = Z.clone().requires_grad_()
    _, weights = found(phi=0.25)
    loss = -z.log_softmax(dim=1)[0, 0] + penalty(z, weights).sum()
    (gradient,) = torch.autograd.grad(loss, z)
    near(gradient, [[-0.615513, 0.474784, 0.114544, 0.019142, 0.007042]])
    assert gradient.sum().item() == pytest.approx(0, abs=1e-12)


def test_a_multiplied_penalty_moves_with_a_constant_and_rewards_negatives_below_zero():
    _, weights = found(phi=0.25)
    assert CROSS_ENTROPY + penalty(Z, weights, strength=0.1, form="multiply").item() == pytest.approx(
        0.677662, abs=1e-6
    )
    lowered = CROSS_ENTROPY + penalty(Z - 5, weights, strength=0.1, form="multiply").item()
    assert lowered == pytest.approx(0.552123, abs=1e-6)
    assert lowered < CROSS_ENTROPY
    z = Z.clone().requires_grad_()
    loss = -z.log_softmax(dim=1)[0, 0] + penalty(z, weights, strength=0.1, form="multiply").sum()
    assert torch.autograd.grad(loss, z)[0].sum().item() == pytest.approx(0.027684, abs=1e-6)


def test_distillation_by_hand_and_its_gradient_on_a_layer():
    each = [distillation(Z, LAYERS[[layer]]).item() for layer in (0, 1)]
    assert each == pytest.approx([0.231284, 0.328564], abs=1e-6)
    assert distillation(Z, LAYERS).item() == pytest.approx(0.279924, abs=1e-6)
    # the other way round it would be another number
    assert [distillation(layer, Z[None]).item() for layer in LAYERS] == pytest.approx([0.223158, 0.302086], abs=1e-6)
    z, layers = Z.clone().requires_grad_(), LAYERS.clone().requires_grad_()
    on_last, on_layers = torch.autograd.grad(distillation(z, layers).sum(), [z, layers], allow_unused=True)
    assert on_last is None  # the teacher learns nothing
    near(2 * on_layers[0], [[-0.299766, 0.094328, 0.159891, 0.024454, 0.021093]])


def test_the_soft_labels_of_the_collaborative_model_by_hand():
    negatives = torch.tensor([[False, True, True, False, False]])
    z = Z.clone().requires_grad_()
    gap = soft_label_gap(z, negatives, RIGHT, LIKELY)
    assert gap.item() == pytest.approx(0.059016, abs=1e-6)
    near(torch.autograd.grad(gap.sum(), z)[0], [[-0.061299, -0.033338, 0.058752, 0.026235, 0.009651]])
    # the cross-entropy form is larger by the labels' entropy: g = 10/17, 6/17, 1/17
    shares = f64([10, 6, 1]) / 17
    assert gap.item() - (shares * shares.log()).sum().item() == pytest.approx(0.905382, abs=1e-6)


def test_soft_labels_say_nothing_without_negatives_or_where_nothing_is_likely():
    some = torch.tensor([[False, True, False, False, False]])
    assert soft_label_gap(Z, torch.zeros_like(some), RIGHT, Z.exp()).item() == 0
    z = Z.clone().requires_grad_()
    nothing = soft_label_gap(z, some, RIGHT, f64([[0, 0, 1, 1, 1]]))
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing.sum(), z)[0].abs().sum() == 0


def test_the_whole_loss_by_hand_and_its_gradient_on_the_last_layer():
    z = Z.clone().requires_grad_()
    _, weights = found(phi=0.25)
    terms = penalty(z, weights), distillation(z, LAYERS), soft_label_gap(z, weights > 0, RIGHT, f64([[10, 6, 1, 2, 1]]))
    chosen = z.log_softmax(dim=1)[:, 0]
    loss = ilrec_loss(chosen, torch.tensor([0]), *terms, distil=0.1, reward=0.05)
    assert loss.item() == pytest.approx(0.986788, abs=1e-6)
    near(torch.autograd.grad(loss.sum(), z)[0], [[-0.618578, 0.473117, 0.117482, 0.020454, 0.007525]])


def test_the_released_rule_compares_a_sum_with_one_logit():
    # sums (1.6, 3.4, 1.6, -2, -1.6) against 2 leave token 1; means, as here, leave none
    sums = LAYERS.sum(dim=0)
    near(sums, [[1.6, 3.4, 1.6, -2, -1.6]])
    assert ((sums >= Z[0, 0]) & rivals_of(RIGHT, ALL))[0].nonzero().tolist() == [[1]]
    assert not ((sums / 2 >= Z[0, 0]) & rivals_of(RIGHT, ALL)).any()


# Identities

logits = st.lists(st.floats(-8, 8), min_size=5, max_size=5).map(lambda row: f64([row]))
layers = st.lists(logits, min_size=1, max_size=4).map(torch.stack)


@quick
@given(z=logits, beneath=layers, phi=st.floats(0.05, 2), a=st.floats(0, 5), more=st.floats(0, 3))
def test_the_penalty_lies_between_nothing_and_its_strength_and_grows_with_it(z, beneath, phi, a, more):
    negatives, probabilities = self_hard(z, beneath, RIGHT, ALL, phi=phi)
    weights = weights_of(negatives, probabilities)
    assert -1e-12 <= penalty(z, weights, strength=a).item() <= a + 1e-12
    assert penalty(z, weights, strength=a + more) >= penalty(z, weights, strength=a) - 1e-12
    assert negatives.sum() <= 1 / (phi * z.softmax(dim=1)[0, 0]) + 1e-9
    assert weights.sum().item() == pytest.approx(float(negatives.any()))


@quick
@given(z=logits, beneath=layers, phi=st.floats(0.05, 2), last=st.floats(-50, 50), other=st.floats(-50, 50))
def test_a_constant_added_to_the_logits_of_any_layer_changes_nothing(z, beneath, phi, last, other):
    shifted = beneath.clone()
    shifted[0] += other
    for threshold in ("final", "own"):
        negatives, beside = self_hard(z, beneath, RIGHT, ALL, phi=phi, threshold=threshold)
        moved, moved_beside = self_hard(z + last, shifted, RIGHT, ALL, phi=phi, threshold=threshold)
        torch.testing.assert_close(moved_beside, beside, atol=1e-9, rtol=1e-9)
        bar = phi * (z.softmax(dim=1) if threshold == "final" else beside)[:, :1]
        certain = (beside - bar).abs() > 1e-9  # at the bar itself, rounding decides
        assert torch.equal(moved & certain, negatives & certain)
        weights = weights_of(negatives, beside)
        torch.testing.assert_close(penalty(z + last, weights), penalty(z, weights), atol=1e-9, rtol=1e-9)
        gap, moved_gap = (soft_label_gap(some, negatives, RIGHT, LIKELY) for some in (z, z + last))
        torch.testing.assert_close(moved_gap, gap, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(distillation(z + last, shifted), distillation(z, beneath), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("last", "other"), [(0, 0), (7, 0), (0, -11), (-5, 30)])
def test_the_terms_by_hand_stay_where_they_were_when_a_layer_is_shifted(last, other):
    shifted = LAYERS.clone()
    shifted[0] += other
    negatives, beside = self_hard(Z + last, shifted, RIGHT, ALL, phi=0.25)
    assert negatives[0].nonzero()[:, 0].tolist() == [1, 2]
    # 0.955845 less the cross-entropy 0.640676
    assert penalty(Z + last, weights_of(negatives, beside)).item() == pytest.approx(0.315169, abs=2e-6)
    assert distillation(Z + last, shifted).item() == pytest.approx(0.279924, abs=1e-6)
    assert soft_label_gap(Z + last, negatives, RIGHT, LIKELY).item() == pytest.approx(0.059016, abs=1e-6)


@quick
@given(z=logits, beneath=layers, phi=st.floats(0.05, 2))
def test_the_gradients_of_all_three_terms_sum_to_zero(z, beneath, phi):
    z, beneath = z.clone().requires_grad_(), beneath.clone().requires_grad_()
    negatives, probabilities = self_hard(z, beneath, RIGHT, ALL, phi=phi)
    penalised = penalty(z, weights_of(negatives, probabilities)).sum() - z.log_softmax(dim=1)[0, 0]
    for term in (penalised, soft_label_gap(z, negatives, RIGHT, z.detach().exp()).sum()):
        assert torch.autograd.grad(term, z)[0].sum().item() == pytest.approx(0, abs=1e-12)
    (on_layers,) = torch.autograd.grad(distillation(z, beneath).sum(), beneath)
    assert on_layers.sum(dim=2).abs().max() < 1e-12


@quick
@given(z=logits, count=st.integers(1, 4))
def test_where_all_layers_agree_there_is_nothing_to_teach_and_only_what_beats_the_truth_is_a_negative(z, count):
    beneath = z.expand(count, -1, -1)
    assert distillation(z, beneath).item() == pytest.approx(0, abs=1e-12)
    negatives, _ = self_hard(z, beneath, RIGHT, ALL)
    beats = z.softmax(dim=1) >= z.softmax(dim=1)[:, :1]
    assert negatives[0, 1:].tolist() == pytest.approx(beats[0, 1:].tolist())
    if z[0].argmax() == 0 and (z[0, 1:] < z[0, 0] - 1e-6).all():
        assert not negatives.any()


@quick
@given(z=logits, gamma=st.floats(0, 4))
def test_with_weight_one_on_all_rivals_it_is_napos_margin_token_by_token(z, gamma):
    right = z.softmax(dim=1)[0, 0]
    loss = -right.log() + penalty(z, rivals_of(RIGHT, ALL).double(), strength=gamma)
    by_margin = torch.log1p(f64(gamma).exp() * (1 - right) / right)
    torch.testing.assert_close(loss[0], by_margin, atol=1e-9, rtol=1e-9)


def test_what_stands_behind_a_places_last_token_is_never_a_negative_and_weighs_nothing():
    wide = torch.cat([Z, f64([[LOWEST] * 3])], dim=1)
    beneath = torch.cat([LAYERS, f64([[[LOWEST] * 3]] * 2)], dim=2)
    allowed = torch.tensor([[True] * 5 + [False] * 3])
    for how in ({"phi": 1e-30}, {"top": 7}):
        negatives, probabilities = self_hard(wide, beneath, RIGHT, allowed, **how)
        assert negatives[0].tolist() == [False, True, True, True, True, False, False, False]
        narrow = self_hard(Z, LAYERS, RIGHT, ALL, **how)
        weights = weights_of(negatives, probabilities)
        torch.testing.assert_close(penalty(wide, weights), penalty(Z, weights_of(*narrow)))
        multiplied = penalty(wide, weights, strength=0.1, form="multiply")
        torch.testing.assert_close(multiplied, penalty(Z, weights_of(*narrow), strength=0.1, form="multiply"))
    wide.requires_grad_()
    beneath.requires_grad_()
    (gradient, on_layers) = torch.autograd.grad(
        (distillation(wide, beneath) + soft_label_gap(wide, negatives, RIGHT, torch.ones_like(wide))).sum(),
        [wide, beneath],
    )
    assert gradient.isfinite().all()
    assert on_layers.isfinite().all()
    torch.testing.assert_close(distillation(wide, beneath), distillation(Z, LAYERS))


# Chance, the control of whether hard matters


def test_random_negatives_are_as_many_but_others_and_never_the_right_token():
    right, allowed = torch.tensor([2] * 50), torch.ones(50, 9, dtype=torch.bool)
    allowed[:, 8] = False
    hard = torch.zeros(50, 9, dtype=torch.bool)
    hard[:, :2] = True
    hard[7] = False
    ids = torch.arange(50)
    keys = random_keys_at(ids, ids, ids, 9, torch.tensor(3))
    drawn = as_many(hard, right, allowed, keys)
    assert drawn.sum(dim=1).tolist() == hard.sum(dim=1).tolist()
    assert not drawn[:, [2, 8]].any()
    assert (drawn.sum(dim=0)[[0, 1, 3, 4, 5, 6, 7]] > 4).all()  # 14 each, on average
    again = random_keys_at(ids.flip(0), ids.flip(0), ids, 9, torch.tensor(3)).flip(0)
    assert torch.equal(again, keys)  # whatever the order of the examples
    assert not torch.equal(random_keys_at(ids, ids, ids, 9, torch.tensor(4)), keys)


def test_random_negatives_of_the_objective_change_with_the_step_and_weigh_alike():
    objective = Objective(Settings(rivals="random", top=1, strength=2.0))
    first, second = objective(scored()), objective(scored())
    assert objective.steps == 2
    assert first.figures["self_hard"] == second.figures["self_hard"] == 1
    assert not torch.equal(first.losses, second.losses)


# The objective


def test_without_its_three_terms_it_is_sft():
    objective = Objective(Settings(strength=0, distillation=0, reward=0))
    torch.testing.assert_close(objective(scored()).losses, sft.Objective(sft.Settings())(scored()).losses)
    assert not objective.needs_auxiliary


def test_an_unreachable_threshold_leaves_the_cross_entropy():
    loss = Objective(Settings(phi=1e9, distillation=0))(scored())
    torch.testing.assert_close(loss.losses, -scored().policy[:, 0])
    assert loss.figures["no_self_hard"] == 1
    assert loss.figures["self_hard"] == loss.figures["self_hard_mass"] == loss.figures["doubtful"] == 0


def test_a_places_terms_go_to_its_own_example_and_are_summed_or_averaged():
    batch = scored()
    tokens = batch.tokens
    loss = Objective(Settings(strength=0, reward=0, distillation=1.0))(batch).losses + batch.policy[:, 0]
    by_place = distillation(tokens.logits, tokens.layers)
    torch.testing.assert_close(loss, by_place[0::2] + by_place[1::2])
    per_token = Objective(Settings(per="token"))(batch).losses
    torch.testing.assert_close(per_token, Objective(Settings())(batch).losses / 4)  # lengths of the fixture


def test_the_reward_asks_the_auxiliary_recommender_what_the_tokens_lead_to():
    batch = scored()
    side, tokens = batch.side, batch.tokens
    q = (side.history_vectors @ side.item_vectors.T / 2).softmax(dim=1)
    # each column leads to ten items of the forty
    likely = torch.stack([q[:, start : start + 10].sum(dim=1) for start in (0, 10, 20, 30)], dim=1)
    negatives = self_hard(tokens.logits, tokens.layers, tokens.right, tokens.allowed, phi=0.2)[0]
    gap = soft_label_gap(tokens.logits, negatives, tokens.right, likely[tokens.example])
    loss = Objective(Settings(strength=0, distillation=0, reward=1.0, phi=0.2, temperature=2.0))(batch)
    assert gap.sum() > 0.1
    torch.testing.assert_close(loss.losses + batch.policy[:, 0], gap[0::2] + gap[1::2])
    assert loss.figures["reward"].item() == pytest.approx(gap.mean().item())


def test_a_missing_part_is_our_fault_and_not_silence():
    batch = scored()
    with pytest.raises(AssertionError, match="place"):
        Objective(Settings())(replace(batch, tokens=None))
    with pytest.raises(AssertionError, match="auxiliary"):
        Objective(Settings())(Scored(batch.policy, batch.lengths, tokens=batch.tokens))
    assert made_tokens(torch.arange(5), 40).example.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("asked", "depth", "layers"),
    [
        (None, 30, (26, 27, 28, 29)),
        (None, 24, (20, 21, 22, 23)),
        (None, 12, (10, 11)),
        (None, 2, (1,)),
        (1, 2, (1,)),
        (3, 12, (9, 10, 11)),
        ((2, 12), 12, (2, 12)),
        ((3, 1, 3), 4, (1, 3)),
        ((1,), 1, (1,)),
    ],
)
def test_the_layers_that_are_asked(asked, depth, layers):
    assert layers_asked(asked, depth) == layers


@pytest.mark.parametrize(
    ("asked", "depth", "said", "remedy"),
    [
        (None, 1, "a single layer", "model.layers: 2"),
        (1, 1, "a single layer", "model.layers: 2"),
        (4, 4, "4 layers before the last", "at most 3"),
        ((2, 5, 7), 4, "no layer 5, 7", "from 1 to 4"),
    ],
)
def test_layers_that_do_not_exist_are_a_users_mistake(asked, depth, said, remedy):
    with pytest.raises(UserError, match=said) as caught:
        layers_asked(asked, depth)
    assert caught.value.where == "objective.layers"
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("layers", [0, -1, [0], []])
def test_layers_are_counted_from_one(layers):
    with pytest.raises(ValidationError):
        Settings(layers=layers)
    assert Settings.model_validate({"layers": [1, 2]}).layers == (1, 2)


@pytest.mark.slow
def test_a_real_model_with_an_adapter_takes_steps_of_one_pass_each_from_four_layers(tmp_path):
    recipe = tiny_recipe(
        tmp_path / "data",
        objective={"name": "ilrec"},
        model={"name": "smollm2-135m-instruct", "lora": {"r": 4}, "precision": "float32"},  # bfloat16 creeps on a CPU
        prompt={"max_tokens": 128},
        sft=None,
        preference={"epochs": 0.2, "batch": 2},  # 3 steps of 2 rows
        evaluation={"validation_cases": 4},
    )
    prepared = prepare(recipe)
    language = create(recipe.model, prepared.log.catalog, recipe.prompt, recipe.normalize, recipe.seed)
    made = World(recipe, prepared, language)
    inputs = made.preference()
    policy, batch = made.language.policy, inputs.batches[0]
    objective = inputs.objective
    assert objective.token_layers(policy.lens.depth) == (26, 27, 28, 29)
    items = torch.from_numpy(inputs.batches.settings.auxiliary.items)
    module = PreferenceModule(policy, objective, made.language.tree, "catalog", None, items)
    passes = []
    handle = policy.causal.base_model.register_forward_hook(lambda *given: passes.append(1))
    loss = module(batch)
    loss.losses.sum().backward()
    handle.remove()
    assert len(passes) == 1
    learnt = [name for name, part in module.named_parameters() if part.grad is not None and part.grad.any()]
    assert learnt
    assert all("lora" in name for name in learnt)
    assert loss.figures["distillation"] > 0

    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    lines = [json.loads(line) for line in (run.stages["preference"] / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "loss" in line]
    assert trained
    assert all(
        math.isfinite(line[name]) for line in trained for name in ("loss", "self_hard", "distillation", "reward")
    )
    assert run.outcomes["preference"].steps == 3
