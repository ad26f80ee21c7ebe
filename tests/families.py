"""A small random model of each family, in float64: what the hub has, in shapes that take milliseconds."""

from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MptConfig,
    MptForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.scoring.toys import SHAPES, seeded

SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "pad_token_id": 0,
}
WINDOW = 6  # shorter than the rows of the tests: a window that is not heeded moves their numbers
TWO_KINDS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}


def granite():
    return seeded(GraniteForCausalLM, GraniteConfig(**SMALL, logits_scaling=3.0))


def cohere():
    return seeded(CohereForCausalLM, CohereConfig(**SMALL, logit_scale=0.25))


def gemma():
    return seeded(GemmaForCausalLM, GemmaConfig(**SMALL, head_dim=8))


def gemma2():
    config = Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0, **TWO_KINDS)
    return seeded(Gemma2ForCausalLM, config)


def gemma3():
    return seeded(Gemma3ForCausalLM, Gemma3TextConfig(**SMALL, head_dim=8, **TWO_KINDS))


def phi():
    return seeded(PhiForCausalLM, PhiConfig(**SMALL))  # its head has a bias


def gpt_neox():
    return seeded(GPTNeoXForCausalLM, GPTNeoXConfig(**{**SMALL, "num_key_value_heads": None}))


def mistral(window: int = WINDOW):
    return seeded(MistralForCausalLM, MistralConfig(**SMALL, sliding_window=window))


def qwen2_with_windows():
    return seeded(Qwen2ForCausalLM, Qwen2Config(**SMALL, use_sliding_window=True, **TWO_KINDS))


def qwen3():
    return seeded(Qwen3ForCausalLM, Qwen3Config(**SMALL, head_dim=8))


def opt():
    config = OPTConfig(
        vocab_size=40,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=96,
        word_embed_proj_dim=24,
        dropout=0.0,
    )
    return seeded(OPTForCausalLM, config)


def bloom():
    return seeded(BloomForCausalLM, BloomConfig(vocab_size=40, hidden_size=32, n_layer=2, n_head=4))


def mpt():
    return seeded(MptForCausalLM, MptConfig(vocab_size=40, d_model=32, n_layers=2, n_heads=4, max_seq_len=96))


def mamba():
    return seeded(MambaForCausalLM, MambaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, state_size=4))


SHARING = {
    **SHAPES,
    "granite": granite,
    "cohere": cohere,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "phi": phi,
    "gpt_neox": gpt_neox,
    "mistral": mistral,
    "qwen2 with windows": qwen2_with_windows,
    "qwen3": qwen3,
    "opt": opt,
}
# distances by the order in the row (ALiBi), or a state that all of the row runs through
ONE_BY_ONE = {"bloom": bloom, "mpt": mpt, "mamba": mamba}
FAMILIES = {**SHARING, **ONE_BY_ONE}
