"""A proposal of how to read a log, made, shown and written as a recipe.

Path    flags -> data.propose -> [cli._proposal] -> `napo data inspect`, `napo train --data`
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napo.cli._console import stderr
from napo.errors import UserError
from napo.files import write_aside
from napo.recipe_reading import to_yaml

if TYPE_CHECKING:
    from napo.data.log import InteractionLog
    from napo.data.propose import Proposal
    from napo.data.settings import DataSettings

REST = """
# All other keys have their defaults. For a preference stage after the supervised one:
# objective: {name: napo}
"""


def proposed(settings: "DataSettings", min_rating: float | None) -> "tuple[Proposal, InteractionLog]":
    """How to read the log, and the log. min_rating: as typed, which is stronger than what the ratings look like."""
    from napo.data.propose import propose_columns, propose_rest, without_untitled
    from napo.data.source import load_source
    from napo.data.titles import UntitledItems

    proposal = propose_columns(settings)
    try:
        log = load_source(proposal.settings)
    except UntitledItems as error:
        if "untitled" in settings.model_fields_set and settings.untitled == "stop":
            raise
        proposal = without_untitled(proposal, error)
        log = load_source(proposal.settings)
    proposal = propose_rest(proposal, log) if min_rating is None else replace(proposal, min_rating=min_rating)
    for reason in proposal.reasons:
        stderr().print(f"proposed: {reason}", markup=False, highlight=False, soft_wrap=True)
    return proposal, log


def as_yaml(proposal: "Proposal", folder: Path | None = None) -> str:
    """The sections, with their reasons before them as comments. folder: where the recipe will lie."""
    reasons = "".join(f"# {reason}\n" for reason in proposal.reasons)
    return reasons + to_yaml(proposal.sections(folder))


def write_recipe(proposal: "Proposal", path: Path, rest: str = REST) -> None:
    """A recipe that reads the log as proposed. Raises UserError where the file is there already."""
    if path.exists():
        raise UserError(f"{path} is there already", where="--write", remedy="name another file")
    with write_aside(path) as aside:
        aside.write_text(as_yaml(proposal, path.parent) + rest, encoding="utf-8")
