import peft
import pytest
import torch

from napo.errors import UserError
from napo.models.policy import LanguagePolicy, dropout
from napo.scoring.batch import pack
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from tests.families import FAMILIES
from tests.scoring.toys import ROWS, catalog_tree, language_policy, llama, qwen2


def with_lora(model, **options):
    config = peft.LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM", **options)
    return peft.get_peft_model(model, config).double().eval()


IDS = torch.tensor([[3, 7, 1, 20, 5], [9, 9, 2, 0, 11]])
POSITIONS = torch.arange(5).expand(2, 5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_hidden_and_head_make_the_models_own_logits(family):
    model = FAMILIES[family]()
    policy = LanguagePolicy(model)
    policy.check_head()
    hidden = policy.hidden(IDS, POSITIONS, None)
    own = model(input_ids=IDS).logits.flatten(0, 1)  # Mamba's own are always in float32
    torch.testing.assert_close(policy.head(hidden.flatten(0, 1), None), own, check_dtype=False, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_head_of_some_tokens_is_those_columns_of_the_whole(family):
    policy = LanguagePolicy(FAMILIES[family]())
    width = policy.model.get_output_embeddings().in_features
    hidden, some = torch.randn(6, width, dtype=torch.float64), torch.tensor([2, 30, 7])
    torch.testing.assert_close(policy.head(hidden, some), policy.head(hidden, None)[:, some])


@torch.no_grad()
def test_an_adapter_is_part_of_the_policy():
    plain = llama()
    torch.manual_seed(0)
    adapted = with_lora(llama(), target_modules=["q_proj", "v_proj"])
    hidden, own = (LanguagePolicy(model).hidden(IDS, POSITIONS, None) for model in (adapted, plain))
    assert (hidden - own).abs().max() > 0.01
    logits = LanguagePolicy(adapted).head(hidden, None)
    torch.testing.assert_close(logits, adapted(input_ids=IDS).logits)


@torch.no_grad()
def test_an_adapter_on_the_head_counts_for_some_tokens_too():
    torch.manual_seed(0)
    policy = LanguagePolicy(with_lora(qwen2(), target_modules=["q_proj", "lm_head"]))
    hidden, some = torch.randn(6, 32, dtype=torch.float64), torch.tensor([2, 30, 7])
    torch.testing.assert_close(policy.head(hidden, some), policy.head(hidden, None)[:, some])


@pytest.mark.parametrize("shape", ["llama", "gpt2", "qwen2"])
@torch.no_grad()
def test_eager_attention_heeds_the_mask_as_sdpa_does(shape):
    frame, rows = ROWS["trajectories with branches"]
    tree = catalog_tree()
    batch, on_device = pack(rows, tree, frame, "catalog"), TreeOnDevice(tree)
    policy = language_policy(shape)
    sdpa = title_log_probs(policy, batch, on_device, "catalog")
    policy.model.set_attn_implementation("eager")
    torch.testing.assert_close(title_log_probs(policy, batch, on_device, "catalog"), sdpa, rtol=1e-5, atol=1e-5)


def test_logits_that_are_worked_on_after_the_head_in_an_unknown_way_are_refused():
    model = llama()
    forward = model.forward

    def scaled(**given):
        out = forward(**given)
        out.logits = out.logits * 2
        return out

    model.forward = scaled
    with pytest.raises(UserError, match="LlamaForCausalLM works on its logits"):
        LanguagePolicy(model).check_head()


def test_dropout_works_in_training_mode_and_inside_the_block_alone():
    policy = language_policy("llama")
    states = lambda: policy.hidden(IDS, POSITIONS, None)  # noqa: E731
    still = states()
    with dropout(policy.model, embedding=0.5, block=0.5):
        assert torch.equal(states(), still)
        policy.train()
        assert not torch.equal(states(), states())
    assert torch.equal(states(), still)
    assert set(policy.model.state_dict()) == set(llama().state_dict())


@pytest.mark.parametrize(("embedding", "block"), [(0.5, 0.0), (0.0, 0.5)])
def test_each_kind_of_dropout_has_a_rate_of_its_own(embedding, block):
    policy = language_policy("llama").train()
    with dropout(policy.model, embedding=embedding, block=block):
        embedded = policy.model.get_input_embeddings()(IDS)
        assert (embedded == 0).any() == bool(embedding)
        assert not torch.equal(policy.hidden(IDS, POSITIONS, None), policy.hidden(IDS, POSITIONS, None))
