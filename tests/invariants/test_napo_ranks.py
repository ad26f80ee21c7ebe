"""Two ranks with different numbers of examples learn what one process with the whole batch learns."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from napo.objectives import sdpo
from napo.objectives.napo import Margin, Objective, Settings, Sharing
from napo.scoring.scored import Scored, Side

STEPS, REJECTED = 2, 2
# rank 0 has the first examples of each step, rank 1 the rest; on the last step rank 1 has none
PARTS = [[slice(0, 4), slice(4, 6)], [slice(0, 5), slice(5, 5)]]
EXAMPLES = [6, 5]
WIDTHS = [[5, 3], [2, 1]]  # of the seen items, which each rank pads to its own longest

CASES = {
    "full": Settings(sharing=Sharing(gradient="full", accept_ratio=0.5), sft_weight=0.1, margin=Margin(per="example")),
    "own": Settings(sharing=Sharing(gradient="own")),
    "none": Settings(sharing=Sharing(gradient="none", peers="random")),
    "row": Settings(sharing=Sharing(accept_ratio=1.0, pool="row"), reference=True, per="token"),
    "variants": Settings(
        sharing=Sharing(accept_ratio=0.5, similarity="item_mean", dedup=True),
        margin=Margin(normalise="rank", scored_by="receiver", per="example"),
    ),
    "exact": Settings(sharing=Sharing(accept_ratio=0.5, exact=True), reference=True, margin=Margin(per="example")),
    "alone": Settings(sharing=None, margin=Margin(normalise="standardise")),
}


def weights() -> torch.Tensor:
    """A model of one parameter vector, the same on every rank."""
    return torch.linspace(-1, 1, 7, dtype=torch.float64).requires_grad_()


def scored(step: int, part: slice, parameters: torch.Tensor, width: int) -> Scored:
    """A step's examples, or one rank's share of them: log-probs depend on all parameters, for all titles."""
    random = torch.Generator().manual_seed(step)
    count = EXAMPLES[step]
    features = torch.randn(count, 1 + REJECTED, 7, generator=random, dtype=torch.float64)
    reference = -torch.rand(count, 1 + REJECTED, generator=random, dtype=torch.float64)
    lengths = torch.randint(1, 5, (count, 1 + REJECTED), generator=random)
    seen = torch.full((count, 5), -1)
    seen[:, 0] = 50 + torch.arange(count)
    seen[0, 1] = 4  # another example's rejected item; nobody has seen item 0, which is rejected too
    side = Side(
        chosen=50 + torch.arange(count)[part],
        rejected=torch.arange(count * REJECTED).reshape(count, REJECTED)[part],
        user=(torch.arange(count) // 2)[part],
        seen=seen[part, :width],
        history_vectors=torch.randn(count, 4, generator=random, dtype=torch.float64)[part],
        auxiliary=torch.randn(count, REJECTED, generator=random, dtype=torch.float64)[part],
        history_means=torch.randn(count, 3, generator=random, dtype=torch.float64)[part],
        item_vectors=torch.randn(60, 4, generator=random, dtype=torch.float64),
    )
    policy = -F.softplus(features @ parameters)
    return Scored(policy[part], lengths[part], reference[part], side)


def with_lent(step: int, part: slice, parameters: torch.Tensor, width: int, borrow) -> Scored:
    """The same, with what each example takes over scored beside its own titles; each rank pads to its own most."""
    whole, own = scored(step, slice(None), parameters, 5), scored(step, part, parameters, width)
    shared = borrow(whole.side, torch.tensor(step + 1))[part]
    named = [whole.side.rejected.flatten()[row] for row in shared]
    most = max([len(items) for items in named], default=0)
    lent = torch.full((len(named), most), -1)
    for row, items in zip(lent, named, strict=True):
        row[: len(items)] = items
    waves = torch.arange(7.0, dtype=torch.float64) * (lent + 3 * own.side.chosen[:, None])[..., None]
    beside = -F.softplus(waves.sin() @ parameters)
    return Scored(
        torch.cat([own.policy, beside], dim=1),
        torch.cat([own.lengths, torch.ones_like(lent)], dim=1),
        torch.cat([own.reference, -0.1 * lent], dim=1),
        replace(own.side, lent=lent, shared=shared),
    )


def run(objective: torch.nn.Module, rank: int | None) -> dict[str, torch.Tensor]:
    """Gradients (averaged over ranks, as DDP does), losses and state after the steps; rank None: a single process."""
    ranks = 1 if rank is None else 2
    gradients, losses, figures = [], [], []
    for step in range(STEPS):
        part, width = (slice(None), 5) if rank is None else (PARTS[step][rank], WIDTHS[step][rank])
        parameters = weights()
        borrow = getattr(objective, "borrow", None)
        made = scored if borrow is None else partial(with_lent, borrow=borrow)
        loss = objective(made(step, part, parameters, width))
        (loss.losses.sum() * ranks / EXAMPLES[step]).backward()
        if rank is not None:
            dist.all_reduce(parameters.grad)
        gradients.append(parameters.grad / ranks)
        losses.append(loss.losses.detach())
        figures.append(torch.stack([loss.figures[name].double() for name in sorted(loss.figures)]))
    state = torch.stack([value.double() for value in objective.state_dict().values()] or [torch.zeros(())])
    return {"gradients": torch.stack(gradients), "losses": torch.cat(losses), "state": state, "figures": sum(figures)}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {name: run(Objective(settings), rank) for name, settings in CASES.items()}
    found["sdpo"] = run(sdpo.Objective(sdpo.Settings()), rank)
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """All cases in one pair of processes: starting them is what takes the time."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, args=(str(folder),), nprocs=2)
    return [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_of_napo_are_one_process_with_the_whole_batch(by_rank, case):
    expected = run(Objective(CASES[case]), None)
    assert expected["gradients"].abs().min() > 1e-4
    for rank in range(2):
        for what, value in expected.items():
            torch.testing.assert_close(by_rank[rank][case][what], value, msg=lambda m, what=what: f"{what}: {m}")


def test_the_moving_average_is_that_of_the_whole_batch_and_did_move(by_rank):
    objective = Objective(CASES["full"])
    run(objective, None)
    names = list(objective.state_dict())
    for rank in range(2):
        found = dict(zip(names, by_rank[rank]["full"]["state"], strict=True))
        assert found["steps"] == STEPS
        assert found["moving_mean"] != 0
        torch.testing.assert_close(found["moving_mean"], objective.moving_mean.double())


def test_what_does_not_share_gives_each_rank_its_own_losses_and_the_same_gradient(by_rank):
    expected = run(sdpo.Objective(sdpo.Settings()), None)
    for rank in range(2):
        torch.testing.assert_close(by_rank[rank]["sdpo"]["gradients"], expected["gradients"])
    first, second = (by_rank[rank]["sdpo"]["losses"] for rank in range(2))
    assert [len(first), len(second)] == [9, 2]
