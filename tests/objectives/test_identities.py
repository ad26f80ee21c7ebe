"""Where one method is another: what the docstrings' Relations promise."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.nn import functional as F

from napo.objectives.dmpo import dmpo_loss
from napo.objectives.dpo import dpo_loss
from napo.objectives.ipo import ipo_loss
from napo.objectives.napo import napo_loss
from napo.objectives.sdpo import sdpo_loss
from napo.objectives.sft import sft_loss
from napo.objectives.simpo import simpo_loss

quick = settings(deadline=None, max_examples=30)
betas = st.floats(0.01, 10)
close = torch.testing.assert_close


@st.composite
def log_probs(draw, rejected=None):
    """(B, 1 + K) log-probs between -60 and 0, in float64."""
    rows = draw(st.integers(1, 4))
    width = 1 + (rejected or draw(st.integers(1, 5)))
    row = st.lists(st.floats(-60, 0), min_size=width, max_size=width)
    return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)), dtype=torch.float64)


@st.composite
def pairs(draw, rejected=None):
    """Policy and reference of one shape."""
    policy = draw(log_probs(rejected))
    seed = draw(st.integers(0, 2**31))
    return policy, policy + torch.randn(policy.shape, generator=torch.Generator().manual_seed(seed), dtype=policy.dtype)


@quick
@given(pair=pairs(rejected=1), beta=betas)
def test_with_one_rejected_title_sdpo_and_dmpo_are_dpo(pair, beta):
    expected = dpo_loss(*pair, beta=beta)
    close(sdpo_loss(*pair, beta=beta), expected)
    close(dmpo_loss(*pair, beta=beta), expected)


@quick
@given(pair=pairs(rejected=1), beta=betas)
def test_dpo_is_bpr_on_beta_times_the_log_ratios(pair, beta):
    ratios = pair[0] - pair[1]
    close(dpo_loss(*pair, beta=beta)[0], -F.logsigmoid(beta * (ratios[0, 0] - ratios[0, 1])))


@quick
@given(policy=log_probs(), constant=st.floats(-50, 0), beta=betas)
def test_a_reference_that_likes_all_titles_alike_changes_nothing(policy, constant, beta):
    reference = torch.full_like(policy, constant)
    for loss in (dpo_loss, sdpo_loss, dmpo_loss):
        close(loss(policy, reference, beta=beta), loss(policy, beta=beta))


@quick
@given(pair=pairs(), beta=betas)
def test_dmpo_is_at_most_the_mean_exponential_form_and_that_at_most_sdpo(pair, beta):
    rewards = beta * (pair[0] - pair[1])
    gaps = rewards[:, 1:] - rewards[:, :1]
    between = F.softplus(gaps.logsumexp(1) - math.log(gaps.shape[1]))
    assert (dmpo_loss(*pair, beta=beta) <= between + 1e-6).all()
    assert (between <= sdpo_loss(*pair, beta=beta) + 1e-6).all()


@quick
@given(pair=pairs(), beta=betas)
def test_sdpo_lies_between_the_hardest_rejected_title_and_k_copies_of_it(pair, beta):
    rewards = beta * (pair[0] - pair[1])
    hardest = (rewards[:, 1:] - rewards[:, :1]).amax(1)
    loss = sdpo_loss(*pair, beta=beta)
    assert (F.softplus(hardest) <= loss + 1e-6).all()
    assert (loss <= F.softplus(hardest + math.log(rewards.shape[1] - 1)) + 1e-6).all()


@quick
@given(pair=pairs(rejected=1), copies=st.integers(2, 5), beta=betas)
def test_equal_rejected_titles_leave_dmpo_at_dpo_and_shift_sdpo_by_log_k(pair, copies, beta):
    repeated = [torch.cat([x[:, :1], x[:, 1:].repeat(1, copies)], dim=1) for x in pair]
    close(dmpo_loss(*repeated, beta=beta), dpo_loss(*pair, beta=beta))
    rewards = beta * (pair[0] - pair[1])
    close(sdpo_loss(*repeated, beta=beta), F.softplus(rewards[:, 1] - rewards[:, 0] + math.log(copies)))


@quick
@given(pair=pairs())
def test_no_method_cares_about_the_order_of_rejected_titles(pair):
    flipped = [torch.cat([x[:, :1], x[:, 1:].flip(1)], dim=1) for x in pair]
    lengths = torch.full(pair[0].shape, 3)
    close(sdpo_loss(*pair), sdpo_loss(*flipped))
    close(dpo_loss(*pair), dpo_loss(*flipped))
    close(dmpo_loss(*pair), dmpo_loss(*flipped))
    close(ipo_loss(*pair, lengths), ipo_loss(*flipped, lengths))
    close(simpo_loss(pair[0], lengths), simpo_loss(flipped[0], lengths))
    close(napo_loss(pair[0]), napo_loss(flipped[0]))


@quick
@given(policy=log_probs(), length=st.integers(1, 9), beta=st.floats(0.01, 3))
def test_simpo_without_margin_on_titles_of_one_length_is_dpo_without_reference(policy, length, beta):
    lengths = torch.full(policy.shape, length)
    close(simpo_loss(policy, lengths, beta=beta * length, gamma=0.0), dpo_loss(policy, beta=beta))


@quick
@given(policy=log_probs(), beta=betas)
def test_napo_without_sharing_and_margin_is_sdpo_without_reference(policy, beta):
    close(napo_loss(policy, beta=beta, gamma=0.0), sdpo_loss(policy, beta=beta))


@quick
@given(policy=log_probs(rejected=1), beta=betas, gamma=st.floats(0, 5))
def test_napo_with_one_rejected_title_and_no_sharing_is_simpo_on_sums(policy, beta, gamma):
    ones = torch.ones(policy.shape, dtype=torch.int64)
    close(napo_loss(policy, beta=beta, gamma=gamma), simpo_loss(policy, ones, beta=beta, gamma=gamma))


@quick
@given(pair=pairs(rejected=1), beta=betas)
def test_napo_on_log_ratios_with_one_rejected_title_and_no_margin_is_dpo(pair, beta):
    close(napo_loss(pair[0] - pair[1], beta=beta, gamma=0.0), dpo_loss(*pair, beta=beta))


@quick
@given(logits=log_probs())
def test_against_all_other_titles_of_a_normalised_catalog_sdpo_and_napo_are_the_supervised_loss(logits):
    policy = logits.log_softmax(dim=1)
    close(sdpo_loss(policy), sft_loss(policy))
    close(napo_loss(policy, gamma=0.0), sft_loss(policy))


@quick
@given(logits=log_probs(), gamma=st.floats(0, 3))
def test_the_margin_only_multiplies_the_rejected_titles_mass(logits, gamma):
    policy = logits.log_softmax(dim=1)
    rejected = 1 - policy[:, 0].exp()  # all that is not the chosen title's
    expected = torch.log1p(math.exp(gamma) * rejected / policy[:, 0].exp())
    close(napo_loss(policy, gamma=gamma), expected, rtol=1e-5, atol=1e-5)


def test_the_softplus_of_a_margin_over_the_catalog_by_hand():
    # four titles of a catalog, log-probs that sum to probability 1; gamma 1
    policy = torch.tensor([[-1.597378, -1.484362, -1.197378, -1.313262]], dtype=torch.float64)
    assert napo_loss(policy, gamma=1.0).item() == pytest.approx(2.460460, abs=2e-6)
