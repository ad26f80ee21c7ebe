"""Where the commands print: results on stdout, all else on stderr."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> "Console":
    from rich.console import Console

    return Console()


def stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
