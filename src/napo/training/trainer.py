"""The trainer: `transformers.Trainer` over whole steps of rows, with the start counted as step 0 of the selection.

Path    training.batches, training.module -> [training.trainer] -> a folder with the best weights
Takes   PreferenceModule, TrainingBatches, a validation function
Gives   checkpoints (safetensors; last few), metrics as JSON lines

accelerate, DDP, FSDP, DeepSpeed, callbacks and trackers work as with any Trainer. An item of the data set is all that
one rank has of a step, so `per_device_train_batch_size` is 1, and the trainer's only epoch is the whole plan.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from napo.errors import UserError
from napo.files import cannot_write, is_write_error
from napo.objectives._loss import Loss
from napo.training.batches import Batch, TrainingBatches
from napo.training.module import PreferenceModule
from napo.training.processes import ranks
from napo.training.weights import load_weights, save_weights

COMPLETE = "complete"  # written last into a checkpoint: one without it was cut short and is passed over
FIGURES = "figures.json"
KEPT = 2  # checkpoints
_LOWER = "a lower rate, or `model.precision=float32`; the last good checkpoint is kept"


class TitleTrainer(Trainer):
    """Trains a PreferenceModule; validation is a function of the policy, called at the start and at each evaluation."""

    def __init__(
        self,
        module: PreferenceModule,
        args: TrainingArguments,
        batches: TrainingBatches,
        validate: Callable[[], dict[str, float]],
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        self._figures = RunningMeans()
        self._tokens, self._since, self._clock = 0, time.perf_counter(), time.perf_counter()
        self._validate, self._batches = validate, batches
        super().__init__(
            model=module,
            args=args,
            train_dataset=batches,
            eval_dataset=batches,  # never read: evaluate() is ours
            data_collator=_only,
            callbacks=callbacks,
        )
        for loud in (ProgressCallback, PrinterCallback):
            self.remove_callback(loud)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        # The plan has already put the steps in their order, epoch after epoch.
        return SequentialSampler(range(len(self._batches)))

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """losses.sum() * ranks / examples over all ranks: exact under DDP's averaging, whatever each rank holds."""
        loss: Loss = model(inputs)
        total = loss.losses.sum()
        # Of all ranks: examples, losses (NAPO has everyone's on each rank), and their sum. One collective a step.
        counts = total.new_tensor([len(inputs["columns"]), len(loss.losses), 0.0])
        counts[2] = total.detach()
        if ranks() > 1:
            dist.all_reduce(counts)
        mean = counts[2] / counts[1]
        self._check_finite(mean, "loss")
        self._figures.add({"loss": mean, **loss.figures})
        self._tokens += inputs["tokens"]["tokens"]
        value = total * ranks() / counts[0]
        return (value, loss) if return_outputs else value

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if norm is not None:  # before the weights move: a look at them later, or a checkpoint, would be too late
            self._check_finite(torch.as_tensor(norm), "gradient's norm")
        return norm

    def _check_finite(self, value: Tensor, what: str) -> None:
        if not bool(torch.isfinite(value)):
            raise UserError(
                f"the {what} is {value.item()} at step {self.state.global_step + 1}",
                where=str(self.args.output_dir),
                remedy=_LOWER,
            )

    def _check_weights(self) -> None:
        """Before they are judged or saved: a run that went on from broken weights could only break again."""
        assert self.model is not None
        for name, parameter in self.model.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise UserError(
                    f"the weights are not finite after step {self.state.global_step}, such as {name}",
                    where=str(self.args.output_dir),
                    remedy=_LOWER,
                )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_runtime" in logs:
            return  # the Trainer's summary, of what was done since the last resume
        now = time.perf_counter()
        if "loss" in logs:
            logs |= self._figures.means()
            logs |= {"tokens_per_second": self._tokens / (now - self._since), "memory_gb": memory_gb()}
            self._tokens, self._since = 0, now
        before = self.state.log_history[-1]["seconds"] if self.state.log_history else 0.0
        logs["seconds"] = round(before + now - self._clock, 3)  # of all that led here, whatever was broken off
        self._clock = now
        self.state.epoch = self.state.global_step / self._batches.plan.steps
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Validation figures of the policy as it is; logged under `eval_`."""
        began = time.perf_counter()
        self._check_weights()
        assert self.model is not None
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self._validate().items()}
        self.model.train()
        self._since += time.perf_counter() - began  # validation is not training time
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        module = self.accelerator.unwrap_model(self.model)
        if self.args.should_save:
            save_weights(module, folder, state_dict)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        self._check_weights()
        figures = self._figures.to_json()  # a collective: all ranks
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                (checkpoint / FIGURES).write_text(json.dumps(figures))
                (checkpoint / COMPLETE).touch()
                for old in whole_checkpoints(folder)[:-KEPT]:
                    shutil.rmtree(old)
        except Exception as error:
            if not is_write_error(error):
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)  # a full disk is not to stay full of half a checkpoint
            raise cannot_write(checkpoint, error) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_weights(self.accelerator.unwrap_model(model or self.model), folder)
        with readable(folder):
            self._figures = RunningMeans.of(json.loads((folder / FIGURES).read_text()), self.args.device)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with readable(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with readable(checkpoint):
            super()._load_rng_state(checkpoint)


class RunningMeans:
    """Means of figures since the last line of the log. In checkpoints too: a resumed run's lines are the unbroken's."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    @classmethod
    def of(cls, said: Mapping[str, Any], device: torch.device) -> "RunningMeans":
        means = cls()
        means._sums = {name: torch.tensor(value, device=device) for name, value in said["sums"].items()}
        means._steps = said["steps"]
        return means

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """0-d tensors of one step, without gradient; they are not read until a line is due."""
        for name, figure in figures.items():
            self._sums[name] = self._sums[name] + figure.float() if name in self._sums else figure.float()
        self._steps += 1

    def means(self) -> dict[str, float]:
        """The means over steps and ranks; counting starts anew. A collective."""
        said, self._sums = self.to_json(), {}
        steps, self._steps = self._steps, 0
        return {name: value / steps for name, value in said["sums"].items()}

    def to_json(self) -> dict[str, Any]:
        """The sums, means over ranks. A collective."""
        if ranks() > 1 and self._sums:
            stacked = torch.stack([self._sums[name] for name in sorted(self._sums)])
            dist.all_reduce(stacked)
            self._sums = dict(zip(sorted(self._sums), stacked / ranks(), strict=True))
        return {"sums": {name: value.item() for name, value in self._sums.items()}, "steps": self._steps}


@contextmanager
def readable(checkpoint: Path | str | None) -> Iterator[None]:
    """Whatever json, torch and its unpickler say of a damaged file, as a UserError. Nothing pickled is ever run."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, UnpicklingError) as error:
        raise UserError(
            f"the checkpoint can't be read: {str(error).strip().partition(chr(10))[0] or type(error).__name__}",
            where=str(checkpoint),
            remedy="delete the folder: training goes on from the checkpoint before it",
        ) from error


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written whole, oldest first."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return sorted(whole, key=lambda path: int(path.name.rpartition("-")[2]))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole."""
    whole = whole_checkpoints(folder)
    return whole[-1] if whole else None


def remove_broken(folder: Path) -> None:
    """Takes away what a killed run has left half-written; a `best` that was just being replaced comes back."""
    for was in folder.glob(".best.old.*/was"):
        if not (folder / "best").exists():
            was.replace(folder / "best")
    for path in [*folder.glob("checkpoint-*"), *folder.glob(".best.*")]:
        if path.is_dir() and not (path / COMPLETE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def _only(items: list[Batch]) -> Batch:
    (batch,) = items
    return batch


def memory_gb() -> float:
    """Peak memory so far: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
