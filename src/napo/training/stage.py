"""One stage of training, from a folder that may hold an earlier, broken attempt to the best weights of it.

Path    recipe, language model, split -> [training.stage] -> best/, outcome.json
Takes   StageInputs
Gives   Outcome; the language model holds the best weights, which may be those it came with
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerState, TrainingArguments

from napo.data.candidates import CandidateLists
from napo.data.prepare import key_of
from napo.data.split import Cases
from napo.evaluation.protocols import evaluate_candidates
from napo.files import write_aside
from napo.models.language import LanguageModel
from napo.models.pretrained import weights_digest
from napo.recipe_keys import Stage
from napo.rng import seed_for
from napo.scoring.temperature import AdaptiveTemperature
from napo.training.batches import TrainingBatches
from napo.training.callbacks import (
    BEST,
    VALIDATION,
    KeepBest,
    Report,
    Rhythm,
    ShowLooks,
    StageProgress,
    StopOnInterrupt,
    StuckWarning,
    Watch,
    WriteMetrics,
    out_of_patience,
    validations,
)
from napo.training.module import PreferenceModule
from napo.training.processes import alone_in, is_main, main_first, meet, ranks
from napo.training.reference import reference_log_probs
from napo.training.trainer import TitleTrainer, last_checkpoint, readable, remove_broken
from napo.training.weights import load_policy_weights, saved_temperature

OUTCOME = "outcome.json"


@dataclass(frozen=True)
class StageInputs:
    """What a stage is made from.

    made_by: all that decides its numbers but the weights, for the stored reference. references: where the references
    lie that runs share; None: beside this stage's own files. reference_from: the weights of the reference; None: those
    that the stage begins with. newest: deliver the weights of the last look, whatever validation says.
    """

    name: str
    language: LanguageModel
    objective: nn.Module
    batches: TrainingBatches
    settings: Stage
    cases: Cases
    lists: CandidateLists
    seed: int
    mixed: bool = False  # bfloat16 autocast
    needs_reference: bool = False
    temperature: AdaptiveTemperature | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    references: Path | None = None
    reference_from: Path | None = None
    newest: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a stage came to: validation at its start, its best and its last look, each with its step."""

    stage: str
    start: dict[str, float]
    best: dict[str, float]
    last: dict[str, float]
    steps: int
    seconds: float

    @property
    def helped(self) -> bool:
        return self.best["step"] > 0

    @property
    def verdict(self) -> str:
        """In words: what validation did from the start to the best step, and which model is delivered."""
        start, best, last = (
            f"NDCG {seen['ndcg']:.4f}, HR@1 {seen['hr@1']:.4f}" for seen in (self.start, self.best, self.last)
        )
        if not self.helped:
            return (
                f"{self.stage} did not help: validation went from {start} at the start to {last} at step"
                f" {int(self.last['step'])}, and no step was better. The delivered model is the one it started from."
            )
        return (
            f"{self.stage}: validation went from {start} at the start to {best} at step {int(self.best['step'])}"
            f" of {self.steps}. The delivered model is that of step {int(self.best['step'])}."
        )

    def save(self, folder: Path) -> None:
        with write_aside(folder / OUTCOME) as aside:
            aside.write_text(json.dumps({**asdict(self), "verdict": self.verdict}, indent=2))

    @classmethod
    def load(cls, folder: Path) -> "Outcome | None":
        """The outcome of a stage that has ended; None where it has not."""
        path = folder / OUTCOME
        if not path.is_file():
            return None
        said = json.loads(path.read_text())
        said.pop("verdict")
        return cls(**said)


def run_stage(
    inputs: StageInputs,
    folder: Path,
    progress: StageProgress | None = None,
    warn: Callable[[str], None] = warnings.warn,
    watch: Watch | None = None,
) -> Outcome:
    """Train, or go on from the newest whole checkpoint, or take what has ended; leave the best weights in the model.

    watch: called at each look at validation; what it raises breaks the stage off.
    Raises UserError for a loss that is no number, KeyboardInterrupt after Ctrl-C, with a checkpoint kept.
    """
    with alone_in(folder, lambda: warn(f"{inputs.name}: another run trains this stage; waiting for it to end")):
        done = Outcome.load(folder)
        if done is None:
            done = _train(inputs, folder, progress, warn, watch)
            if is_main():
                done.save(folder)
            meet()
    load_policy_weights(inputs.language.model, folder / BEST)
    if inputs.temperature is not None:
        inputs.language.set_temperature(saved_temperature(folder / BEST))
    inputs.language.model.eval()
    return done


def _train(
    inputs: StageInputs,
    folder: Path,
    progress: StageProgress | None,
    warn: Callable[[str], None],
    watch: Watch | None,
) -> Outcome:
    with main_first():
        if is_main():
            remove_broken(folder)
    checkpoint = last_checkpoint(folder)
    state = None
    if checkpoint is not None:
        with readable(checkpoint):
            state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    over = state is not None and (
        state.global_step >= len(inputs.batches.plan) or out_of_patience(state, inputs.settings.patience)
    )
    if state is None or not over:  # else it was broken off after its last step
        state = _fit(inputs, folder, checkpoint, progress, warn, watch)
    history = validations(state)
    return Outcome(
        stage=inputs.name,
        start=history[0],
        best=json.loads((folder / BEST / VALIDATION).read_text()),
        last=history[-1],
        steps=state.global_step,
        seconds=round(state.log_history[-1]["seconds"], 1),
    )


def _fit(
    inputs: StageInputs,
    folder: Path,
    checkpoint: Path | None,
    progress: StageProgress | None,
    warn: Callable[[str], None],
    watch: Watch | None,
) -> TrainerState:
    language, settings = inputs.language, inputs.settings
    arguments = training_arguments(inputs, folder, begun=checkpoint is not None)
    auxiliary = inputs.batches.settings.auxiliary
    module = PreferenceModule(
        language.policy,
        inputs.objective,
        language.tree,
        language.usage.normalize,
        inputs.temperature,
        None if auxiliary is None else torch.from_numpy(auxiliary.items),
    ).to(arguments.device)
    batches = _with_reference(inputs, module, folder, warn)
    interrupt = StopOnInterrupt()
    callbacks = [
        Rhythm(max(1, round(settings.evaluate_every * batches.plan.steps)), settings.save_every),
        KeepBest(module, folder, settings.patience, newest=inputs.newest),
        *([] if watch is None else [ShowLooks(watch)]),
        WriteMetrics(folder / "metrics.jsonl"),
        StuckWarning(warn),
        interrupt,
        *([] if progress is None else [Report(progress)]),
    ]
    trainer = TitleTrainer(module, arguments, batches, _validation(inputs), callbacks)
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        interrupt.restore()
    if interrupt.asked:
        raise KeyboardInterrupt
    return trainer.state


def training_arguments(inputs: StageInputs, folder: Path, *, begun: bool = False) -> TrainingArguments:
    """The recipe's stage in the trainer's words. begun: a checkpoint holds the look at the start already."""
    settings = inputs.settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=len(inputs.batches.plan),
        per_device_train_batch_size=1,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        lr_scheduler_type=settings.schedule if settings.schedule != "constant" else "constant_with_warmup",
        max_grad_norm=settings.clip,
        logging_steps=10,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=10**9,  # Rhythm says when
        eval_on_start=not begun,
        save_strategy="steps",
        save_steps=10**9,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        seed=seed_for(inputs.seed, inputs.name) % 2**32,
        bf16=inputs.mixed,
        use_cpu=not torch.cuda.is_available(),
    )
    # several GPUs and no launcher: the Trainer would split batches by nn.DataParallel, which can't split rows
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _with_reference(
    inputs: StageInputs, module: PreferenceModule, folder: Path, warn: Callable[[str], None]
) -> TrainingBatches:
    if not inputs.needs_reference:
        return inputs.batches
    with _weights_of(inputs.language.model, inputs.reference_from):
        made_by = {**inputs.made_by, "weights": weights_digest(inputs.language.model)}
        # by the hash of what made it: methods with the same start and the same draws have one reference
        place = (inputs.references or folder) / f"reference-{key_of([made_by, inputs.mixed, ranks()])}"
        waiting = f"{inputs.name}: another run makes its reference; waiting for it"
        with alone_in(place, lambda: warn(waiting)), main_first():
            path = place / "log_probs.safetensors"
            return inputs.batches.with_reference(
                reference_log_probs(module, inputs.batches, path, made_by, mixed=inputs.mixed)
            )


@contextmanager
def _weights_of(model: nn.Module, folder: Path | None) -> Iterator[None]:
    """Inside, the model has the weights of a folder; None: its own."""
    if folder is None:
        yield
        return
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    own = [parameter.detach().clone() for parameter in trained]
    load_policy_weights(model, folder)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(trained, own, strict=True):
                parameter.copy_(value)


def _validation(inputs: StageInputs) -> Callable[[], dict[str, float]]:
    ranker = inputs.language.ranker()

    def validate() -> dict[str, float]:
        policy = inputs.language.policy
        before = policy.temperature
        # a model is ranked at the temperature that it is trained at
        policy.temperature = before if inputs.temperature is None else float(inputs.temperature.value)
        try:
            result = evaluate_candidates(ranker, inputs.cases, inputs.lists)
        finally:
            policy.temperature = before
        return {"ndcg": float(result.metrics["NDCG"].mean()), "hr@1": float(result.metrics["HR@1"].mean())}

    return validate
