"""Every command of the documentation is one that napo takes: commands, options and the kinds of their values exist.

Those that begin with `napo` alone are asked here; tests/docs/test_how_to.py runs them, and the others.
"""

from typing import Any

import pytest
import typer

from napo.cli import app
from tests.docs.commands import ROOT, Command, all_commands, napo_commands, pages

EXEMPT = {
    "docs/results/benchmarks.md": "tables of figures, some of whose rows begin with `napo`",
}
COMMANDS = [command for page in pages() for command in napo_commands(page) if command.page not in EXEMPT]


def take(words: tuple[str, ...]) -> dict[str, Any]:
    """What the command would be called with; nothing is run. Words that it does not take are an error."""
    command, context, left = typer.main.get_command(app), None, list(words)
    while True:
        context = command.make_context(command.name, left, parent=context)
        if not hasattr(command, "resolve_command"):
            return context.params
        _, command, left = command.resolve_command(context, [*context._protected_args, *context.args])


def test_commands_are_found_on_the_pages():
    assert len(COMMANDS) > 40
    assert {"README.md", "docs/tutorial/index.md", "docs/serving.md", "docs/data.md"} <= {one.page for one in COMMANDS}
    (goes_on,) = [one for one in COMMANDS if one.page == "docs/search.md" and "compare" in one.words]
    assert goes_on.words[-4:] == ("--tried", "S-DPO=8", "--tried", "NAPO=8")  # from the next line
    (quoted,) = [one for one in all_commands(ROOT / "docs" / "experiments.md") if one.program == "duckdb"]
    assert quoted.words[-1].startswith("SELECT ")
    assert quoted.words[-1].endswith(" GROUP BY method")  # from the next line too


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_command_line_takes_it(command: Command):
    take(command.words[1:])


@pytest.mark.parametrize(
    "words", ["train --epochs 5", "evaluat runs/x", "serve", "data inspect", "recommend r -k many"]
)
def test_a_command_that_napo_does_not_take_would_be_seen(words):
    with pytest.raises(Exception, match=r"(?i)no such|missing|valid|unexpected"):
        take(tuple(words.split()))
