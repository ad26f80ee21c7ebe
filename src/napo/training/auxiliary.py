"""Train SASRec: every place of every row in one pass, the weights that validate best kept.

Path    split -> [training.auxiliary] -> models.sasrec (frozen) -> evaluation, negatives, objectives
Takes   Split (its training items alone), validation cases with their candidate lists
Gives   TrainedSASRec: the model of the best validation NDCG, and the figures of the way there
Oracle  tests/training/test_auxiliary.py: a log it must learn, a resumed run = an unbroken one, rows keyed by seed

Each pass cuts a user's items into rows at new places, and may leave items out at random: out of what is read and out
of what is predicted, so the row is simply shorter. Chance is keyed by (seed, purpose, epoch, user), hence a resumed
run goes on as if nothing had happened.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from safetensors.torch import load_file, save_file
from torch import Tensor

from napo.arrays import BoolArray, IntArray
from napo.data.candidates import CandidateLists, draw_candidates
from napo.data.split import Cases, Split
from napo.errors import UserError
from napo.evaluation.metrics import hr_at, ndcg_at
from napo.evaluation.protocols import evaluate_candidates
from napo.files import folder_aside
from napo.models.sasrec import PADDING, Fraction, SASRec, SASRecSettings, pad
from napo.models.sasrec_scorer import SASRecScorer
from napo.rng import rng_for, seed_for
from napo.settings import Strict

log = logging.getLogger(__name__)
STATE, TENSORS, FIGURES = "sasrec", "state.safetensors", "state.json"  # STATE: a folder below the resume folder

Progress = Callable[[int, int, dict[str, float]], None]  # epochs done, of how many, figures


class AuxiliarySettings(Strict):
    """How a SASRec is trained. The defaults were chosen on the validation cases of MovieLens-100K."""

    model: SASRecSettings = SASRecSettings()
    epochs: PositiveInt = 40
    batch_size: PositiveInt = 64  # rows
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.0
    beta2: Fraction = 0.98
    schedule: Literal["constant", "cosine"] = "cosine"
    leave_out: Fraction = 0.2  # the chance of each item of a row to be left out, drawn anew each pass
    validate_every: PositiveInt = 5  # epochs
    patience: PositiveInt | None = 6  # validations without gain before it stops; null: never


@dataclass(frozen=True)
class Validation:
    """What was seen after an epoch."""

    epoch: int
    loss: float  # nats a place, mean over the epoch
    hr: float  # HR@1
    ndcg: float  # over the whole list


@dataclass(frozen=True)
class TrainedSASRec:
    """The best model on validation, in eval mode, and how it came about."""

    model: SASRec
    best_epoch: int
    validations: tuple[Validation, ...]
    seconds: float

    @property
    def best(self) -> Validation:
        return next(seen for seen in self.validations if seen.epoch == self.best_epoch)


def train_sasrec(
    split: Split,
    settings: AuxiliarySettings,
    seed: int,
    *,
    cases: Cases | None = None,
    lists: CandidateLists | None = None,
    progress: Progress | None = None,
    resume_folder: Path | None = None,
    device: torch.device | str = "cpu",
    users: BoolArray | None = None,
) -> TrainedSASRec:
    """A SASRec trained on the split's training items, with the weights of its best validation.

    users: (users,) whose training items they are; None: all users'.

    cases, lists: validation cases and their candidates; by default all of the split's, 20 candidates each.
    resume_folder: where the state is kept at each validation, and gone on from if there is one of the same run.
    """
    if cases is None:
        cases = split.cases("valid")
    if len(cases) == 0:
        raise UserError("no validation case: the best weights cannot be told", remedy="a split that holds some out")
    if lists is None:
        lists = draw_candidates(cases)
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        run = _Run(split, settings, seed, device, users)
        if resume_folder is not None:
            run.resume(resume_folder)
        while run.epoch < settings.epochs and not run.is_stuck:
            figures = {"loss": run.train_epoch()}
            if run.epoch % settings.validate_every == 0 or run.epoch == settings.epochs:
                seen = run.validate(cases, lists, figures["loss"])
                figures |= {"hr@1": seen.hr, "ndcg": seen.ndcg}
                if resume_folder is not None:
                    run.keep(resume_folder)
            if progress is not None:
                progress(run.epoch, settings.epochs, figures)
    run.model.load_state_dict(run.best_weights)
    return TrainedSASRec(run.model.eval(), run.best_epoch, tuple(run.validations), run.seconds)


def rows_of_pass(
    trains: Sequence[IntArray], *, longest: int, leave_out: float, seed: int, epoch: int
) -> tuple[list[IntArray], list[int]]:
    """One pass over all users: rows of at most `longest` items, and the user of each.

    Each item stands in one row, or is left out with chance `leave_out`. Where a user's items fill more than a row,
    the first cut falls elsewhere in each pass, so that every item comes to be read behind short and long histories.
    """
    rows, users = [], []
    for user, items in enumerate(trains):
        kept = items
        if leave_out > 0:
            kept = items[rng_for(seed, "leave_out", epoch, user).random(len(items)) >= leave_out]
        first = longest
        if len(kept) > longest:
            first = 1 + int(rng_for(seed, "cut", epoch, user).integers(longest))
        for row in np.split(kept, range(first, len(kept), longest)):
            if len(row):
                rows.append(row)
                users.append(user)
    return rows, users


def windows_of_pass(
    windows: Sequence[IntArray], *, longest: int, leave_out: float, seed: int, epoch: int
) -> tuple[list[IntArray], list[int]]:
    """As `rows_of_pass`, for rows that train their last item alone: it always stays, and what is too long for the
    model loses its oldest items. An empty window gives no row.
    """
    rows, users = [], []
    for user, items in enumerate(windows):
        if len(items):
            kept = rng_for(seed, "leave_out", epoch, user).random(len(items)) >= leave_out
            kept[-1] = True
            rows.append(items[kept][-longest:])
            users.append(user)
    return rows, users


def draw_unseen(seen: IntArray, items: int, shape: tuple[int, int], rng: np.random.Generator) -> IntArray:
    """Uniform item ids of that shape, none of them in `seen` (sorted, distinct); without a retry."""
    ranks = rng.integers(items - len(seen), size=shape)  # the how-manieth unseen item
    # seen[j] - j unseen items lie before seen[j]: as many seen ones are jumped over as have no more than `ranks` before
    return ranks + np.searchsorted(seen - np.arange(len(seen)), ranks, side="right")


class _Run:
    """What training remembers between epochs."""

    def __init__(
        self,
        split: Split,
        settings: AuxiliarySettings,
        seed: int,
        device: torch.device,
        users: BoolArray | None = None,
    ) -> None:
        self.settings, self.seed = settings, seed
        self.key = {"split": split.digest, "seed": seed, "settings": settings.model_dump()}
        if users is not None:
            self.key["users"] = hashlib.sha256(users.tobytes()).hexdigest()
        self.are_windows, self.seen = split.trains_one_each, split.seen
        self.trains = [split.train(user) for user in range(len(split.sequences))]
        if self.are_windows:  # with what is before the trained item
            self.trains = [whole if len(own) else own for own, whole in zip(self.trains, split.sequences, strict=True)]
        if users is not None:
            self.trains = [items if taken else items[:0] for items, taken in zip(self.trains, users, strict=True)]
        torch.manual_seed(seed_for(seed, "sasrec", "weights"))
        self.model = SASRec(len(split.catalog), settings.model).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.lr, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
        )
        self.epoch, self.best_epoch, self.seconds = 0, 0, 0.0
        self.validations: list[Validation] = []
        self.best_weights: dict[str, Tensor] = {}

    @property
    def is_stuck(self) -> bool:
        """Whether the last `patience` validations all brought nothing."""
        patience = self.settings.patience
        return patience is not None and sum(seen.epoch > self.best_epoch for seen in self.validations) >= patience

    def train_epoch(self) -> float:
        """One pass over all rows; the mean loss of a place, nats."""
        began = time.monotonic()
        settings, model = self.settings, self.model.train()
        # dropout is seeded anew each epoch, so that a resumed run draws what the unbroken one would have drawn
        torch.manual_seed(seed_for(self.seed, "sasrec", "dropout", self.epoch))
        batches = self.batches()
        total, places = torch.zeros((), device=model.device), 0
        for done, (ids, negatives) in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * self.lr_factor((self.epoch + done / len(batches)) / settings.epochs)
            ids = ids.to(model.device)
            real = ids != PADDING  # (B, L)
            if self.are_windows:  # the last of each row
                real = real & ~torch.cat([real[:, 1:], real.new_zeros(len(real), 1)], dim=1)
            states = model(ids[:, :-1])  # (B, L, d): state t predicts item t
            if negatives is not None:
                negatives = negatives.to(model.device)
            losses = model.place_losses(states[real], ids[real], negatives)
            self.optimizer.zero_grad()
            losses.mean().backward()
            self.optimizer.step()
            total, places = total + losses.detach().sum(), places + len(losses)
        self.epoch += 1
        self.seconds += time.monotonic() - began
        return float(total) / max(places, 1)

    def lr_factor(self, share: float) -> float:
        """What the learning rate is multiplied with after that share of all epochs."""
        return 1.0 if self.settings.schedule == "constant" else 0.5 * (1.0 + math.cos(math.pi * share))

    def batches(self) -> list[tuple[Tensor, Tensor | None]]:
        """This epoch's rows in a new order: ids (B, L), and negatives (places, K) where the loss wants them."""
        settings, model = self.settings, self.settings.model
        rows, users = (windows_of_pass if self.are_windows else rows_of_pass)(
            self.trains,
            longest=model.max_length + 1,  # the last item is predicted, not read
            leave_out=settings.leave_out,
            seed=self.seed,
            epoch=self.epoch,
        )
        order = rng_for(self.seed, "order", self.epoch).permutation(len(rows))
        batches = []
        for start in range(0, len(rows), settings.batch_size):
            taken = order[start : start + settings.batch_size]
            negatives = None
            if model.loss != "ce":
                negatives = torch.from_numpy(
                    np.concatenate([self.negatives_of(users[row], row, self.places_of(rows[row])) for row in taken])
                )
            batches.append((pad([rows[row] for row in taken]), negatives))
        return batches

    def places_of(self, row: IntArray) -> int:
        """How many of a row's items are predicted."""
        return 1 if self.are_windows else len(row)

    def negatives_of(self, user: int, row: int, places: int) -> IntArray:
        """(places, K) items that the user's training doesn't hold."""
        seen, items = np.unique(self.seen(user)), self.model.items.num_embeddings
        if len(seen) == items:
            raise UserError(
                f"one user took every item: `{self.settings.model.loss}` finds no negative",
                remedy="loss: ce",
            )
        rng = rng_for(self.seed, "negatives", self.epoch, user, row)
        return draw_unseen(seen, items, (places, self.settings.model.negatives), rng)

    def validate(self, cases: Cases, lists: CandidateLists, loss: float) -> Validation:
        """Judge the present weights, and keep them if none were better."""
        began = time.monotonic()
        ranks = evaluate_candidates(SASRecScorer(self.model), cases, lists, ks=(1,)).ranks
        seen = Validation(self.epoch, loss, hr=float(hr_at(ranks, 1).mean()), ndcg=float(ndcg_at(ranks).mean()))
        if not self.validations or seen.ndcg > max(before.ndcg for before in self.validations):
            self.best_epoch = seen.epoch
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.validations.append(seen)
        self.seconds += time.monotonic() - began
        return seen

    def keep(self, folder: Path) -> None:
        """Write all of it below `folder`, tensors as safetensors; what was there goes once the new is whole."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        figures = {
            "key": self.key,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "validations": [asdict(seen) for seen in self.validations],
        }
        with folder_aside(folder / STATE) as aside:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, aside / TENSORS)
            (aside / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")

    def resume(self, folder: Path) -> None:
        """Go on from what `keep` wrote, if there is something."""
        if not (folder / STATE / FIGURES).is_file():
            return
        figures = json.loads((folder / STATE / FIGURES).read_text(encoding="utf-8"))
        if figures["key"] != json.loads(json.dumps(self.key)):
            raise UserError(
                "the SASRec that was begun here has other data, settings or seed",
                where=str(folder / STATE),
                remedy="delete that folder, or name another one",
            )
        moments: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        for name, tensor in load_file(folder / STATE / TENSORS, device=str(self.model.device)).items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                number, _, moment = rest.partition(".")
                moments.setdefault(int(number), {})[moment] = tensor
            else:
                weights[part][rest] = tensor
        self.model.load_state_dict(weights["model"])
        self.best_weights = weights["best"]
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.epoch, self.best_epoch, self.seconds = figures["epoch"], figures["best_epoch"], figures["seconds"]
        self.validations = [Validation(**seen) for seen in figures["validations"]]
        log.info("SASRec goes on after epoch %d of %d", self.epoch, self.settings.epochs)
