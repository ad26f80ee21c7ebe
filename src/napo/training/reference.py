"""Log-probabilities under the frozen start, made before training for all epochs' draws: no second model is held.

Path    training.batches, start weights -> [training.reference] -> objectives
Takes   a module in the state that training starts from; all the batches
Gives   one (B, 1 + K) tensor an item; kept in a file that says what made it, and refused to anything else
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napo.errors import UserError
from napo.files import write_aside
from napo.training.batches import TrainingBatches, moved
from napo.training.module import PreferenceModule

MADE_BY = "made_by"


def reference_log_probs(
    module: PreferenceModule,
    batches: TrainingBatches,
    path: Path,
    made_by: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
    *,
    mixed: bool = False,
) -> list[Tensor]:
    """The reference of every item, from `path` where it lies there and the same things made it, else made and kept.

    made_by: all that the numbers depend on: weights, tokenizer, template, limits, normalization, split, sampler, seed,
    K. mixed: bfloat16 autocast, as in training, or rewards would not start at 0.
    Raises UserError where the file was made by something else: it is never reused, and never overwritten.
    """
    made_by = json.loads(json.dumps({**made_by, "mixed": mixed, "ranks": batches.ranks}, sort_keys=True, default=str))
    if path.is_file():
        return _read(path, made_by, len(batches))
    made = _make(module, batches, progress, mixed)
    with write_aside(path) as aside:
        kept = {str(index): value for index, value in enumerate(made)}
        save_file(kept, aside, metadata={MADE_BY: json.dumps(made_by)})
    return made


@torch.no_grad()
def _make(
    module: PreferenceModule, batches: TrainingBatches, progress: Callable[[int, int], None] | None, mixed: bool
) -> list[Tensor]:
    training, device = module.training, next(module.parameters()).device
    # evaluation mode: dropout would make another reference each time, and rewards would not start at 0
    module.eval()
    found = []
    for index in range(len(batches)):
        batch = batches[index]
        titles = moved({name: batch[name] for name in ("tokens", "columns")}, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            found.append(module.scored(titles).policy.cpu())
        if progress is not None:
            progress(index + 1, len(batches))
    module.train(training)
    return found


def _read(path: Path, made_by: Mapping[str, Any], items: int) -> list[Tensor]:
    remedy = "delete the file; the reference is made anew"
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(MADE_BY, "{}"))
            if differ := sorted(name for name in {*said, *made_by} if said.get(name) != made_by.get(name)):
                raise UserError(
                    f"these reference log-probs were made with other settings: {', '.join(differ)} differ",
                    where=str(path),
                    remedy=remedy,
                )
            return [file.get_tensor(str(index)) for index in range(items)]
    except (OSError, SafetensorError) as error:
        raise UserError(f"the reference log-probs can't be read: {error}", where=str(path), remedy=remedy) from error
