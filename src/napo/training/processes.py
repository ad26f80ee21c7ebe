"""Other processes: ranks that train one model together, and other runs that want the same folder.

Path    `accelerate launch`, torchrun -> [training.processes] -> training.run, training.stage
Takes   torch.distributed, where a launcher has asked for it
Gives   how many ranks there are, who writes, who waits; a folder for one run alone. A single process never waits
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from napo.errors import UserError

# the main rank alone trains the auxiliary model, makes the reference and judges: the others wait, for hours if need be
PATIENCE = timedelta(days=1)


def join_ranks() -> None:
    """Meet the other ranks, if a launcher has started any."""
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def device() -> torch.device:
    """This rank's GPU where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def leave_ranks() -> None:
    """Part, once all ranks have come here: a launcher takes a rank that ends before the others for a fault."""
    if ranks() > 1:
        meet()
        dist.destroy_process_group()


def ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the rank that writes and speaks."""
    return ranks() == 1 or dist.get_rank() == 0


def meet() -> None:
    """Wait until all ranks have come here. Raises UserError where one of them has stopped: it has said why."""
    if ranks() > 1:
        try:
            dist.barrier()
        except RuntimeError as error:
            raise UserError("another rank has stopped", remedy="see what it said") from error


@contextmanager
def main_first() -> Iterator[None]:
    """The main rank goes through the block before the others, which find what it has written. Not to be nested."""
    if not is_main():
        meet()
    yield
    if is_main():
        meet()


@contextmanager
def alone_in(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """`folder` for this run alone, its ranks together. Where another run has it: `waiting()`, then wait for its end.

    Two runs with the same supervised start would otherwise write each other's checkpoints. The lock is the kernel's:
    it goes when its process goes, however that ends.
    """
    with main_first():
        folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        if is_main():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # a file system without locks: go on, as everybody did before there were any
                pass
        meet()
        yield
