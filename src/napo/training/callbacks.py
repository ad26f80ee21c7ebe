"""What happens around a trainer's steps: the rhythm of looks at validation, the best weights, metrics, interruption.

Path    training.trainer -> [training.callbacks] -> the stage's folder
Takes   the trainer's state
Gives   `best/`, `metrics.jsonl`, a stop that leaves a checkpoint to go on from
"""

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from napo.files import cannot_write, folder_aside, write_aside
from napo.training.module import PreferenceModule
from napo.training.weights import save_weights

METRIC = "eval_ndcg"
BEST, VALIDATION = "best", "validation.json"
StageProgress = Callable[[int, int, dict[str, float]], None]  # steps done, of how many, the latest figures
# all looks at validation so far, oldest first, and whether the newest is the last; an exception breaks the stage off
Watch = Callable[[list[dict[str, float]], bool], None]


class Rhythm(TrainerCallback):
    """Looks at validation and saves every `every` steps and at the end, whatever the number of steps.

    save_every: saves besides, so that a run that is killed loses at most so many steps.
    """

    def __init__(self, every: int, save_every: int | None = None) -> None:
        self.every, self.save_every = every, save_every

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        due = state.global_step % self.every == 0 or state.global_step == state.max_steps
        control.should_evaluate = due
        control.should_save = due or (self.save_every is not None and state.global_step % self.save_every == 0)
        # a logged figure is a mean since the last log: one that a resumed run would halve must end at its checkpoint
        control.should_log |= control.should_save
        return control


class KeepBest(TrainerCallback):
    """Keeps the weights of the best validation in `best/`, the start included, and stops when patience runs out.

    newest: those of the newest look, however good.
    """

    def __init__(self, module: PreferenceModule, folder: Path, patience: int | None, *, newest: bool = False) -> None:
        self.module, self.folder, self.patience, self.newest = module, folder, patience, newest

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        looks = validations(state)
        best = looks[-1] if self.newest else best_of(looks)
        if best["step"] == state.global_step and args.should_save:
            with folder_aside(self.folder / BEST) as aside:
                save_weights(self.module, aside)
                (aside / VALIDATION).write_text(json.dumps(best))
        if out_of_patience(state, self.patience):
            control.should_training_stop = True
        return control


class ShowLooks(TrainerCallback):
    """Shows the looks at validation to who watches. Behind KeepBest, which may have found that this is the last."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.watch(validations(state), control.should_training_stop or state.global_step >= state.max_steps)


class WriteMetrics(TrainerCallback):
    """Every logged figure as a line of JSON; a resumed run drops the lines behind its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.should_save:
            with write_aside(self.path) as aside:
                aside.write_text("".join(json.dumps(entry) + "\n" for entry in state.log_history))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if args.should_save:
            try:
                with self.path.open("a") as file:
                    file.write(json.dumps(state.log_history[-1]) + "\n")
            except OSError as error:
                raise cannot_write(self.path, error) from error


class Report(TrainerCallback):
    """Tells whoever draws the progress bar."""

    def __init__(self, progress: StageProgress) -> None:
        self.progress = progress
        self.figures: dict[str, float] = {}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        last = state.log_history[-1]
        names = {"loss": "loss", METRIC: "ndcg", "eval_hr@1": "hr@1"}
        self.figures |= {short: last[name] for name, short in names.items() if name in last}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.progress(state.global_step, state.max_steps, self.figures)


class StuckWarning(TrainerCallback):
    """Says so, once, when the loss has not moved from its start for 50 steps."""

    def __init__(self, warn: Callable[[str], None], steps: int = 50, tolerance: float = 1e-4) -> None:
        self.warn, self.steps, self.tolerance = warn, steps, tolerance
        self.done = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # the whole log, not what was seen since a resume: its first line alone has not moved from itself
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        if self.done or state.global_step < self.steps or not losses:
            return
        self.done = True
        if max(abs(loss - losses[0]) for loss in losses) <= self.tolerance:
            self.warn(
                f"the loss has stayed at {losses[-1]:.5f} for {state.global_step} steps: is the rate too low, are the"
                " adapter's weights frozen, or are chosen and rejected titles the same?"
            )


class StopOnInterrupt(TrainerCallback):
    """Ctrl-C ends the step, saves a checkpoint, and then stops; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.asked:
            control.should_save = control.should_training_stop = True
        return control

    def restore(self) -> None:
        """Give Ctrl-C back to whoever had it."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


def validations(state: TrainerState) -> list[dict[str, float]]:
    """All validations so far, oldest first: step and figures without their prefix. A step counts once."""
    by_step = {
        entry["step"]: {
            "step": entry["step"],
            **{name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")},
        }
        for entry in state.log_history
        if METRIC in entry
    }
    return [by_step[step] for step in sorted(by_step)]


def best_of(history: list[dict[str, float]]) -> dict[str, float]:
    """The validation with the highest NDCG; of equals the first, so a stage that changes nothing delivers its start."""
    return max(history, key=lambda entry: (entry["ndcg"], -entry["step"]))


def out_of_patience(state: TrainerState, patience: int | None) -> bool:
    """Whether the last `patience` looks at validation all brought nothing."""
    history = validations(state)
    return patience is not None and sum(entry["step"] > best_of(history)["step"] for entry in history) >= patience
