"""Which families may share a prefix is tried, never looked up: and what is tried agrees with all log-probs."""

import pytest
import torch

from napo.models.policy import LanguagePolicy
from napo.scoring.batch import pack
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.self_check import _made_up_row, _states_alone, _states_beside, keeps_histories, shares_prefixes
from napo.scoring.shared_prefix import TreeOnDevice, judging, title_log_probs
from tests.families import FAMILIES, ONE_BY_ONE, SHARING, mistral
from tests.scoring.toys import LIST, NEXT, NEXT_WITH_TAIL, ROWS, catalog_tree, llama, qwen2

TREE = catalog_tree()
WITH_GRADIENTS = ["gemma2", "gemma3", "mistral", "opt", "qwen3"]  # Llama, Qwen2 and GPT-2: test_shared_prefix.py


def log_probs(policy, rows, frame, normalize="catalog", shared=True):
    batch = pack(rows, TREE, frame, normalize, shared=shared)
    assert shared or batch.plain
    return title_log_probs(policy, batch, TreeOnDevice(TREE), normalize)


def gradients(policy, of):
    weights = torch.linspace(-1, 2, len(of), dtype=of.dtype)
    parameters = list(policy.parameters())
    found = torch.autograd.grad((weights * of).sum(), parameters, allow_unused=True)
    return [torch.zeros_like(one) if got is None else got for one, got in zip(parameters, found, strict=True)]


@pytest.mark.parametrize("family", SHARING)
@pytest.mark.parametrize("kind", ROWS)
@torch.no_grad()
def test_a_family_that_shares_prefixes_has_the_naive_log_probs(family, kind):
    frame, rows = ROWS[kind]
    policy = LanguagePolicy(SHARING[family]())
    naive = naive_title_log_probs(policy, rows, TREE, frame, "vocabulary")
    # some families work in float32 at places, whatever their weights are
    torch.testing.assert_close(log_probs(policy, rows, frame, "vocabulary"), naive, rtol=1e-5, atol=1e-5)
    assert naive.std() > 0.1


@pytest.mark.parametrize("family", WITH_GRADIENTS)
def test_and_the_naive_gradients(family):
    frame, rows = ROWS["trajectories with branches"]
    policy = LanguagePolicy(SHARING[family]())
    ours = gradients(policy, log_probs(policy, rows, frame))
    naive = gradients(policy, naive_title_log_probs(policy, rows, TREE, frame, "catalog"))
    for one, other in zip(ours, naive, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()) + 1e-9)
    assert sum(float(one.abs().sum()) for one in naive) > 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ROWS)
def test_each_title_in_a_row_of_its_own_is_naive_for_every_family_and_trains(family, kind):
    frame, rows = ROWS[kind]
    policy = LanguagePolicy(FAMILIES[family]())
    apart = log_probs(policy, rows, frame, shared=False)
    naive = naive_title_log_probs(policy, rows, TREE, frame, "catalog")
    torch.testing.assert_close(apart, naive, rtol=1e-5, atol=1e-5)
    assert any(float(one.abs().max()) > 0 for one in gradients(policy, apart))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("frame", [NEXT, NEXT_WITH_TAIL, LIST], ids=["next", "next with words behind", "list"])
def test_what_shares_prefixes_is_known_by_trying(family, frame):
    policy = LanguagePolicy(FAMILIES[family]()).train()
    assert shares_prefixes(policy, TREE, frame, 64) == (family in SHARING)
    assert all(module.training for module in policy.modules())


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_is_known_in_bfloat16_too(family):
    policy = LanguagePolicy(FAMILIES[family]().bfloat16())
    assert shares_prefixes(policy, TREE, NEXT, 64) == (family in SHARING)


def deep_llama():
    """Thirty layers with weights so large that bfloat16 alone moves its states by several hundredths."""
    model = llama(layers=30)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return model


def test_the_rounding_of_a_deep_model_in_bfloat16_is_not_taken_for_a_fault():
    policy = LanguagePolicy(deep_llama().bfloat16())
    row = _made_up_row(TREE, NEXT, 64)
    with judging(policy):
        beside, alone = (states(policy, row, TREE, NEXT) for states in (_states_beside, _states_alone))
    apart = max(float((one - other).norm() / other.norm()) for one, other in zip(beside, alone, strict=True))
    assert apart > 0.02  # so the states themselves would not tell
    before = {name: weight.clone() for name, weight in policy.named_parameters()}
    assert shares_prefixes(policy, TREE, NEXT, 64)
    assert keeps_histories(policy, TREE, NEXT, 64)
    for name, weight in policy.named_parameters():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, before[name])


def test_a_deep_model_in_bfloat16_that_ignores_the_mask_is_known():
    assert not shares_prefixes(Deaf(deep_llama().bfloat16()), TREE, NEXT, 64)


@pytest.mark.parametrize("family", ONE_BY_ONE)
@torch.no_grad()
def test_a_family_that_is_known_not_to_share_would_have_had_other_log_probs(family):
    frame, rows = ROWS["trajectories with branches"]
    policy = LanguagePolicy(ONE_BY_ONE[family]())
    try:
        ours = log_probs(policy, rows, frame)
    except (TypeError, ValueError, RuntimeError):
        return
    naive = naive_title_log_probs(policy, rows, TREE, frame, "catalog")
    assert (ours - naive).abs().max() > 1e-3


class Deaf(LanguagePolicy):
    """Lets every token see all that stands before it."""

    def hidden(self, input_ids, positions, mask):
        return super().hidden(input_ids, positions, None)


class Angry(LanguagePolicy):
    def hidden(self, input_ids, positions, mask):
        if mask is not None:
            raise ValueError("what is this")
        return super().hidden(input_ids, positions, None)


class Windowless(LanguagePolicy):
    """Hands the mask on as it is, though the model has a window of its own."""

    def _by_layer(self, mask, positions):
        return self._for_attention(mask)


def test_a_model_that_ignores_or_refuses_the_mask_is_known():
    assert not shares_prefixes(Deaf(llama()), TREE, NEXT, 64)
    assert not shares_prefixes(Angry(qwen2()), TREE, NEXT, 64)


def test_a_window_is_known_by_rows_as_long_as_they_may_become():
    policy = Windowless(mistral(window=24))
    assert not shares_prefixes(policy, TREE, NEXT, 64)
    assert shares_prefixes(policy, TREE, NEXT, 20)  # no row grows beyond the window


def test_a_catalog_of_one_title_and_rows_without_room_for_a_history_can_be_tried():
    one = type(TREE).build([(3, 4, 1)], end=1)
    assert shares_prefixes(LanguagePolicy(llama()), one, NEXT, 64)
    assert shares_prefixes(LanguagePolicy(llama()), one, NEXT, 6)
