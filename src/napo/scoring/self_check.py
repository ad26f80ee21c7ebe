"""What a model can do besides plain sequences: tried on a made-up row, against sequences of their own.

Path    policy, tree, frame -> [scoring.self_check] -> models.language
Takes   a policy, and the words and titles that it will be asked with
Gives   True where states beside a shared prefix, or behind one that was kept, equal those of plain causal sequences,
        at full length

It is tried in float32, one module's weights at a time: through thirty layers bfloat16's rounding moves a state as far
as a token too much does, and a whole second copy of the model may not fit.

No list of families can say this: a mask may be refused, ignored, or heeded while distances (ALiBi), recurrent states or
attention windows still follow the order in the row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from napo.arrays import IntArray
from napo.scoring.batch import NONE, Beginnings, Frame, Row, pack
from napo.scoring.encoded import Encoded, KeepingPolicy
from napo.scoring.naive import sequences_of
from napo.scoring.shared_prefix import Policy, device_of, judging
from napo.scoring.tree import PrefixTree

# What a model raises that can't make sense of a mask or of positions, or reads other modules' weights.
FAULTS = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError)


def shares_prefixes(policy: Policy, tree: PrefixTree, frame: Frame, tokens: int) -> bool:
    """Whether hidden states in a row of many titles equal those of sequences of their own.

    tokens: most tokens of a main path; the row is made so long, since windows show in long rows alone.
    """
    row = _made_up_row(tree, frame, tokens)
    with judging(policy), _in_float32(policy):
        try:
            alone = _states_alone(policy, row, tree, frame)
            beside = _states_beside(policy, row, tree, frame)
        except FAULTS:
            return False
    tolerance = _tolerance(policy)
    return all(_close(one.double(), other.double(), tolerance) for one, other in zip(beside, alone, strict=True))


def keeps_histories(policy: Policy, tree: PrefixTree, frame: Frame, tokens: int) -> bool:
    """Whether the states of titles behind a history that was run before equal those of sequences of their own.

    tokens: as in shares_prefixes. A prompt that names candidates is never asked for titles of the whole catalog.
    """
    if len(frame.middle) or not hasattr(policy, "keep"):
        return False
    history = _made_up_row(tree, frame, tokens).items
    longest = np.argsort(-tree.lengths, kind="stable")[:2]
    branches = Row(history, NONE, longest, np.full(len(longest), len(history)))
    asked = [Beginnings(tree.node[tree.title_start[longest + 1] - 1], np.zeros_like(longest))]
    with judging(policy), _in_float32(policy):
        try:
            alone = torch.cat(_states_alone(policy, branches, tree, frame))
            behind, _ = Encoded(cast(KeepingPolicy, policy), tree, frame, [history]).at_places(
                np.zeros(1, dtype=np.int64), asked
            )
        except FAULTS:
            return False
    return _close(behind.double(), alone.double(), _tolerance(policy))


def _tolerance(policy: Policy) -> float:
    """Four-bit weights are multiplied in bfloat16 whatever they are given: there a token may pass unseen."""
    weights = policy.parameters() if isinstance(policy, nn.Module) else []
    return 1e-3 if all(weight.is_floating_point() for weight in weights) else 0.1


@contextmanager
def _in_float32(policy: Policy) -> Iterator[None]:
    """Each module's half-precision weights are float32 while it runs, and the very same as before afterwards."""
    held: dict[nn.Parameter, Tensor] = {}

    def widen(module: nn.Module, _given: object) -> None:
        for weight in module.parameters(recurse=False):
            if weight.dtype in (torch.bfloat16, torch.float16):
                held[weight] = weight.data
                weight.data = weight.data.float()

    def narrow(module: nn.Module, _given: object, _made: object) -> None:
        for weight in module.parameters(recurse=False):
            if weight in held:
                weight.data = held.pop(weight)

    hooks = []
    try:
        for module in policy.modules() if isinstance(policy, nn.Module) else []:
            hooks.append(module.register_forward_pre_hook(widen))
            hooks.append(module.register_forward_hook(narrow, always_call=True))
        with torch.autocast(device_of(policy).type, enabled=False):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """(T, d) each: whether every place's states are near each other."""
    return bool(((one - other).norm(dim=1) <= tolerance * other.norm(dim=1)).all())


def _made_up_row(tree: PrefixTree, frame: Frame, tokens: int) -> Row:
    """A history as long as a row may hold, and the longest titles beside it; some leave the history half-way."""
    history = frame.history_tokens(tree).lengths
    beside = np.argsort(-tree.lengths, kind="stable")[:2]
    listed = beside if len(frame.middle) else NONE
    room = tokens - frame.words - int(tree.lengths.max()) - int(frame.listed_tokens(tree).lengths[listed].sum())
    items: IntArray = np.resize(np.arange(tree.items), max(room, 1))  # more than fit: each has a token at least
    items = items[: int(np.searchsorted(np.cumsum(history[items]), room, side="right"))]
    sees = [len(items), len(items), *([len(items) // 2, 0] if frame.open else [])]
    return Row(items, NONE, np.resize(beside, len(sees)), np.array(sees), listed)


def _states_beside(policy: Policy, row: Row, tree: PrefixTree, frame: Frame) -> list[Tensor]:
    """For each title (T, d): the states that predict its tokens, all from one row."""
    batch = pack([row], tree, frame, "vocabulary").to(device_of(policy))
    states = policy.hidden(batch.input_ids, batch.positions, batch.mask()).flatten(0, 1)[batch.places]
    return [states[batch.place[batch.title == title]] for title in range(batch.titles)]


def _states_alone(policy: Policy, row: Row, tree: PrefixTree, frame: Frame) -> list[Tensor]:
    """The same from sequences of their own, one after the other, without any mask."""
    found = []
    for prompt, item in zip(*sequences_of([row], tree, frame), strict=True):
        title = tree.title(item)
        ids = torch.from_numpy(np.concatenate([prompt, title])[None]).to(device_of(policy))
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        states = policy.hidden(ids, positions, None)[0]
        found.append(states[len(prompt) - 1 : len(prompt) - 1 + len(title)])
    return found
