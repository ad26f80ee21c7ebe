"""The commands that the documentation shows, as they stand on its pages."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Command:
    """page: from the repository's root. line: where it begins. words: without comments; the first is the program."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {shlex.join(self.words)}"


def pages() -> list[Path]:
    """README, and every page of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def napo_commands(page: Path) -> list[Command]:
    """Those of a page that call napo, in order: in blocks marked bash, and indented by four."""
    name = str(page.relative_to(ROOT))
    found = (Command(name, line, tuple(shlex.split(text, comments=True))) for line, text in _shown(page))
    return [command for command in found if command.words and Path(command.words[0]).name == "napo"]


def block(page: str, marker: str) -> str:
    """The fenced block of a page that has this text in it."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = (text for text in fenced if marker in text)
    return str(found)


def _shown(page: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of all that stands in shell blocks; a line that ends in a backslash goes on."""
    fence, begun, text = None, 0, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fence, text = (line[3:].strip() if fence is None else None), ""
            continue
        shell = fence in ("bash", "sh") or (fence is None and line.startswith("    "))
        goes_on = bool(text)
        if not shell or not (goes_on or re.match(r"\s*(\.venv/bin/)?napo ", line)):
            continue
        begun = begun if goes_on else number
        text += line.strip().removesuffix("\\")
        if not line.endswith("\\"):
            yield begun, text
            text = ""
