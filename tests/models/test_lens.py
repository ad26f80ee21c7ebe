import pytest
import torch
from peft import LoraConfig, get_peft_model

from napo.errors import UserError
from napo.models.policy import LanguagePolicy
from tests.scoring.toys import language_policy, llama

SHAPES = pytest.mark.parametrize("shape", ["llama", "qwen2", "gpt2"])
IDS = torch.tensor([[5, 3, 8, 2], [9, 9, 4, 7]])
POSITIONS = torch.arange(4).expand(2, 4)


def caught(policy: LanguagePolicy, layers: tuple[int, ...], places: torch.Tensor) -> list[torch.Tensor]:
    with policy.lens.caught(layers, places) as states:
        policy.hidden(IDS, POSITIONS, None)
    return states


@SHAPES
@torch.no_grad()
def test_what_is_caught_are_the_states_that_transformers_itself_gives(shape):
    policy = language_policy(shape)
    states = caught(policy, (1, 2), torch.tensor([0, 3, 6]))
    own = policy.model(IDS, output_hidden_states=True, use_cache=False).hidden_states
    assert policy.lens.depth == 2
    # entry 0 is of the embedded tokens; the last entry has been through the last norm already
    torch.testing.assert_close(states[0], own[1].flatten(0, 1)[[0, 3, 6]])
    normed = policy.lens.normed(states[1])
    torch.testing.assert_close(normed, own[2].flatten(0, 1)[[0, 3, 6]])


@SHAPES
@torch.no_grad()
def test_seen_through_the_lens_the_last_layer_says_what_the_model_says(shape):
    policy = language_policy(shape)
    (last,) = caught(policy, (2,), torch.arange(8))
    logits = policy.model(IDS).logits.flatten(0, 1)
    torch.testing.assert_close(policy.lens.logits(last, None), logits, rtol=1e-6, atol=1e-6)
    some = torch.tensor([4, 7])
    torch.testing.assert_close(policy.lens.logits(last, some), logits[:, some], rtol=1e-6, atol=1e-6)


@SHAPES
@pytest.mark.parametrize("tokens", [None, torch.tensor([4, 7])])
def test_an_intermediate_layer_teaches_the_blocks_below_it_and_neither_norm_nor_head(shape, tokens):
    policy = language_policy(shape)
    head = policy.causal.get_output_embeddings().weight
    assert head.requires_grad
    (states,) = caught(policy, (1,), torch.arange(8))
    states = states.detach().requires_grad_()
    policy.lens.logits(states, tokens).square().sum().backward()
    assert states.grad is not None
    assert states.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_layers_under_an_adapter_are_found_and_the_adapter_learns_by_them():
    adapted = get_peft_model(llama(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    policy = LanguagePolicy(adapted)
    assert policy.lens.depth == 2
    (states,) = caught(policy, (1,), torch.arange(8))
    policy.lens.logits(states, None).log_softmax(dim=1)[:, 0].sum().backward()
    learnt = {name for name, part in policy.named_parameters() if part.grad is not None and part.grad.any()}
    assert learnt
    assert all("layers.0." in name and "lora" in name for name in learnt)


def test_hooks_are_gone_after_the_pass_and_after_a_pass_that_breaks_off():
    policy = language_policy("llama")
    caught(policy, (1, 2), torch.arange(8))
    with pytest.raises(IndexError), policy.lens.caught((1,), torch.tensor([99])):
        policy.hidden(IDS, POSITIONS, None)
    assert not any(module._forward_hooks for module in policy.modules())


def test_a_model_whose_layers_cannot_be_told_is_a_users_mistake():
    model = llama()
    before = model.model.forward
    model.model.forward = lambda **given: _negated(before(**given))
    with pytest.raises(UserError, match="can't be told apart"):
        _ = LanguagePolicy(model).lens


def _negated(output):
    output.last_hidden_state = -output.last_hidden_state
    return output
