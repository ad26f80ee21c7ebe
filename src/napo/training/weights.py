"""A module's weights in a folder, as `transformers` or `peft` would save them, and the objective's state beside.

Path    training.module -> [training.weights] -> checkpoints, best/, the next stage
Takes   PreferenceModule, a folder
Gives   safetensors only; nothing is pickled
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from napo.errors import UserError
from napo.models.pretrained import save_model
from napo.training.module import PreferenceModule

STATE = "objective.safetensors"
_PREFIX = "policy.model."


def save_weights(module: PreferenceModule, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
    """state_dict: the module's, where it was gathered from shards."""
    folder.mkdir(parents=True, exist_ok=True)
    own = None
    if state_dict is not None:
        own = {name.removeprefix(_PREFIX): value for name, value in state_dict.items() if name.startswith(_PREFIX)}
    save_model(module.policy.model, folder, own)
    state = {name: value.contiguous() for name, value in module.state_dict().items() if not name.startswith("policy.")}
    save_file(state, folder / STATE)


def load_weights(module: PreferenceModule, folder: Path) -> None:
    """Put saved weights and the objective's state back in place. Raises UserError where they don't fit."""
    load_policy_weights(module.policy.model, folder)
    try:
        # not strict: the policy's weights came from elsewhere
        found = module.load_state_dict(load_file(folder / STATE), strict=False)
        _check_all_there([name for name in found.missing_keys if not name.startswith("policy.")])
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unreadable(folder, error) from error


def saved_temperature(folder: Path) -> float:
    """The adaptive temperature that was saved beside the weights."""
    try:
        return float(load_file(folder / STATE)["temperature.value"])
    except (OSError, SafetensorError, KeyError) as error:
        raise _unreadable(folder, error) from error


def load_policy_weights(model: nn.Module, folder: Path) -> None:
    """Put saved weights into a model of the same shape. Raises UserError where they can't be read or don't fit."""
    adapter, whole = folder / "adapter_model.safetensors", folder / "model.safetensors"
    try:
        if adapter.is_file():
            from peft import set_peft_model_state_dict

            found: Any = set_peft_model_state_dict(model, load_file(adapter))
            _check_all_there([name for name in found.missing_keys if "lora_" in name] + found.unexpected_keys)
        else:
            load_model(model, whole)  # strict, and knows that tied weights are stored once
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise _unreadable(folder, error) from error


def _check_all_there(differ: list[str]) -> None:
    if differ:
        raise RuntimeError(f"{len(differ)} tensors are missing or of another model, such as {differ[0]}")


def _unreadable(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"the weights can't be read: {str(error).splitlines()[0]}",
        where=str(folder),
        remedy="delete the folder; the stage is trained anew",
    )
