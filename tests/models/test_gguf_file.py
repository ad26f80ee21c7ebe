"""GGUF files made by the tests: de-quantized once, found again, and as good as what was written into them."""

import logging
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from napo.errors import UserError
from napo.models import gguf_file
from napo.models.language import create
from napo.recipe_keys import LoraSection, ModelSection, PromptSection
from tests.made_tokenizers import gpt2_like
from tests.recommenders import FILMS
from tests.scoring.toys import llama

TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, *rest, kind = name.split(".")
        return f"blk.{layer}.{TENSORS['.'.join(rest)]}.{kind}"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]


def as_llama_cpp(name: str, weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbouring numbers of a head where transformers turns its two halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weight.shape) if "attn_q" in name or "attn_k" in name else weight


def write_gguf(path: Path, kind: str = "F32", pre: str = "gpt-2", without: str = "") -> torch.nn.Module:
    """A Llama of the tests with a byte-level tokenizer; the model that was written."""
    tokenizer = gpt2_like()
    model = llama(vocabulary=len(tokenizer)).float()
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(len(tokenizer))
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token == "<|endoftext|>" else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in merges_of(tokenizer)])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    wanted = getattr(gguf.GGMLQuantizationType, kind)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" or (without and without in name):  # tied
            continue
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        values = as_llama_cpp(gguf_name(name), weight.numpy(), heads)
        held = wanted if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        if values.shape[-1] % 32:
            held = gguf.GGMLQuantizationType.F32  # blocks are of 32 numbers
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, held), raw_dtype=held)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def merges_of(tokenizer) -> list[list[str]]:
    import json

    found = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in found]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


IDS = torch.tensor([[3, 7, 1, 20, 5, 9]])


def test_weights_that_were_not_quantized_come_back_as_they_were(tmp_path, cache):
    written = write_gguf(tmp_path / "small.gguf")
    folder = gguf_file.dequantized(tmp_path / "small.gguf")
    back = AutoModelForCausalLM.from_pretrained(folder)
    assert back.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(back(IDS).logits, written.eval()(IDS).logits, rtol=1e-4, atol=1e-4)
    tokenizer, ours = AutoTokenizer.from_pretrained(folder), gpt2_like()
    for text in ("Alien 3: The Return", "Am\u00e9lie (2001) 🎬"):
        assert tokenizer(text)["input_ids"] == ours(text)["input_ids"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_quantized_weights_are_near_what_was_written_and_free_of_the_quantization(tmp_path, cache):
    written = write_gguf(tmp_path / "small.Q8_0.gguf", "Q8_0")
    back = AutoModelForCausalLM.from_pretrained(gguf_file.dequantized(tmp_path / "small.Q8_0.gguf"), dtype="float32")
    assert not hasattr(back.config, "quantization_config")
    embedded, before = (model.get_input_embeddings().weight for model in (back, written))
    assert 0 < (embedded - before).abs().max() < 0.02 * before.abs().max()
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_a_file_is_unpacked_once_whatever_it_is_called(tmp_path, cache, monkeypatch):
    write_gguf(tmp_path / "small.gguf")
    first = gguf_file.dequantized(tmp_path / "small.gguf")
    monkeypatch.setattr(gguf_file, "unpack", None)  # would fail if it were called
    (tmp_path / "small.gguf").rename(tmp_path / "renamed.gguf")
    assert gguf_file.dequantized(tmp_path / "renamed.gguf") == first


def test_a_recipe_names_a_file_and_an_adapter_goes_on_it(tmp_path, cache):
    write_gguf(tmp_path / "small.gguf")
    section = ModelSection(name=str(tmp_path / "small.gguf"), lora=LoraSection(r=2))
    language = create(section, FILMS, PromptSection(max_tokens=128), "catalog", seed=0)
    assert language.usage.name == "small"
    assert language.shared
    every = language.ranker().all_scores([np.array([1, 2])])
    assert np.exp(every).sum() == pytest.approx(1 + np.exp(every[0, 2]), abs=1e-4)  # two films are called Crash


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b"PK and so on"), "no GGUF file"),
        (lambda path: path.write_bytes(b"GGUF"), "can't be read"),
        (lambda path: write_gguf(path, without="model.norm"), "1 tensors are missing, such as model.norm.weight"),
        (lambda path: None, "no file"),
    ],
)
def test_a_file_that_is_no_model_is_refused_and_nothing_stays(tmp_path, cache, write, said):
    write(tmp_path / "bad.gguf")
    with pytest.raises(UserError, match=said):
        create(ModelSection(name=str(tmp_path / "bad.gguf")), FILMS, PromptSection(), "catalog", seed=0)
    assert not cache.exists() or list(cache.iterdir()) == []


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def test_words_are_cut_as_the_file_says_and_an_unknown_way_is_told(caplog):
    smol, plain, unknown = byte_level(), byte_level(), byte_level()
    with caplog.at_level(logging.WARNING):
        gguf_file.cut_words_as(smol, "smollm")
        gguf_file.cut_words_as(plain, "gpt-2")
    assert words(smol, "Heat 1995") == ["Heat", "Ġ", "1", "9", "9", "5"]
    assert words(plain, "Heat 1995") == ["Heat", "Ġ1995"]
    assert caplog.text == ""
    gguf_file.cut_words_as(unknown, "something-new")
    assert "`something-new`" in caplog.text
