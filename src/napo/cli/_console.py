"""Where the commands print: results on stdout, all else on stderr."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 160  # columns of what goes to a file or a pipe: a table of methods squeezed into 80 can't be read


def speaks() -> bool:
    """Whether this process prints: of those that a launcher (torchrun, accelerate) has started, the first one does."""
    return os.environ.get("RANK", "0") == "0"


def stdout() -> "Console":
    from rich.console import Console

    console = Console(quiet=not speaks())
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(width=WIDE, quiet=not speaks())


def stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True, quiet=not speaks())
