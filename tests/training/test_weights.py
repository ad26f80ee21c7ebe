import pytest
import torch
from safetensors.torch import load_file, save_file

from napo.errors import UserError
from napo.models.language import create
from napo.objectives import napo
from napo.recipe_keys import LoraSection, ModelSection, PromptSection
from napo.training.module import PreferenceModule
from napo.training.weights import STATE, load_policy_weights, load_weights, save_weights, saved_temperature
from tests.recommenders import FILMS, small_recommender
from tests.scoring.toys import SHAPES


def module_of(model: torch.nn.Module) -> PreferenceModule:
    language = small_recommender().language
    language.policy.model = model
    return PreferenceModule(language.policy, napo.Objective(napo.Settings()), language.tree, "catalog")


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).to(parameter) / 10)
    return model


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == again and torch.equal(value, kept) for (name, value), (again, kept) in pairs)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_and_the_objectives_state_come_back(shape, tmp_path):
    module = module_of(shaken(SHAPES[shape]()))
    module.objective.steps += 7
    module.objective.moving_mean += 0.25
    save_weights(module, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}  # nothing pickled
    back = module_of(SHAPES[shape]())
    assert not same_weights(back, module)
    load_weights(back, tmp_path)
    assert same_weights(back, module)


def test_tied_weights_are_one_tensor_still(tmp_path):
    model = SHAPES["llama"]()
    save_weights(module_of(shaken(model)), tmp_path)
    load_policy_weights(model, tmp_path)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def adapted(tmp_path) -> torch.nn.Module:
    base = tmp_path / "base"
    if not base.is_dir():
        small_recommender().language.save(base)
    section = ModelSection(name=str(base), lora=LoraSection(r=2), precision="float32")
    return create(section, FILMS, PromptSection(max_tokens=64), "catalog", seed=0).model


def test_an_adapters_weights_come_back_and_the_base_is_not_stored(tmp_path):
    model = adapted(tmp_path)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    save_weights(module_of(model), tmp_path / "saved")
    assert all("lora_" in name for name in load_file(tmp_path / "saved" / "adapter_model.safetensors"))
    back = adapted(tmp_path)
    load_policy_weights(back, tmp_path / "saved")
    assert same_weights(back, model)


def test_an_adapter_that_is_not_whole_is_refused(tmp_path):
    save_weights(module_of(adapted(tmp_path)), tmp_path / "saved")
    path = tmp_path / "saved" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    with pytest.raises(UserError, match="1 tensors are missing"):
        load_policy_weights(adapted(tmp_path), tmp_path / "saved")


def without_a_tensor(path):
    tensors = load_file(path)
    tensors.pop("model.norm.weight")
    save_file(tensors, path)


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "not there": lambda path: path.unlink(),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04."),
    "a tensor missing": without_a_tensor,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_refused(damage, tmp_path):
    save_weights(module_of(SHAPES["llama"]()), tmp_path)
    DAMAGES[damage](tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="can't be read") as refused:
        load_policy_weights(SHAPES["llama"](), tmp_path)
    assert refused.value.where == str(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    save_weights(module_of(SHAPES["llama"](vocabulary=40)), tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        load_policy_weights(SHAPES["llama"](vocabulary=44), tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        load_policy_weights(SHAPES["gpt2"](), tmp_path)


def test_the_temperature_is_read_from_beside_the_weights_or_its_loss_is_said(tmp_path):
    save_file({"temperature.value": torch.tensor(2.5)}, tmp_path / STATE)
    assert saved_temperature(tmp_path) == 2.5
    save_file({}, tmp_path / STATE)
    with pytest.raises(UserError, match="can't be read"):
        saved_temperature(tmp_path)


def test_a_lost_state_of_the_objective_is_refused(tmp_path):
    save_weights(module_of(SHAPES["llama"]()), tmp_path)
    save_file({}, tmp_path / STATE)
    with pytest.raises(UserError, match="tensors are missing"):
        load_weights(module_of(SHAPES["llama"]()), tmp_path)


def test_saving_draws_no_bars(tmp_path, capfd):
    save_weights(module_of(SHAPES["llama"]()), tmp_path)
    assert capfd.readouterr() == ("", "")
