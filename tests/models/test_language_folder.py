"""A model's folder with an adapter in it: what is kept, so that scores are the same after a reload."""

import pytest
import torch

from napo.errors import UserError
from napo.models.language import create, open_folder
from napo.recipe_keys import LoraSection, ModelSection, PromptSection
from tests.recommenders import FILMS, small_recommender


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_an_adapter_comes_back_on_a_base_of_the_precision_it_was_trained_with(tmp_path, precision):
    small_recommender().language.save(tmp_path / "base")  # in float32; `auto` lays adapters on bfloat16
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


def test_an_adapter_on_a_model_made_from_scratch_is_refused():
    section = ModelSection(name="tiny", lora=LoraSection())
    with pytest.raises(UserError, match="made from scratch"):
        create(section, FILMS, PromptSection(), "catalog", seed=0)
