"""A model's folder with an adapter in it: what is kept, so that scores are the same after a reload."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from napo.errors import UserError
from napo.models import four_bit
from napo.models.language import LanguageModel, Usage, create, open_folder
from napo.models.tiny import make_tokenizer
from napo.prompts.template import load_template
from napo.recipe_keys import LoraSection, ModelSection, PromptSection
from tests.recommenders import FILMS, small_recommender


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_an_adapter_comes_back_on_a_base_of_the_precision_it_was_trained_with(tmp_path, precision):
    small_recommender().language.save(tmp_path / "base")  # in float32
    section = ModelSection(name=str(tmp_path / "base"), lora=LoraSection(r=2), precision=precision)
    language = create(section, FILMS, PromptSection(), "catalog", seed=0)
    for name, parameter in language.model.named_parameters():
        if "lora_B" in name:  # zeros at the start
            torch.nn.init.normal_(parameter, std=0.2)
    (tmp_path / "adapted").mkdir()
    language.save(tmp_path / "adapted")
    back = open_folder(tmp_path / "adapted")
    ids = torch.arange(6)[None]
    with torch.no_grad():
        before, after = (one.model.eval()(input_ids=ids).logits for one in (language, back))
    assert after.dtype == before.dtype
    torch.testing.assert_close(after, before, rtol=0, atol=0)

    (tmp_path / "adapted" / "adapter_model.safetensors").unlink()
    (tmp_path / "adapted" / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"no adapter_model\.safetensors"):
        open_folder(tmp_path / "adapted")


def test_an_adapter_with_tokens_added_to_its_base_comes_back_with_their_vectors(tmp_path):
    small_recommender().language.save(tmp_path / "base")
    model, tokenizer = (kind.from_pretrained(tmp_path / "base") for kind in (AutoModelForCausalLM, AutoTokenizer))
    tokenizer.add_tokens(["<new>", "<newer>"])
    rows = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(rows + 2, mean_resizing=False)
    torch.manual_seed(0)
    targets = ["q_proj", "v_proj"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, init_lora_weights=False, target_modules=targets))
    usage = Usage("base", "catalog", load_template("next"), 5, 64)
    language = LanguageModel(adapted, tokenizer, FILMS, usage)
    with torch.no_grad():
        adapted.get_input_embeddings().weight[-1] = 0.5
    (tmp_path / "adapted").mkdir()
    language.save(tmp_path / "adapted")
    back = open_folder(tmp_path / "adapted")
    assert back.model.get_input_embeddings().weight.shape[0] == rows + 2
    assert back.model.get_input_embeddings().weight[-1].eq(0.5).all()
    histories, candidates = [np.array([1, 2])], np.arange(20)[None]
    before, after = (one.ranker().candidate_scores(histories, candidates) for one in (language, back))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)

    make_tokenizer(["Other words"], [], 300).save_pretrained(tmp_path / "adapted")
    with pytest.raises(UserError, match=r"\(\d+ tokens\) is not .* \(\d+ tokens\)"):
        open_folder(tmp_path / "adapted")


def test_a_brought_folder_with_a_pickle_is_refused_and_never_opened(tmp_path):
    planted = tmp_path / "planted"

    class Payload:
        def __reduce__(self):
            return Path.touch, (planted,)

    small_recommender().language.save(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Payload()}, tmp_path / "base" / "pytorch_model.bin")
    with pytest.raises(UserError, match="the model can't be loaded"):
        create(ModelSection(name=str(tmp_path / "base")), FILMS, PromptSection(), "catalog", seed=0)
    assert not planted.exists()


def test_weights_in_four_bits_want_a_gpu_and_an_adapter(tmp_path, monkeypatch):
    section = ModelSection(name=str(tmp_path), lora=LoraSection(), load_in="4bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="need a CUDA GPU") as refused:
        create(section, FILMS, PromptSection(), "catalog", seed=0)
    assert refused.value.where == "model.load_in"


def test_weights_in_four_bits_want_bitsandbytes_and_are_laid_out_as_in_the_paper(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(four_bit, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="bitsandbytes"):
        four_bit.four_bit(torch.bfloat16)
    monkeypatch.setattr(four_bit, "find_spec", lambda name: name)
    made = four_bit.four_bit(torch.bfloat16)
    config = made["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert made["device_map"] == {"": 1}


def test_an_adapter_on_a_model_made_from_scratch_is_refused():
    section = ModelSection(name="tiny", lora=LoraSection())
    with pytest.raises(UserError, match="made from scratch"):
        create(section, FILMS, PromptSection(), "catalog", seed=0)
