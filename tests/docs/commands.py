"""The commands that the documentation shows, as they stand on its pages."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROGRAM = re.compile(r"\s*(\S*/)?(napo|curl|docker|duckdb|git|ln|make|mkdocs|pip|pytest|python3?|sh|bash)\s")


@dataclass(frozen=True)
class Command:
    """page: from the repository's root. line: where it begins. words: without comments; the first is the program.

    text: as it is typed.
    """

    page: str
    line: int
    words: tuple[str, ...]
    text: str = field(repr=False)

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {shlex.join(self.words)}"


def pages() -> list[Path]:
    """README, and every page of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def all_commands(page: Path) -> list[Command]:
    """Those of a page, in order: all in blocks marked bash, and of blocks indented by four those of known programs."""
    name = str(page.relative_to(ROOT))
    found = (Command(name, line, tuple(shlex.split(text, comments=True)), text) for line, text in _shown(page))
    return [command for command in found if command.words]


def napo_commands(page: Path) -> list[Command]:
    """Those that call napo."""
    return [command for command in all_commands(page) if command.program == "napo"]


def block(page: str, marker: str) -> str:
    """The fenced block of a page that has this text in it."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = (text for text in fenced if marker in text)
    return str(found)


def _shown(page: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of all that stands in shell blocks; after a backslash, or with a quote open, a line goes on."""
    fence, begun, text = None, 0, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fence, text = (line[3:].strip() if fence is None else None), ""
            continue
        marked, indented = fence in ("bash", "sh"), fence is None and line.startswith("    ")
        if text:
            text += line.strip()
        elif marked or (indented and PROGRAM.match(line)):
            begun, text = number, line.strip()
        else:
            continue
        if text.endswith("\\"):
            text = text.removesuffix("\\")
        elif _is_whole(text):
            yield begun, text
            text = ""
        else:
            text += " "


def _is_whole(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
        return True
    except ValueError:  # a quote is open
        return False
