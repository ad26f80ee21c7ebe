import peft
import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from napo.errors import UserError
from napo.models.policy import LanguagePolicy, dropout
from napo.scoring.batch import pack
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from tests.scoring.toys import ROWS, SHAPES, catalog_tree, language_policy, llama, qwen2, seeded

SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


def granite():
    return seeded(GraniteForCausalLM, GraniteConfig(**SMALL, logits_scaling=3.0))


def cohere():
    return seeded(CohereForCausalLM, CohereConfig(**SMALL, logit_scale=0.25))


def gemma2():
    return seeded(Gemma2ForCausalLM, Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0))


def phi():
    return seeded(PhiForCausalLM, PhiConfig(**SMALL))  # its head has a bias


def with_lora(model, **options):
    config = peft.LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM", **options)
    return peft.get_peft_model(model, config).double().eval()


FAMILIES = {**SHAPES, "granite": granite, "cohere": cohere, "gemma2": gemma2, "phi": phi}
IDS = torch.tensor([[3, 7, 1, 20, 5], [9, 9, 2, 0, 11]])
POSITIONS = torch.arange(5).expand(2, 5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_hidden_and_head_make_the_models_own_logits(family):
    model = FAMILIES[family]()
    policy = LanguagePolicy(model)
    policy.check_head()
    hidden = policy.hidden(IDS, POSITIONS, None)
    torch.testing.assert_close(policy.head(hidden.flatten(0, 1), None), model(input_ids=IDS).logits.flatten(0, 1))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_head_of_some_tokens_is_those_columns_of_the_whole(family):
    policy = LanguagePolicy(FAMILIES[family]())
    hidden, some = torch.randn(6, 32, dtype=torch.float64), torch.tensor([2, 30, 7])
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


@pytest.mark.parametrize("family", FAMILIES)
def test_models_that_take_a_mask_are_known_by_trying(family):
    policy = LanguagePolicy(FAMILIES[family]()).train()
    assert policy.takes_mask()
    assert all(module.training for module in policy.modules())
    assert LanguagePolicy(policy.model.bfloat16()).takes_mask()


def test_a_model_that_does_not_heed_the_mask_is_known_by_trying():
    class Deaf(LanguagePolicy):
        def hidden(self, input_ids, positions, mask):
            return super().hidden(input_ids, positions, None)

    class Angry(LanguagePolicy):
        def hidden(self, input_ids, positions, mask):
            if mask is not None:
                raise ValueError("what is this")
            return super().hidden(input_ids, positions, None)

    assert not Deaf(llama()).takes_mask()
    assert not Angry(llama()).takes_mask()


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
