"""Tries an objective of the user's on a made-up batch: its mistakes show before an hour of supervised training.

Path    plugins -> [training.trial] -> training.run
Takes   the objective as the recipe builds it, its file, how many rejected titles an example has
Gives   nothing; or a UserError that names the file's line
"""

import copy
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napo.errors import UserError
from napo.objectives._loss import Loss
from napo.plugins import GUIDE
from napo.scoring.scored import Leads, Scored, Side, Tokens

EXAMPLES, OTHERS, WIDTH = 3, 50, 8


def try_out(objective: nn.Module, file: Path, rejected: int) -> None:
    """Loss and gradient of EXAMPLES examples, with a copy of the objective: what it counts starts at 0 all the same.

    Raises UserError for an error in the file, for what is no Loss, for losses that are not (B,) numbers, and where no
    gradient comes back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scored, trial = made_up(objective, rejected), copy.deepcopy(objective).train()
        try:
            if (calibrate := getattr(trial, "calibrate", None)) is not None:
                calibrate(1 + torch.randn(100, dtype=torch.float64))  # an auxiliary model that is mostly right
            loss = trial(scored)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise _wrong(f"it fails on a made-up batch of {EXAMPLES}: {said}", file, error) from error
    if not isinstance(loss, Loss):
        raise _wrong(f"`forward` gave a {type(loss).__name__}, no Loss", file)
    if loss.losses.shape != (EXAMPLES,):
        shape = tuple(loss.losses.shape)
        raise _wrong(f"`losses` is {shape} for {EXAMPLES} examples, not ({EXAMPLES},): one an example", file)
    if not bool(torch.isfinite(loss.losses).all()):
        raise _wrong(f"`losses` holds {loss.losses.tolist()} for ordinary log-probs", file)
    gradient: Tensor | None = None
    if loss.losses.requires_grad:
        (gradient,) = torch.autograd.grad(loss.losses.sum(), scored.policy, allow_unused=True)
    if gradient is None or not bool(torch.isfinite(gradient).all()):
        raise _wrong("no finite gradient comes back to `scored.policy`", file)


def made_up(objective: Any, rejected: int) -> Scored:
    """A batch such as training makes: log-probs of a few nats, a reference and a side where they are asked for."""
    columns = rejected if objective.needs_rejected else 0
    policy = (-6 * torch.rand(EXAMPLES, 1 + columns) - 1).requires_grad_()
    reference = policy.detach() + 0.3 * torch.randn(EXAMPLES, 1 + columns) if objective.needs_reference else None
    catalog = 1 + columns + OTHERS
    items = torch.stack([torch.randperm(catalog)[: 1 + columns + 5] for _ in range(EXAMPLES)])
    known: dict[str, Tensor] = {}
    if objective.needs_auxiliary:
        known = {name: torch.randn(EXAMPLES, WIDTH) for name in ("history_vectors", "history_means")}
        known |= {"item_vectors": torch.randn(catalog, WIDTH), "auxiliary": torch.randn(EXAMPLES, columns)}
    own, others = items[:, 1 : 1 + columns], items[:, 1 + columns :]
    side = Side(chosen=items[:, 0], rejected=own, user=torch.arange(EXAMPLES), seen=others, **known)
    return Scored(policy, torch.full((EXAMPLES, 1 + columns), 2), reference, side, _tokens(objective, catalog))


def _tokens(objective: Any, catalog: int) -> Tokens | None:
    """One place an example, where each item is a token, of a model of two layers; None where nobody asks."""
    if not hasattr(objective, "token_layers"):
        return None
    places, items = torch.arange(EXAMPLES), torch.arange(catalog)
    drawn = torch.randn(1 + len(objective.token_layers(2)), EXAMPLES, catalog)
    column = items.repeat(EXAMPLES)
    leads = Leads(places.repeat_interleave(catalog), column, column, column + 1, items)
    allowed = torch.ones(EXAMPLES, catalog, dtype=torch.bool)
    return Tokens(drawn[0], drawn[1:], allowed, torch.zeros_like(places), places, leads)


def _wrong(what: str, file: Path, error: BaseException | None = None) -> UserError:
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    own = [frame.lineno for frame in frames if Path(frame.filename).name == file.name]
    return UserError(what, where=f"{file}, line {own[-1]}" if own else str(file), remedy=GUIDE)
