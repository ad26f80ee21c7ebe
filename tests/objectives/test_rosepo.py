"""The numbers are those of a pencil; z is the chosen title's reward minus the rejected one's."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError

from napo.errors import UserError
from napo.objectives.dpo import dpo_loss
from napo.objectives.rosepo import Objective, Settings, fitted_temperature, oracle_smoothing, rosepo_loss
from napo.scoring.scored import Scored, Side

quick = settings(deadline=None, max_examples=30)
numbers = st.floats(-30, 30)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def of_gap(z, e, **how):
    """(loss, its slope in z) of one pair."""
    policy = f64([[0, 0]]).requires_grad_()
    loss = rosepo_loss(policy + f64([[z, 0]]), None, e, **how)
    (slope,) = torch.autograd.grad(loss.sum(), policy)
    return loss.item(), slope[0, 0].item()


@pytest.mark.parametrize(
    ("z", "e", "loss"),
    [
        *((0.7, e, loss) for e, loss in ((0, 0.403186), (0.1, 0.473186), (0.3, 0.613186), (0.5, 0.753186))),
        *((-0.5, e, loss) for e, loss in ((0, 0.974077), (0.1, 0.924077), (0.3, 0.824077), (0.5, 0.724077))),
        *((3, e, loss) for e, loss in ((0, 0.048587), (0.1, 0.348587), (0.3, 0.948587), (0.5, 1.548587))),
    ],
)
def test_the_smoothed_loss_by_hand(z, e, loss):
    assert of_gap(z, e)[0] == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(
    ("z", "e", "slope"),
    [(0.7, 0, -0.331812), (0.7, 0.1, -0.231812), (0.7, 0.3, -0.031812), (0.7, 0.5, 0.168188), (3, 0.1, 0.052574)],
)
def test_a_doubtful_pair_is_pushed_less_and_back_again_past_its_target(z, e, slope):
    assert of_gap(z, e)[1] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(
    ("e", "target", "floor"),
    [
        (0.01, 4.595120, 0.056002),
        (0.05, 2.944439, 0.198515),
        (0.1, 2.197225, 0.325083),
        (0.2, 1.386294, 0.500402),
        (0.3, 0.847298, 0.610864),
    ],
)
def test_a_smoothed_pair_rests_where_its_odds_are_the_oracles(e, target, floor):
    loss, slope = of_gap(target, e)
    assert loss == pytest.approx(floor, abs=1e-6)
    assert slope == pytest.approx(0, abs=1e-6)
    assert target > 0


SCORES = f64([2, 1, 0.2]), f64([[0.5], [0.8], [1.4]])


@pytest.mark.parametrize(
    ("temperature", "factors"),
    [
        (1.0, [0.182426, 0.450166, 0.768525]),
        (0.5, [0.047426, 0.401312, 0.916827]),
        (2.0, [0.320821, 0.475021, 0.645656]),
    ],
)
def test_the_oracles_factor_by_hand(temperature, factors):
    found = oracle_smoothing(*SCORES, temperature=temperature, cap=1.0)
    torch.testing.assert_close(found[:, 0], f64(factors), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("cap", "losses", "mean"),
    [(1.0, [0.530884, 0.718302, 0.941153], 0.730113), (0.5, [0.530884, 0.718302, 0.753186], 0.667457)],
)
def test_each_pair_has_its_own_factor_and_the_cap_holds(cap, losses, mean):
    policy = f64([[0.7, 0]] * 3)
    found = rosepo_loss(policy, None, oracle_smoothing(*SCORES, cap=cap))
    torch.testing.assert_close(found, f64(losses), atol=1e-6, rtol=0)
    assert found.mean().item() == pytest.approx(mean, abs=1e-6)


def test_each_pairs_own_push_by_hand():
    # sigmoid(0.7) - (1 - e): towards the order of the log, and twice back, the third past what the oracle believes
    policy = f64([[0.7, 0]] * 3).requires_grad_()
    losses = rosepo_loss(policy, None, oracle_smoothing(*SCORES, cap=1.0))
    (slopes,) = torch.autograd.grad(losses.sum(), policy)
    torch.testing.assert_close(slopes[:, 0], f64([-0.149387, 0.118354, 0.436713]), atol=1e-6, rtol=0)
    torch.testing.assert_close(slopes[:, 1], -slopes[:, 0])


@pytest.mark.parametrize(
    ("beta", "e", "loss", "slope"),
    [
        (0.1, 0, 0.575939, -0.043782),
        (0.1, 0.182426, 0.621546, -0.025540),
        (0.1, 0.450166, 0.688481, 0.001234),
        (1.0, 0, 0.078890, -0.075858),
        (1.0, 0.182426, 0.534955, 0.106568),
        (1.0, 0.450166, 1.204305, 0.374308),
    ],
)
def test_log_probs_against_the_reference_by_hand(beta, e, loss, slope):
    # log-ratios 0.5 and -2
    policy, reference = f64([[-6, -9]]).requires_grad_(), f64([[-6.5, -7]])
    found = rosepo_loss(policy, reference, e, beta=beta)
    (gradient,) = torch.autograd.grad(found.sum(), policy)
    assert found.item() == pytest.approx(loss, abs=1e-6)
    torch.testing.assert_close(gradient, f64([[slope, -slope]]), atol=1e-6, rtol=0)


def test_the_robust_form_by_hand_and_the_clean_loss_on_average():
    assert of_gap(0.7, 0.1, form="robust") == (pytest.approx(0.315686, abs=1e-6), pytest.approx(-0.456812, abs=1e-6))
    assert of_gap(0.7, 0.3, form="robust")[0] == pytest.approx(-0.121814, abs=1e-6)
    flipped = 0.8 * of_gap(0.7, 0.2, form="robust")[0] + 0.2 * of_gap(-0.7, 0.2, form="robust")[0]
    assert flipped == pytest.approx(0.403186, abs=1e-6)


def test_the_smoothed_form_is_the_expected_loss_under_flipped_labels():
    # 0.8 * 0.403186 + 0.2 * 1.103186
    assert of_gap(0.7, 0.2)[0] == pytest.approx(0.543186, abs=1e-6)


pairs = st.lists(st.lists(st.floats(-60, 0), min_size=4, max_size=4), min_size=1, max_size=4).map(f64)


@quick
@given(policy=pairs, shift=st.floats(-3, 3), beta=st.floats(0.01, 10), e=st.floats(0, 0.49))
def test_with_one_factor_for_all_it_is_dpo_with_label_smoothing_and_with_none_dpo(policy, shift, beta, e):
    reference = policy.sin() * shift
    found = rosepo_loss(policy, reference, e, beta=beta)
    torch.testing.assert_close(found, dpo_loss(policy, reference, beta=beta, label_smoothing=e))
    torch.testing.assert_close(rosepo_loss(policy, reference, beta=beta), dpo_loss(policy, reference, beta=beta))
    torch.testing.assert_close(rosepo_loss(policy, form="robust"), dpo_loss(policy))


@quick
@given(z=numbers, e=st.floats(0, 1))
def test_a_flipped_pair_with_the_other_factor_has_the_same_loss(z, e):
    # above 20 torch has softplus(x) = x, which leaves out e^-20
    assert of_gap(z, e)[0] == pytest.approx(of_gap(-z, 1 - e)[0], abs=1e-8)


@quick
@given(e=st.floats(0, 1))
def test_at_the_start_the_loss_is_log_two_and_the_push_a_half_less_the_factor(e):
    assert of_gap(0, e) == (pytest.approx(0.693147, abs=1e-6), pytest.approx(e - 0.5, abs=1e-8))


@quick
@given(z=numbers, step=st.floats(0.01, 5), e=st.floats(0, 1))
def test_the_smoothed_loss_is_convex(z, step, e):
    assert of_gap(z, e)[0] <= (of_gap(z - step, e)[0] + of_gap(z + step, e)[0]) / 2 + 1e-9


@quick
@given(z=numbers, e=st.floats(0, 1))
def test_how_fast_the_push_changes_does_not_depend_on_the_factor(z, e):
    policy = f64([[z, 0]]).requires_grad_()
    (slope,) = torch.autograd.grad(rosepo_loss(policy, None, e).sum(), policy, create_graph=True)
    (bend,) = torch.autograd.grad(slope[0, 0], policy)
    gap = f64(z)
    assert bend[0, 0].item() == pytest.approx((gap.sigmoid() * (-gap).sigmoid()).item(), abs=1e-8)


@quick
@given(margin=st.floats(-20, 20), temperature=st.floats(0.5, 5))
def test_without_a_cap_the_resting_place_is_the_oracles_own_margin(margin, temperature):
    e = oracle_smoothing(f64([margin]), f64([[0]]), temperature=temperature, cap=1.0).item()
    assert of_gap(margin / temperature, e)[1] == pytest.approx(0, abs=1e-8)


@quick
@given(scale=st.floats(0.05, 20))
def test_the_fitted_temperature_makes_the_oracle_as_sure_as_it_is_right(scale):
    # 8 of 10 pairs in order, all with the same margin: sigmoid(scale / temperature) = 0.8, that is log 4
    margins = scale * f64([1] * 8 + [-1] * 2)
    assert fitted_temperature(margins) == pytest.approx(scale / 1.386294, rel=1e-5)


def test_an_oracle_that_is_always_right_is_trusted_wholly():
    assert fitted_temperature(f64([1, 2, 3])) < 0.01


@pytest.mark.parametrize("margins", [[1, -1], [-2, 1], []])
def test_an_oracle_no_better_than_chance_is_a_users_mistake(margins):
    with pytest.raises(UserError, match="no better than chance") as caught:
        fitted_temperature(f64(margins))
    assert caught.value.where == "objective.smoothing"


def scored(beta=1.0) -> Scored:
    """Three pairs of two users, all at z = 0.7, with the scores above: 2, 1, 0.2 of the chosen ones."""
    side = Side(
        chosen=torch.tensor([0, 1, 2]),
        rejected=torch.tensor([[3], [4], [5]]),
        user=torch.tensor([7, 7, 4]),
        seen=torch.tensor([[0, 1], [0, 1], [2, -1]]),
        history_vectors=f64([[1, 0], [0, 1], [2, 0]]),
        item_vectors=f64([[2, 9], [9, 1], [0.1, 9], [9, 9], [9, 9], [9, 9]]),
        auxiliary=SCORES[1],
    )
    return Scored(
        f64([[0.7, 0]] * 3), torch.ones(3, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.float64), side
    )


def test_the_objective_asks_the_auxiliary_scores_of_chosen_and_rejected_items():
    loss = Objective(Settings())(scored())
    torch.testing.assert_close(loss.losses, f64([0.530884, 0.718302, 0.753186]), atol=1e-6, rtol=0)
    # (0.182426 + 0.450166 + 0.5) / 3
    assert loss.figures["smoothing"].item() == pytest.approx(0.377531, abs=1e-6)
    assert loss.figures["capped_share"].item() == pytest.approx(1 / 3)


def test_a_users_factor_is_the_mean_over_the_pairs_of_the_user():
    loss = Objective(Settings(per="user"))(scored())
    # (0.182426 + 0.450166) / 2 = 0.316296; 0.403186 + 0.316296 * 0.7
    torch.testing.assert_close(loss.losses, f64([0.624593, 0.624593, 0.753186]), atol=1e-6, rtol=0)


def test_calibration_sets_the_temperature_and_the_log_shows_held_out_pairs_beside_trained_ones():
    objective = Objective(Settings(cap=1.0))
    objective.calibrate(f64([1.386294] * 8 + [-1.386294] * 2) / 2)
    loss = objective(scored())
    assert loss.figures["oracle_temperature"].item() == pytest.approx(0.5, abs=1e-5)
    # 0.8 of the pairs with e = 0.2, the others with e = 0.8
    assert loss.figures["smoothing_held_out"].item() == pytest.approx(0.32, abs=1e-5)
    # (0.047426 + 0.401312 + 0.916827) / 3
    assert loss.figures["smoothing"].item() == pytest.approx(0.455188, abs=1e-5)


def test_a_temperature_of_the_recipes_is_not_fitted():
    objective = Objective(Settings(temperature=2.0))
    objective.calibrate(f64([0.0]))
    assert objective(scored()).figures["oracle_temperature"].item() == 2
    assert objective.held_out.item() == 0.5


def test_a_constant_needs_no_oracle():
    objective = Objective(Settings(smoothing=0.1))
    assert not objective.needs_auxiliary
    assert objective.calibrate is None
    bare = Scored(f64([[0.7, 0]]), torch.ones(1, 2, dtype=torch.int64), f64([[0, 0]]))
    assert objective(bare).losses.item() == pytest.approx(0.473186, abs=1e-6)


def test_the_robust_form_wants_a_cap_below_a_half():
    with pytest.raises(ValidationError, match="cap"):
        Settings(form="robust")
    Settings(form="robust", cap=0.3)
    Settings(form="robust", smoothing=0.1)
