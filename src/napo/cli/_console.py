"""Where the commands print: results on stdout, all else on stderr."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 160  # columns of what goes to a file or a pipe: a table of methods squeezed into 80 can't be read


def stdout() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)


def stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
