"""An objective of one's own that can't be run: told before anything is trained, with its line."""

from pathlib import Path

import pytest

from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk

CODE = """import torch
from napo.objectives import Loss, Scored
from napo.settings import Strict


class Settings(Strict):
    margin: float = 1.0


class Objective(torch.nn.Module):
    needs_rejected = True
    needs_reference = False
    needs_auxiliary = False

    def __init__(self, settings):
        super().__init__()

    def forward(self, scored):
        return Loss(scored.policy[:, 0], {})
"""


def forward(line: str) -> str:
    return CODE.replace("return Loss(scored.policy[:, 0], {})", line)


BATCH = "fails on a made-up batch"
# what the file holds -> what has to be said; the recipe asks for `./mine.py`
OWN: dict[str, tuple[str | bytes | None, list[str]]] = {
    "no file": (None, ["`objective.name`: no file", "mine.py"]),
    "an empty file": ("", ["no class `Settings` and no class `Objective`", "mine.py"]),
    "no Python": ("def loss(:\n", ["no valid Python: invalid syntax", "mine.py, line 1", "own-objective.md"]),
    "a zero in it": ("loss = 1\0\n", ["no valid Python", "null bytes", "mine.py"]),
    "Latin-1": (b"name = '\xe9'\n", ["no valid Python", "mine.py, line 1"]),
    "a module that is not there": ("import torhc\n", ["it can't be run", "No module named 'torhc'", "line 1"]),
    "an end of everything": ("import sys\nsys.exit(3)\n", ["it can't be run: SystemExit: 3", "mine.py, line 2"]),
    "numbers for classes": ("Settings = 1\nObjective = 2\n", ["no class `Settings`", "mine.py"]),
    "settings of another kind": (CODE.replace("(Strict)", ""), ["`Settings` is no Strict", "class Settings(Strict):"]),
    "an objective of another kind": (
        CODE.replace("(torch.nn.Module)", "").replace("super().__init__()", "pass"),
        ["`Objective` is no torch.nn.Module"],
    ),
    "needs that are not said": (CODE.replace("    needs_reference = False\n", ""), ["no needs_reference", "= False"]),
    "an objective that can't be made": (
        CODE.replace("super().__init__()", "1 / 0"),
        ["`Objective` can't be made: ZeroDivisionError", "mine.py, line 16", "own-objective.md"],
    ),
    "a loss that raises": (forward("raise ValueError('not today')"), [BATCH, "not today", "mine.py, line 19"]),
    "a loss that ends everything": (forward("raise SystemExit(4)"), [BATCH, "SystemExit: 4", "line 19"]),
    "a name with a slip": (forward("return Loss(scored.polciy, {})"), [BATCH, "no attribute 'polciy'", "line 19"]),
    "no loss": (forward("return 3"), ["`forward` gave a int, no Loss", "mine.py"]),
    "one number for all": (
        forward("return Loss(scored.policy.mean(), {})"),
        [BATCH, "one an example, not ()", "line 19"],
    ),
    "a loss of nan": (forward("return Loss(scored.policy[:, 0] * float('nan'), {})"), ["`losses` holds [nan"]),
    "a loss that teaches nothing": (forward("return Loss(scored.policy[:, 0].detach(), {})"), ["no finite gradient"]),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    desk = tmp_path_factory.mktemp("desk")
    write_desk(desk)
    (desk / "mine.yaml").write_text("extends: sft.yaml\nobjective: {name: ./mine.py}\n")
    return desk


@pytest.mark.parametrize("mistake", OWN)
def test_a_mistake_in_an_own_objective(desk, mistake):
    code, said = OWN[mistake]
    (desk / "mine.py").unlink(missing_ok=True)
    if code is not None:
        (desk / "mine.py").write_bytes(code.encode() if isinstance(code, str) else code)
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "mine.yaml")
    assert_said(ran, said)


def test_a_setting_that_an_own_objective_does_not_have(desk):
    (desk / "mine.py").write_text(CODE)
    ran = napo_in(desk)("train", "mine.yaml", "objective.marjin=2")
    assert_said(ran, ["unknown key `objective.marjin`", "`margin`"])
