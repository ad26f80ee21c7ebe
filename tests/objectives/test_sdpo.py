import pytest
import torch

from napo.objectives.sdpo import Objective, Settings, sdpo_loss
from napo.scoring.scored import Scored


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


POLICY, REFERENCE = f64([[-2, -3, -4, -2.5]]), f64([[-2.5, -2.8, -4.5, -3]])  # log-ratios 0.5; -0.2, 0.5, 0.5


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 1.251787), (0.1, 1.369248)])
def test_sdpo_by_hand(beta, expected):
    # log(1 + e^(-0.7 beta) + 1 + 1)
    assert sdpo_loss(POLICY, REFERENCE, beta=beta).item() == pytest.approx(expected, abs=1e-6)


def test_sdpo_gradient_by_hand():
    # softmax of the rewards: chosen 0.285993, so -(1 - 0.285993); rejected as they stand
    policy = POLICY.clone().requires_grad_()
    sdpo_loss(policy, REFERENCE).sum().backward()
    torch.testing.assert_close(policy.grad, f64([[-0.714007, 0.142020, 0.285993, 0.285993]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("rejected", "expected"), [(1, 0.693147), (3, 1.386294), (15, 2.772589)])
def test_sdpo_at_the_start_is_the_log_of_the_number_of_titles(rejected, expected):
    policy = torch.linspace(-9, -1, 1 + rejected, dtype=torch.float64)[None]
    assert sdpo_loss(policy, policy).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("tau", "expected"), [(1.0, 0.464369), (0.5, 0.169846)])
def test_sdpo_without_reference_is_infonce_with_temperature_one_over_beta(tau, expected):
    assert sdpo_loss(f64([[2, 1, 0.5]]), beta=1 / tau).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sdpo_does_not_overflow_at_a_gap_of_two_hundred_nats(dtype):
    policy = torch.tensor([[-250, -50, -60, -70]], dtype=dtype, requires_grad=True)
    loss = sdpo_loss(policy)
    loss.sum().backward()
    assert loss.item() == pytest.approx(200.0, abs=1e-3)
    assert policy.grad.isfinite().all()


# A catalog of four titles under one prompt: their log-probs add up to probability 1.
T1, T2, T3, T4 = -1.484362, -1.597378, -1.197378, -1.313262


@pytest.mark.parametrize(
    ("rivals", "beta", "expected"),
    [
        ([T1, T3, T4], 1.0, 1.597378),  # all others: the supervised loss, -T2
        ([T1, T3, T4], 0.5, 1.488892),
        ([T3], 1.0, 0.913015),
        ([T4], 1.0, 0.845262),
        ([T1, T4], 1.0, 1.237863),
    ],
)
def test_sdpo_against_titles_of_a_normalised_catalog_by_hand(rivals, beta, expected):
    assert sdpo_loss(f64([[T2, *rivals]]), beta=beta).item() == pytest.approx(expected, abs=2e-6)


def test_sdpo_against_the_catalog_with_a_uniform_reference_by_hand():
    policy = f64([[T2, T1, T3, T4]])
    # the reference as a uniform choice at each node: T1 at a quarter, T2 and T3 at an eighth, T4 at a half
    reference = f64([[-2.079442, -1.386294, -2.079442, -0.693147]])
    assert sdpo_loss(policy, reference).item() == pytest.approx(1.218998, abs=2e-6)


def test_sdpo_without_reference_ignores_one_that_is_there():
    scored = Scored(POLICY, torch.ones(1, 4, dtype=torch.int64), REFERENCE)
    loss = Objective(Settings(reference=False))(scored).losses
    torch.testing.assert_close(loss, sdpo_loss(POLICY))
    assert Objective(Settings()).needs_reference
